"""The commands `aplus notify send` and `aplus notify replay`: bring the shop a notification."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from aplus_adapters.cli.asking import interruptible
from aplus_adapters.cli.files import load_private_key
from aplus_adapters.cli.notify_post import (
    build_notification,
    find_alipayplus_key,
    judge,
    post,
    sign_as_alipayplus,
)
from aplus_adapters.cli.options import echo_json, examples, web_address
from aplus_adapters.cli.verify.reading import read_captured
from aplus_adapters.errors import ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.runtime.settings import Account

if TYPE_CHECKING:
    from aplus_adapters.protocol.keys import PrivateKey

__all__ = ["notify"]

_EXITS = "0 acknowledged, 1 not acknowledged"
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
# These describe the connection of the capture, not the message.
_NOT_REPLAYED = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}
)


@click.group()
def notify() -> None:
    """Bring the shop a notification, as Alipay+ does, and judge its answer."""


@notify.command(
    epilog=examples(
        "aplus notify send pay01J9Z6 --amount 42.00 USD",
        "aplus notify send pay01J9Z6 --amount 42.00 USD --status F --code ORDER_IS_CLOSED",
        exits=_EXITS,
    )
)
@click.argument("payment_request_id", required=False)
@click.option("--amount", nargs=2, metavar="VALUE CURRENCY", help="Such as 42.00 USD.")
@click.option("--status", type=click.Choice(["S", "F"]), help="By default S.")
@click.option("--code", help="The result code; by default SUCCESS or ORDER_IS_CLOSED.")
@click.option("--body", type=_FILE, help="Send these bytes in place of a message made here.")
@click.option("--key", type=_FILE, help="Alipay+'s private key; else from the simulator's folder.")
@click.option("--url", type=web_address, help="The shop's; by default APLUS_NOTIFY_URL.")
@click.option("--path", help="The path to sign; by default that of the account.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def send(
    *,
    payment_request_id: str | None,
    amount: tuple[str, str] | None,
    status: str | None,
    code: str | None,
    body: Path | None,
    key: Path | None,
    url: str | None,
    path: str | None,
    as_json: bool,
) -> None:
    """Sign a notification as the simulated Alipay+ and post it to the shop.

    Without PAYMENT_REQUEST_ID it is about a payment that does not exist, which no shop may
    acknowledge.
    """
    account = Account.from_env()
    signer = _signer(account, key)
    if body is not None:
        if payment_request_id or amount or status or code:
            raise click.UsageError(
                "found --body with what a message is made of, expected the whole message in the "
                "file alone"
            )
        content = body.read_bytes()
    else:
        amount_of_it = None if amount is None else Amount.parse(*amount)
        usual = "ORDER_IS_CLOSED" if status == "F" else "SUCCESS"
        about = payment_request_id or f"unknown{secrets.token_hex(12)}"
        content = build_notification(about, status or "S", code or usual, amount_of_it)
    signed_path = path or account.signed_path
    headers = sign_as_alipayplus(signer, account.client_id, signed_path, content)
    _deliver(account, url or account.notify_url, headers, content, signed_path, as_json=as_json)


@notify.command(
    epilog=examples(
        "aplus notify replay capture.har --entry 7",
        "aplus notify replay message.http --url http://127.0.0.1:8000/aplus/notify",
        exits=_EXITS,
    )
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--entry", type=int, help="Which entry of a HAR file, counted from 1.")
@click.option("--url", type=web_address, help="The shop's; by default APLUS_NOTIFY_URL.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def replay(*, file: Path, entry: int | None, url: str | None, as_json: bool) -> None:
    """Post a captured notification to the shop again, without any change.

    FILE is a HAR, a curl command line or one raw HTTP message. A shop refuses a notification that
    is older than 48 hours, even if it is authentic.
    """
    account = Account.from_env()
    captured = read_captured(file, entry=entry)[0]
    if captured.is_response:
        raise click.UsageError("found a response, expected a captured notification")
    headers = tuple(
        (name, value)
        for name, value in captured.headers
        if name.lower() not in _NOT_REPLAYED and not name.startswith(":")
    )
    target = url or account.notify_url
    _deliver(account, target, headers, captured.body, account.signed_path, as_json=as_json)


def _signer(account: Account, key: Path | None) -> PrivateKey:
    if key is not None:
        return load_private_key(key, "--key")
    signer = find_alipayplus_key(account, os.environ)
    if signer is None:
        raise ConfigurationError(
            "Alipay+'s private key: found none that fits the account's public key; only the "
            "simulator's folder has one (.aplus/alipayplus_private.pem): pass --key, or replay a "
            "captured notification"
        )
    return signer


def _deliver(
    account: Account,
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    path: str,
    *,
    as_json: bool,
) -> None:
    if not as_json:
        click.echo(f"posting {len(body)} bytes to {url}, signed for {path}", err=True)
    try:
        with interruptible("the shop may have the notification"):
            answer, seconds = post(url, headers, body)
    except (NotSent, OutcomeUnknown) as error:
        if as_json:
            echo_json({"acknowledged": False, "status": None, "found": str(error)})
        else:
            click.echo(f"not acknowledged: {error}")
        sys.exit(1)
    verdict = judge(account, answer, seconds, path)
    if as_json:
        echo_json(
            {
                "acknowledged": verdict.accepted,
                "status": answer.status,
                "signed": verdict.signed,
                "seconds": round(seconds, 3),
                "found": verdict.text,
            }
        )
    else:
        word = "acknowledged" if verdict.accepted else "not acknowledged"
        click.echo(f"{word} in {seconds:.2f} s: {verdict.text}")
        if not verdict.signed and urlsplit(url).path not in ("", path):
            click.echo(f"the address has the path {urlsplit(url).path}, signed was {path}")
    sys.exit(0 if verdict.accepted else 1)
