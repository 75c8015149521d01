"""The command `aplus conformance`: its options. What it does is in `conformance_run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import click

__all__ = ["conformance"]


def _form(_context: click.Context, _option: click.Parameter, value: str | None) -> dict[str, str]:
    """Return the fields of `name=value&name=value`, or of a JSON object."""
    if not value:
        return {}
    if value.lstrip().startswith("{"):
        try:
            fields = json.loads(value)
        except ValueError as error:
            raise click.BadParameter(f"found {value[:60]!r}, which is no JSON: {error}") from None
        return {str(name): str(field) for name, field in fields.items()}
    try:
        return dict(parse_qsl(value, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        message = f"found {value[:60]!r}, expected name=value&name=value"
        raise click.BadParameter(message) from None


def _headers(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    parted = [value.partition(":") for value in values]
    if any(not colon or not name.strip() for name, colon, _ in parted):
        # The value may be a cookie, which is not repeated here.
        raise click.BadParameter("expected a name, a colon and a value, such as 'Cookie: id=7'")
    return {name.strip(): value.strip() for name, _, value in parted}


@click.command()
@click.argument("url", default="http://127.0.0.1:8000/aplus/notify")
@click.option("--start", metavar="COMMAND", help="Start the shop with the settings, and end it.")
@click.option(
    "--pay-url", default="/aplus/pay", show_default=True, help="What the pay button calls."
)
@click.option(
    "--pay-data",
    default="order_ref={order}",
    show_default=True,
    callback=_form,
    help="Its form, with {order} for the order.",
)
@click.option("--pay-json", is_flag=True, help="Send pay and refund as JSON, and ask for it.")
@click.option(
    "--order",
    "orders",
    multiple=True,
    help="An order to pay: A-7, A-{1-20}, or A-{n} for new numbers (default). 9 to 12 are needed.",
)
@click.option("--order-url", help="Where an order is made, if the shop needs that first.")
@click.option("--order-data", callback=_form, help="Its form, such as item=Ticket.")
@click.option(
    "--order-find",
    metavar="PATTERN",
    help="Finds the order in the page (else: end of its address).",
)
@click.option("--status-url", help="A page that says whether {order} or {payment} is paid.")
@click.option(
    "--paid",
    metavar="PATTERN",
    help="How that page says it; by default the word paid.",
)
@click.option("--refund-url", help="What begins a refund; --refund-data is its form.")
@click.option(
    "--refund-data",
    callback=_form,
    help="Words: {payment} {order} {amount} {minor} {currency} {refund}.",
)
@click.option(
    "--refund-command", metavar="COMMAND", help="A command that refunds, with those words."
)
@click.option(
    "--slow-command", metavar="COMMAND", help="Makes the shop's store slow while it runs."
)
@click.option(
    "--header", "headers", multiple=True, callback=_headers, help="Sent with what a buyer does."
)
@click.option(
    "--acceptance", is_flag=True, help="Add refunds, a slow store, pictures and a report."
)
@click.option(
    "--report",
    "report_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.html and .json there; with --acceptance by default DIRECTORY/report.",
)
@click.option(
    "--directory",
    default=".aplus/conformance",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where keys and the shop's settings (shop.env) are kept.",
)
@click.option(
    "--port", default=8101, show_default=True, type=click.IntRange(0, 65535), help="The gateway's."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the gateway listens.")
@click.option("--gateway-url", help="How the shop reaches it, if through a tunnel or a proxy.")
@click.option("--quick", is_flag=True, help="Codes of 2 s, and less patience.")
@click.option(
    "--timeout", type=click.FloatRange(0.5, 600), help="Seconds for the shop's next step."
)
@click.option("--wait", default=60.0, show_default=True, help="Seconds until the shop listens.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as one JSON line.")
def conformance(
    *,
    url: str,
    start: str | None,
    acceptance: bool,
    report_folder: Path | None,
    directory: Path,
    port: int,
    host: str,
    gateway_url: str | None,
    quick: bool,
    timeout: float | None,
    wait: float,
    as_json: bool,
    **ways: Any,
) -> None:
    """Play Alipay+ against a shop that runs, and say what is wrong with it.

    URL is where the shop takes notifications. Alipay+'s gateway runs here, on this machine's
    loopback: start the shop with the settings in DIRECTORY/shop.env, or let --start do it. Only the
    wire is used, so the shop may be written in anything.

    \b
    aplus conformance http://127.0.0.1:8000/aplus/notify \\
        --start "python flask_shop.py" --order-url /orders --order-data item=Ticket \\
        --status-url "/orders/{order}"

    The exit code is 0 if nothing is wrong, 1 if something is, and 2 if it could not be tried.
    """  # noqa: D301  # click reads the \b
    from aplus_adapters.cli.conformance_run import play_against  # noqa: PLC0415  # HTTP libraries

    if acceptance and report_folder is None:
        report_folder = directory / "report"
    is_right = play_against(
        url,
        ways,
        start=start,
        acceptance=acceptance,
        report_folder=report_folder,
        directory=directory,
        port=port,
        host=host,
        gateway_url=gateway_url,
        quick=quick,
        timeout=timeout,
        wait=wait,
        as_json=as_json,
    )
    raise SystemExit(0 if is_right else 1)
