"""The command `aplus sign`: sign a body and print what to send."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from aplus_adapters.cli.options import echo_json, examples
from aplus_adapters.protocol.signed_messages import acknowledge, sign_request
from aplus_adapters.runtime.settings import Account

__all__ = ["sign"]


@click.command(
    epilog=examples(
        "aplus sign inquiry.json --path /aps/api/v1/payments/inquiryPayment",
        "aplus sign answer.json --acknowledgement",
        exits="0 signed",
    )
)
@click.argument(
    "body", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--path", help="The path of the call, such as /aps/api/v1/payments/pay.")
@click.option("--acknowledgement", is_flag=True, help="Sign our answer to a notification.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def sign(*, body: Path, path: str | None, acknowledgement: bool, as_json: bool) -> None:
    """Sign the bytes of a file with our key, and print the headers and a curl command.

    BODY is the file, byte for byte; - reads the input. Nothing is sent. The signature holds for
    this moment only: Alipay+ may refuse an old Request-Time.
    """
    if (path is None) == (not acknowledgement):
        raise click.UsageError("expected either --path or --acknowledgement")
    if path is not None and (not path.startswith("/") or "?" in path):
        message = f"found {path[:100]!r}, expected a path with its leading slash and without query"
        raise click.BadParameter(message, param_hint="--path")
    account = Account.from_env()
    content = sys.stdin.buffer.read() if str(body) == "-" else body.read_bytes()
    now = datetime.now(UTC)
    url = ""
    if path is None:
        headers, path = acknowledge(account, content, now), account.signed_path
    else:
        request = sign_request(account, path, content, now)
        headers, url = request.headers, request.url
    if as_json:
        echo_json({"url": url or None, "path": path, "headers": dict(headers)})
        return
    for name, value in headers:
        click.echo(f"{name}: {value}")
    if url:
        lines = [f"curl -X POST {shlex.quote(url)}"]
        lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers]
        # --data would leave line ends out, and the signature would not match any more.
        lines.append(f"--data-binary {shlex.quote(f'@{body}')}")
        click.echo("\n" + " \\\n  ".join(lines))
