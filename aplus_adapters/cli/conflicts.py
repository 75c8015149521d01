"""The command `conflicts`: what money and records disagree about, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aplus_adapters.cli.commands import ShopCommand, ShopGroup, no_context, open_shop
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import iso, payment_row, plain, print_json, show_time
from aplus_adapters.errors import UnknownPayment
from aplus_adapters.payments.effects import get
from aplus_adapters.payments.flows.operate import find_conflicts, resolve
from aplus_adapters.payments.model import Outcome, RefundObservation, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.cli.commands import ContextOf, FindPay, RunFlow
    from aplus_adapters.payments.search import ConflictRecord

__all__ = ["advise", "conflicts_command"]

_PAGE = 100


def conflicts_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Group:
    """Return the command that lists and resolves conflicts; `context_of` as for reconcile."""

    @click.group(
        "conflicts",
        cls=ShopGroup,
        invoke_without_command=True,
        epilog=examples(
            "aplus conflicts",
            "aplus conflicts --payment pay1f0c --json",
            'aplus conflicts resolve 0a1b2c --note "refunded, credit note 77" --by Mei',
        ),
    )
    @click.option(
        "--payment", metavar="ID", help="All conflicts of this payment, also resolved ones."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each.")
    @click.pass_context
    def group(context: click.Context, payment: str | None, *, as_json: bool) -> None:
        """List the conflicts that nobody has resolved, the oldest first, and what to do about each.

        A conflict is a message of Alipay+ that contradicts what is stored, so that money may have
        to be refunded. The exit code is 1 if one of those that are listed is open.
        """
        if context.invoked_subcommand is not None:
            if payment is not None or as_json:
                raise click.UsageError(
                    f"found options before {context.invoked_subcommand}, expected them after it"
                )
            return
        records = open_ones = 0
        with open_shop(find_pay, context_of) as (_, run_flow):
            if payment is not None and run_flow(get(payment)) is None:
                raise UnknownPayment(
                    f"{payment}: found no such payment in the store, expected a payment request id"
                )
            for record in _records(run_flow, payment):
                if as_json:
                    print_json(_row(record))
                else:
                    _print(record, is_first=records == 0)
                records += 1
                open_ones += not record.is_resolved
        if records == 0:
            click.echo("no conflict", err=True)
        raise SystemExit(1 if open_ones else 0)

    @group.command(
        "resolve",
        cls=ShopCommand,
        epilog=examples(
            'aplus conflicts resolve 0a1b2c --note "refunded, credit note 77" --by Mei'
        ),
    )
    @click.argument("key")
    @click.option("--note", required=True, metavar="TEXT", help="What was done.")
    @click.option("--by", required=True, metavar="NAME", help="Who did it.")
    def resolve_one(key: str, note: str, by: str) -> None:
        """Mark a conflict as resolved; KEY is what `conflicts` prints for it.

        It moves no money: `aplus refund` does that. Of several people the first one counts. The
        exit code is 1 if somebody else has resolved it before.
        """
        with open_shop(find_pay, context_of) as (_, run_flow):
            record: ConflictRecord = run_flow(resolve(key, note, by))
        when = show_time(record.resolved_at) if record.resolved_at else "-"
        is_ours = (record.note, record.resolved_by) == (note, by)
        words = "resolved" if is_ours else "was resolved before"
        resolution = plain(f"by {record.resolved_by}: {record.note}")
        click.echo(f"conflict {record.key}: {words} at {when} {resolution}")
        raise SystemExit(0 if is_ours else 1)

    return group


def advise(record: ConflictRecord) -> str:
    """Return what a person should do about a conflict. Source: docs/conflicts.md."""
    attempt, seen = record.conflict.attempt, record.conflict.observation
    refund = f"`aplus refund {attempt.payment_request_id}`"
    if attempt.disputed is not None:
        if attempt.is_refunded:
            return "the money was given back: nothing is left to do"
        return (
            f"do not deliver yet: Alipay+ says that {attempt.disputed} were paid. Look at its "
            f"merchant portal; {refund} gives it back, and the order can then be paid anew"
        )
    if isinstance(seen, RefundObservation):
        return "compare the refund with Alipay+'s merchant portal; the stored refund stays as it is"
    if attempt.state is State.CANCELLED:
        if attempt.refunded:
            return "the money was given back: nothing is left to do"
        return (
            "do not deliver: the cancellation returns the money. Look at Alipay+'s merchant portal "
            "whether it came back to the buyer"
        )
    if attempt.state is not State.SUCCEEDED:
        return f"see `aplus show {attempt.payment_request_id}` and ask Alipay+ for this payment"
    if seen.outcome is not Outcome.SUCCEEDED:
        return (
            "the order counts as paid: ask Alipay+ before you deliver, and take the order back "
            "yourself if the money is gone"
        )
    if seen.given_back is not None:
        return (
            f"{seen.given_back} were given back elsewhere: find out by whom, and whether the order "
            "is still to be delivered"
        )
    if seen.amount != attempt.amount:
        return (
            f"the order stays paid with {attempt.amount}: look at Alipay+'s merchant portal what "
            "was paid"
        )
    return (
        "a second wallet paid the same code: Alipay+ itself returns that money. Look at its "
        "merchant portal whether it did"
    )


def _records(run_flow: RunFlow, payment: str | None) -> Iterator[ConflictRecord]:
    after = None
    while True:
        records = run_flow(find_conflicts(payment, _PAGE, after))
        yield from records
        if len(records) < _PAGE:
            return
        after = records[-1].key


def _print(record: ConflictRecord, *, is_first: bool) -> None:
    conflict = record.conflict
    attempt = conflict.attempt
    if not is_first:
        click.echo()
    click.echo(f"conflict  {record.key}")
    click.echo(f"since     {show_time(conflict.observation.at)}")
    click.echo(f"payment   {attempt.payment_request_id}, {attempt.amount}, {attempt.state}")
    click.echo(f"order     {plain(attempt.order_ref)}")
    click.echo(f"what      {plain(conflict.reason)}")
    if record.resolved_at is not None:
        resolution = plain(f"by {record.resolved_by}: {record.note}")
        click.echo(f"resolved  {show_time(record.resolved_at)} {resolution}")
        return
    if not record.is_reported:
        click.echo("reported  not yet: the hook payment_conflict fails, or reconcile does not run")
    click.echo(f"to do     {advise(record)}")
    click.echo(f"then      aplus conflicts resolve {record.key} --note TEXT --by NAME")


def _row(record: ConflictRecord) -> dict[str, Any]:
    conflict = record.conflict
    return {
        "key": record.key,
        "at": iso(conflict.observation.at),
        "reason": conflict.reason,
        "to_do": None if record.is_resolved else advise(record),
        "is_reported": record.is_reported,
        "resolved_at": iso(record.resolved_at),
        "resolved_by": record.resolved_by,
        "note": record.note,
        "payment": payment_row(conflict.attempt),
    }
