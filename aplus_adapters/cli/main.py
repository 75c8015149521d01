"""The command line `aplus`: its commands, options and printed lines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

try:
    import click
except ImportError:
    sys.exit("aplus: click is not installed; run pip install 'aplus_adapters[cli]'")

from aplus_adapters.cli.calls import cancel, inquire, pay
from aplus_adapters.cli.conformance import conformance
from aplus_adapters.cli.doctor.command import doctor
from aplus_adapters.cli.files import make_folder
from aplus_adapters.cli.notify import notify
from aplus_adapters.cli.options import (
    PORT,
    examples,
    sigterm_is_ctrl_c,
    web_address,
    write_every_character,
)
from aplus_adapters.cli.shop_option import commands_of_named_shop
from aplus_adapters.cli.sign import sign
from aplus_adapters.cli.verify.command import verify
from aplus_adapters.errors import AplusError
from aplus_adapters.protocol.keys import PrivateKey
from aplus_adapters.protocol.results import CODES
from aplus_adapters.web.texts import TEXTS, translate_reason

__all__ = ["main"]


class _Group(click.Group):
    """Shows an error of this library as one line, without a traceback, and exits with 2."""

    def invoke(self, ctx: click.Context) -> object:
        write_every_character()
        try:
            return super().invoke(ctx)
        except AplusError as error:
            raise click.UsageError(str(error)) from None


@click.group(cls=_Group)
@click.version_option(package_name="aplus_adapters", prog_name="aplus")
def main() -> None:
    """Take payments by Alipay+ order code."""


@main.command(
    epilog=examples(
        "aplus simulator --port 8100", "aplus simulator --time-scale 60 --json", exits="0 ended"
    )
)
@click.option(
    "--port", default=8100, show_default=True, type=PORT, help="Its port; 0 takes a free one."
)
@click.option(
    "--directory",
    default=".aplus",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where keys, orders and shop.env are kept.",
)
@click.option(
    "--time-scale",
    default=1.0,
    show_default=True,
    help="Divides the pauses between re-sent notifications.",
)
@click.option(
    "--notify-url",
    default="http://127.0.0.1:8000/aplus/notify",
    show_default=True,
    type=web_address,
    help="Your shop's address for notifications; it is written to shop.env.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where it listens; 0.0.0.0 lets phones of the same network scan and pay the codes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as one JSON line.")
@click.option(
    "--lenient",
    is_flag=True,
    help="Accept booleans, numbers and epoch milliseconds where the API page demands strings.",
)
def simulator(
    *,
    port: int,
    directory: Path,
    time_scale: float,
    notify_url: str,
    host: str,
    as_json: bool,
    lenient: bool,
) -> None:
    """Run a local Alipay+ on this machine: gateway, wallet pages and notifications."""
    if time_scale <= 0:
        raise click.BadParameter("expected a number above 0", param_hint="--time-scale")
    try:
        from aplus_adapters.simulator.server import serve  # noqa: PLC0415  # an extra
    except ImportError as error:
        message = f"{error.name} is not installed; run pip install 'aplus_adapters[simulator]'"
        raise click.UsageError(message) from None
    with sigterm_is_ctrl_c():
        serve(
            directory,
            port,
            time_scale,
            as_json=as_json,
            notify_url=notify_url,
            host=host,
            lenient=lenient,
        )


@main.command(epilog=examples("aplus demo", "aplus demo --once --framework starlette"))
@click.option("--once", is_flag=True, help="Make one payment with a simulated buyer, then end.")
@click.option(
    "--framework",
    default="flask",
    show_default=True,
    type=click.Choice(["flask", "starlette", "fastapi", "django"]),
    help="The example shop to run.",
)
@click.option(
    "--database",
    metavar="ADDRESS",
    help="An empty database of yours, such as postgresql://user:password@host/name, mysql://... or "
    "mariadb://...; without it the shop keeps a SQLite file.",
)
@click.option("--port", default=0, type=PORT, help="The shop's port; 0 takes a free one.")
@click.option(
    "--directory",
    default=".aplus/demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where shop and simulator keep their files (not with --once).",
)
def demo(*, once: bool, framework: str, database: str | None, port: int, directory: Path) -> None:
    """Run a shop and a simulator to pay in by browser; with --once pay once and end.

    Open the first address that it prints: shop, desk and wallet stand side by side there. With
    --once the exit code is 0 only if the order is stored as paid exactly once.
    """
    try:
        from aplus_adapters.cli.demo import pay_once, watch  # noqa: PLC0415  # extras
    except ImportError as error:
        message = f"{error.name} is not installed; run pip install 'aplus_adapters[demo]'"
        raise click.UsageError(message) from None
    started = time.monotonic()

    def report_step(name: str, details: str) -> None:
        click.echo(f"{time.monotonic() - started:6.2f} s  {name:<16} {details}")

    with sigterm_is_ctrl_c():
        if once:
            sys.exit(0 if pay_once(framework, report_step, database) else 1)
        make_folder(directory, "--directory")
        watch(framework, directory.resolve(), port, report_step, database)


@main.command(epilog=examples("aplus codes", "aplus codes RISK_REJECT", exits="0 printed"))
@click.argument("code", required=False)
def codes(code: str | None) -> None:
    """Print what each result code means, what to do about it, and who must know."""
    if code is not None and code not in CODES:
        raise click.BadParameter(f"found {code!r}, expected a code that `aplus codes` lists")
    rows = CODES.values() if code is None else [CODES[code]]
    for row in rows:
        click.echo(f"{row.status} {row.code}: {row.meaning}")
        click.echo(f"    {row.action} (tell: {row.audience}): {row.advice}")
        if row.reason is not None:
            click.echo(f"    to a buyer: {translate_reason(row.reason, TEXTS['en'])}")


@main.command(epilog=examples("aplus keygen --directory secrets", exits="0 a new pair was written"))
@click.option(
    "--directory",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the private key is written.",
)
def keygen(directory: Path) -> None:
    """Make a key pair: write the private key to a file and print the public key."""
    path = directory / "aplus_private_key.pem"
    make_folder(directory, "--directory")
    key = PrivateKey.generate()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.to_pem())
    except FileExistsError:
        raise click.UsageError(f"{path} exists and is not overwritten; move it away") from None
    click.echo(f"private key: {path} (keep it secret; APLUS_PRIVATE_KEY_FILE={path})")
    click.echo(f"fingerprint: {key.public_key.fingerprint}")
    click.echo("public key, to paste into the developer center:")
    click.echo(key.public_key.to_base64())


_BY_HAND = (verify, sign, notify, pay, inquire, cancel, doctor, conformance)
for _command in (*_BY_HAND, *commands_of_named_shop()):
    main.add_command(_command)
