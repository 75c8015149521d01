"""The command `show`: a payment's timeline, or those of every attempt of an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aplus_adapters.cli.commands import ShopCommand, no_context, open_shop
from aplus_adapters.cli.listing import attempts_of
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import iso, payment_row, plain, print_json, show_time
from aplus_adapters.payments.effects import get, refunds
from aplus_adapters.payments.search import PaymentFilter
from aplus_adapters.payments.timeline import read_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aplus_adapters.cli.commands import ContextOf, FindPay
    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.payments.timeline import Event

__all__ = ["show_command"]


def show_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that shows the timelines of payments; `context_of` as for reconcile."""

    @click.command(
        "show",
        cls=ShopCommand,
        epilog=examples(
            "aplus show A-1001 --shop shop:pay", "aplus show A-1001 --json | jq .state"
        ),
    )
    @click.argument("payment")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each payment.")
    def command(payment: str, *, as_json: bool) -> None:
        """Print a payment's timeline: each observation, its time, its source and what it changed.

        PAYMENT is a payment request id or an order. Of an order every attempt is shown, the oldest
        first.
        """
        is_first = True
        with open_shop(find_pay, context_of) as (_, run_flow):
            named = run_flow(get(payment))
            of_order = PaymentFilter(order_ref=payment, oldest_first=True)
            for attempt in [named] if named else attempts_of(run_flow, of_order):
                events = run_flow(read_timeline(attempt.payment_request_id))
                stored = run_flow(refunds(attempt.payment_request_id))
                if as_json:
                    print_json(_row(attempt, events, stored))
                else:
                    click.echo("" if is_first else "\n", nl=False)
                    _print(attempt, events, stored)
                is_first = False
        if is_first:
            raise click.UsageError(f"{payment}: found no such payment or order in the store")

    return command


def _print(attempt: Attempt, events: Sequence[Event], stored: Sequence[Refund]) -> None:
    click.echo(f"payment  {attempt.payment_request_id}")
    click.echo(f"order    {plain(attempt.order_ref)}")
    click.echo(f"amount   {attempt.amount}")
    click.echo(f"account  {attempt.client_id}")
    click.echo(f"Alipay+  {attempt.payment_id or '-'}")
    click.echo(f"state    {attempt.state}, expires {show_time(attempt.expires_at)}")
    if attempt.next_call_at is not None:
        click.echo(f"next     call not before {show_time(attempt.next_call_at)}")
    for refund in stored:
        if refund.next_call_at is not None:
            due = f"without an answer, call not before {show_time(refund.next_call_at)}"
            click.echo(f"refund   {plain(refund.refund_request_id)} {due}")
    for event in events:
        text = plain(f"{event.source:<13} {event.text}  ->  {event.state}")
        line = f"{show_time(event.at)}  {text}"
        click.echo(click.style(line, fg="red") if event.is_conflict else line)


def _row(attempt: Attempt, events: Sequence[Event], stored: Sequence[Refund]) -> dict[str, Any]:
    return {
        **payment_row(attempt),
        "refunds": [
            {
                "refund_request_id": refund.refund_request_id,
                "currency": refund.amount.currency,
                "amount_minor": refund.amount.value,
                "state": str(refund.state),
                "result_code": refund.result and refund.result.result_code,
                "created_at": iso(refund.created_at),
            }
            for refund in stored
        ],
        "events": [
            {
                "at": iso(event.at),
                "source": event.source,
                "text": event.text,
                "state": event.state,
                "is_conflict": event.is_conflict,
            }
            for event in events
        ],
    }
