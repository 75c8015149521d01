"""The command `list`: payments that meet conditions, page by page."""

from __future__ import annotations

import heapq
import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import click
from attrs import evolve

from aplus_adapters.cli.commands import ShopCommand, duration, no_context, open_shop
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import (
    PAYMENT_FIELDS,
    CsvPrinter,
    payment_row,
    plain,
    print_json,
    show_time,
)
from aplus_adapters.payments.effects import now
from aplus_adapters.payments.flows.operate import find_page
from aplus_adapters.payments.model import State
from aplus_adapters.payments.search import PaymentFilter, page_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aplus_adapters.cli.commands import ContextOf, FindPay, RunFlow
    from aplus_adapters.payments.model import Attempt

__all__ = ["attempts_of", "list_command", "moment"]

_PAGE = 200  # payments that are in memory at a time, for each state that is asked for
_SCREEN = 50  # payments that a person is shown unless more are asked for
_OPEN = tuple(str(state) for state in State if not state.is_final)
# `fromisoformat` also takes dates by the week, which nobody types here on purpose.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def moment(text: str) -> datetime | timedelta:
    """Return a time, or an age such as 24h; raise BadParameter if it is neither.

    A time without a zone is in UTC, as all times are printed.
    """
    try:
        if _MOMENT.fullmatch(text) is not None:
            read = datetime.fromisoformat(text)
            # In UTC at once: the first and the last day of the calendar have no such time.
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        return timedelta(seconds=duration(text))
    except (ValueError, OverflowError, click.BadParameter):
        raise click.BadParameter(
            f"found {text!r}, expected a time such as 2026-11-23 or 2026-11-23T12:00Z (without a "
            "zone it is UTC), or an age such as 24h or 7d"
        ) from None


def list_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that lists payments; `context_of` as for reconcile."""

    @click.command(
        "list",
        cls=ShopCommand,
        epilog=examples(
            "aplus list --state failed --since 24h",
            "aplus list --overdue 5m",
            "aplus list --since 2026-11-01 --until 2026-12-01 --csv > november.csv",
        ),
    )
    @click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([str(state) for state in State]),
        help="Those in this state; may be repeated.",
    )
    @click.option("--order", "order_ref", metavar="REF", help="All attempts of this order.")
    @click.option("--since", type=moment, metavar="TIME", help="Created at this time or later.")
    @click.option("--until", type=moment, metavar="TIME", help="Created before this time.")
    @click.option("--wallet", metavar="NAME", help="Those that were paid by this wallet.")
    @click.option("--account", metavar="CLIENT_ID", help="Those of this client id.")
    @click.option("--attention", is_flag=True, help="Those with a conflict that nobody resolved.")
    @click.option(
        "--overdue",
        type=duration,
        metavar="AGE",
        help="Open ones that should have been asked about this long ago, such as 5m.",
    )
    @click.option("--oldest-first", is_flag=True, help="Begin with the oldest.")
    @click.option("--after", metavar="KEY", help="Go on after this key, which a cut list prints.")
    @click.option(
        "--limit",
        type=click.IntRange(min=0),
        help=f"At most this many; 0 is all.  [default: {_SCREEN}; all with --json and --csv]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each payment.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a line of names.")
    def command(
        *,
        states: tuple[str, ...],
        order_ref: str | None,
        since: datetime | timedelta | None,
        until: datetime | timedelta | None,
        wallet: str | None,
        account: str | None,
        attention: bool,
        overdue: float | None,
        oldest_first: bool,
        after: str | None,
        limit: int | None,
        as_json: bool,
        as_csv: bool,
    ) -> None:
        """List the payments that meet every condition, the newest first.

        TIME is such as 2026-11-23 or 2026-11-23T12:00Z (without a zone it is UTC), or an age such
        as 24h or 7d. JSON and CSV have amounts in minor units. They are printed page by page, so
        that a million payments need no memory.
        """
        if as_json and as_csv:
            raise click.UsageError("found --json and --csv, expected one of them")
        if overdue is not None and not set(states) <= set(_OPEN):
            raise click.UsageError(
                f"found --overdue with --state {' '.join(states)}, expected a state that is open: "
                f"{', '.join(_OPEN)}"
            )
        most = limit if limit is not None else 0 if as_json or as_csv else _SCREEN
        with open_shop(find_pay, context_of) as (_, run_flow):
            at = run_flow(now())
            wanted = PaymentFilter(
                since=_moment_of(since, at),
                until=_moment_of(until, at),
                order_ref=order_ref,
                wallet=wallet,
                account=account,
                needs_attention=attention,
                oldest_first=oldest_first,
                after=after,
            )
            named = states or (_OPEN if overdue is not None else ())
            attempts = _of_states(run_flow, wanted, [State(name) for name in dict.fromkeys(named)])
            if overdue is not None:
                attempts = _overdue(attempts, at - timedelta(seconds=overdue))
            _print_all(attempts, most, _printer(as_json=as_json, as_csv=as_csv))

    return command


def attempts_of(run_flow: RunFlow, wanted: PaymentFilter) -> Iterator[Attempt]:
    """Yield the stored payments that meet a filter; ask for the next page when it is needed."""
    while True:
        page = run_flow(find_page(wanted, _PAGE))
        yield from page
        if page.after is None:
            return
        wanted = evolve(wanted, after=page.after)


def _of_states(
    run_flow: RunFlow, wanted: PaymentFilter, states: Sequence[State]
) -> Iterator[Attempt]:
    """Yield the payments of several states (none: of all) in one order."""
    if not states:
        return attempts_of(run_flow, wanted)
    by_state = [attempts_of(run_flow, evolve(wanted, state=state)) for state in states]
    return heapq.merge(*by_state, key=_position, reverse=not wanted.oldest_first)


def _position(attempt: Attempt) -> tuple[datetime, str]:
    return attempt.created_at, attempt.payment_request_id


def _overdue(attempts: Iterable[Attempt], before: datetime) -> Iterator[Attempt]:
    return (item for item in attempts if item.next_call_at and item.next_call_at <= before)


def _moment_of(value: datetime | timedelta | None, at: datetime) -> datetime | None:
    try:
        return at - value if isinstance(value, timedelta) else value
    except OverflowError:
        raise click.UsageError(f"found an age of {value}, expected one such as 24h or 7d") from None


def _print_all(
    attempts: Iterator[Attempt], most: int, print_one: Callable[[Attempt], None]
) -> None:
    last = None
    for attempt in islice(attempts, most or None):
        print_one(attempt)
        last = attempt
    if last is None:
        click.echo("no payment meets these conditions", err=True)
    elif most and next(attempts, None) is not None:
        key = page_key(*_position(last))
        click.echo(f"there are more: add --after {key}, or --limit 0 for all", err=True)


def _printer(*, as_json: bool, as_csv: bool) -> Callable[[Attempt], None]:
    if as_json:
        return lambda attempt: print_json(payment_row(attempt))
    if as_csv:
        print_row = CsvPrinter(PAYMENT_FIELDS)
        return lambda attempt: print_row(payment_row(attempt))
    click.echo(f"{'created':<24}  {'state':<9}  {'amount':>18}  {'payment':<43}  order")
    return _print_line


def _print_line(attempt: Attempt) -> None:
    notes = [attempt.order_ref]
    if attempt.wallet:
        notes.append(f"by {attempt.wallet}")
    if attempt.refunded:
        refunded = evolve(attempt.paid_amount or attempt.amount, value=attempt.refunded)
        notes.append(f"refunded {refunded}")
    if attempt.disputed:
        notes.append(f"disputed {attempt.disputed}")
    if attempt.state is State.FAILED and attempt.result:
        notes.append(attempt.result.result_code)
    click.echo(
        f"{show_time(attempt.created_at)}  {attempt.state!s:<9}  {attempt.amount!s:>18}  "
        f"{attempt.payment_request_id:<43}  {plain('  '.join(notes))}"
    )
