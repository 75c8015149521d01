"""The command `aplus doctor`: its options, and how its checks are shown."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.doctor.account import check_account, check_gateway
from aplus_adapters.cli.doctor.check import Check
from aplus_adapters.cli.doctor.live import BY_HAND, check_live
from aplus_adapters.cli.doctor.notify_url import check_notify_url
from aplus_adapters.cli.options import echo_json, examples
from aplus_adapters.errors import AplusError
from aplus_adapters.runtime.settings import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["doctor"]


@click.command(
    epilog=examples(
        "aplus doctor",
        "aplus doctor --live",
        "aplus doctor --no-notify --json",
        exits="0 every check is ok, 1 one is not",
    )
)
@click.option("--live", is_flag=True, help="Also print the list of what must be right to go live.")
@click.option("--no-gateway", is_flag=True, help="Send nothing to the gateway.")
@click.option("--no-notify", is_flag=True, help="Send nothing to the notify URL.")
@click.option("--json", "as_json", is_flag=True, help="Print all checks as one JSON line.")
def doctor(*, live: bool, no_gateway: bool, no_notify: bool, as_json: bool) -> None:
    """Check the configuration in APLUS_* variables, the gateway and the shop's notify URL.

    The gateway gets a signed inquiry, the notify URL an unsigned, a forged and, at the simulator, a
    signed notification; all of payments that do not exist. They change nothing.
    """
    checks = []
    for check in _examine(live=live, gateway=not no_gateway, notify=not no_notify):
        checks.append(check)
        if not as_json:
            click.echo(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.found}")
            if check.remedy:
                click.echo(f"     to do: {check.remedy}")
    all_ok = all(check.ok for check in checks)
    if as_json:
        rows = [
            {"name": check.name, "ok": check.ok, "found": check.found, "remedy": check.remedy}
            for check in checks
        ]
        echo_json({"ok": all_ok, "checks": rows, "by_hand": list(BY_HAND) if live else []})
    elif live:
        click.echo("\nbefore going live, see for yourself that:")
        for line in BY_HAND:
            click.echo(f"[ ]  {line}")
    sys.exit(0 if all_ok else 1)


def _examine(*, live: bool, gateway: bool, notify: bool) -> Iterator[Check]:
    """Yield the result of each check; a wrong configuration is a result, never an error raised."""
    try:
        account = Account.from_env()
    except AplusError as error:
        remedy = "correct the variable that it names"
        yield Check("configuration", ok=False, found=str(error), remedy=remedy)
        return
    yield from chain(
        check_account(account),
        check_gateway(account) if gateway else (),
        check_notify_url(account, os.environ) if notify else (),
        check_live(account) if live else (),
    )
