"""The command `health`: whether payments go on by themselves, for people and probes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen

from aplus_adapters.cli.commands import ShopCommand, duration, no_context, open_shop
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import iso, print_json, show_time
from aplus_adapters.errors import StoreError
from aplus_adapters.payments.flows.operate import read_health

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.cli.commands import ContextOf, FindPay
    from aplus_adapters.payments.health import Health

__all__ = ["Limits", "find_problems", "health_command"]

F = TypeVar("F", bound="Callable[..., Any] | click.Command")
_FEW = 20  # calls: a share of fewer says little


@frozen(kw_only=True)
class Limits:
    """From when on something is wrong; `refused_share` is from 0.0 to 1.0."""

    reconcile: timedelta
    overdue: timedelta
    oldest_open: timedelta
    hooks: timedelta
    clock: timedelta
    refused_share: float
    open_conflicts: int | None


def find_problems(health: Health, limits: Limits) -> list[str]:
    """Return what is wrong, a sentence each with what to do; an empty list if all is well."""
    problems = []
    if health.last_reconcile is None:
        problems.append("reconcile has never ended a round: run `aplus reconcile --every 10s`")
    elif health.at - health.last_reconcile > limits.reconcile:
        problems.append(
            f"reconcile last ended a round at {show_time(health.last_reconcile)}: see whether it "
            "runs"
        )
    if health.overdue > limits.overdue:
        problems.append(
            f"what should be asked about has waited for {health.overdue.total_seconds():.0f} s: "
            "reconcile does not run, or has too few --threads; `aplus list --overdue 0s` has it"
        )
    oldest = health.oldest_open
    if oldest and health.at - oldest.created_at > limits.oldest_open:
        problems.append(
            f"payment {oldest.payment_request_id} has been open since "
            f"{show_time(oldest.created_at)}: see `aplus show {oldest.payment_request_id}`"
        )
    failed = health.last_failed_hook
    if failed is not None and health.at - failed < limits.hooks:
        problems.append(
            f"a hook failed at {show_time(failed)}: what it was told is not stored, and comes "
            "again; see the log"
        )
    if health.clock_ahead and abs(health.clock_ahead) > limits.clock:
        problems.append(
            f"our clock is {health.clock_ahead.total_seconds():+.0f} s from Alipay+'s: set it by "
            "NTP"
        )
    if health.unreported_conflicts:
        problems.append(
            f"{health.unreported_conflicts} conflicts could not be reported to the shop: the hook "
            "payment_conflict fails, see the log"
        )
    if limits.open_conflicts is not None and health.open_conflicts > limits.open_conflicts:
        problems.append(f"{health.open_conflicts} conflicts are open: see `aplus conflicts`")
    if health.calls >= _FEW and health.refused_share > limits.refused_share:
        problems.append(
            f"Alipay+ refused {health.refused} of the last {health.calls} calls: see `aplus list "
            "--state failed` and `aplus codes`"
        )
    return problems


def health_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that says whether all is well; `context_of` as for reconcile."""

    @click.command(
        "health",
        cls=ShopCommand,
        epilog=examples("aplus health", "aplus health --json --reconcile 1m --conflicts 0"),
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @_age("--reconcile", "5m", "Wrong if no round of reconcile ended for this long.")
    @_age("--overdue", "5m", "Wrong if a payment or refund should have been asked about before.")
    @_age("--open", "15m", "Wrong if a payment is open for longer.", into="oldest_open")
    @_age("--hooks", "10m", "Wrong if a hook of the shop failed since then.")
    @_age("--clock", "2m", "Wrong if our clock is farther from Alipay+'s.")
    @click.option(
        "--refused",
        default=0.5,
        show_default=True,
        type=click.FloatRange(0, 1),
        help=f"Wrong if a larger share of the last calls was refused; of {_FEW} calls at least.",
    )
    @click.option(
        "--conflicts",
        type=click.IntRange(0, 99),
        help="Wrong if more conflicts than this are unresolved.  [default: never]",
    )
    def command(
        *,
        as_json: bool,
        reconcile: timedelta,
        overdue: timedelta,
        oldest_open: timedelta,
        hooks: timedelta,
        clock: timedelta,
        refused: float,
        conflicts: int | None,
    ) -> None:
        """Check whether payments go on by themselves; the exit code is 0 only if they do.

        It asks the store alone and costs the same however many payments are stored, so that a probe
        may run it often. If the store cannot be read, that is said the same way.
        """
        limits = Limits(
            reconcile=reconcile,
            overdue=overdue,
            oldest_open=oldest_open,
            hooks=hooks,
            clock=clock,
            refused_share=refused,
            open_conflicts=conflicts,
        )
        values: dict[str, Any] = {}
        try:
            with open_shop(find_pay, context_of) as (pay, run_flow):
                health = run_flow(read_health(pay.config))
        except StoreError as error:
            problems = [f"the store cannot be read: {error}"]
        else:
            problems, values = find_problems(health, limits), _row(health)
        if as_json:
            print_json({"healthy": not problems, "problems": problems, **values})
        else:
            for name, value in values.items():
                click.echo(f"{name:<22} {'-' if value is None else value}")
            for problem in problems:
                click.echo(f"BAD  {problem}")
            click.echo("healthy" if not problems else "not healthy")
        raise SystemExit(1 if problems else 0)

    return command


def _age(name: str, default: str, text: str, *, into: str | None = None) -> Callable[[F], F]:
    names = [name] if into is None else [name, into]
    return click.option(
        *names, default=default, show_default=True, type=_seconds, metavar="AGE", help=text
    )


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=duration(text))
    except OverflowError:
        raise click.BadParameter(f"found {text!r}, expected an age such as 5m") from None


def _row(health: Health) -> dict[str, Any]:
    """Return the answer for programs: seconds, and times in UTC."""
    waiting, oldest, ahead = health.longest_waiting, health.oldest_open, health.clock_ahead
    return {
        "at": iso(health.at),
        "last_reconcile": iso(health.last_reconcile),
        "last_failed_hook": iso(health.last_failed_hook),
        "last_notification": iso(health.last_notification),
        "overdue_seconds": health.overdue.total_seconds(),
        "longest_waiting": waiting and waiting.payment_request_id,
        "refund_due_at": iso(health.refund_due_at),
        "oldest_open": oldest and oldest.payment_request_id,
        "oldest_open_since": oldest and iso(oldest.created_at),
        "clock_ahead_seconds": None if ahead is None else ahead.total_seconds(),
        "unreported_conflicts": health.unreported_conflicts,
        "open_conflicts": health.open_conflicts,
        "calls": health.calls,
        "refused": health.refused,
    }
