"""The command `refund`: give money back, at most once however often the command is repeated."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.asking import confirm, interruptible
from aplus_adapters.cli.commands import ShopCommand, no_context, open_shop
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import plain, show_time
from aplus_adapters.payments.effects import get, latest, refunds
from aplus_adapters.payments.flows.refund import refund
from aplus_adapters.payments.model import RefundState
from aplus_adapters.payments.refund_states import committed
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.results import CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aplus_adapters.cli.commands import ContextOf, FindPay, RunFlow
    from aplus_adapters.payments.model import Attempt, Refund

__all__ = ["derive_id", "refund_command"]

_MAY_BE_SENT = (
    "refund {name} may be stored and sent. If it is stored, `aplus reconcile` goes on with it; do "
    "not refund it with another --id. See `aplus show {payment}`, or repeat this command"
)


def refund_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that refunds a payment; `context_of` as for reconcile."""

    @click.command(
        "refund",
        cls=ShopCommand,
        epilog=examples(
            "aplus refund pay1f0c --id credit-note-77",
            'aplus refund pay1f0c --amount 10.00 --id credit-note-78 --reason "broken seat" --yes',
        ),
    )
    @click.argument("payment")
    @click.option(
        "--amount", metavar="AMOUNT", help="Such as 10.00; without it what is left is refunded."
    )
    @click.option(
        "--id",
        "refund_id",
        metavar="ID",
        help="Your own id of this refund, such as the credit note's number.",
    )
    @click.option("--reason", metavar="TEXT", help="Alipay+ and the wallet may show it.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def command(
        *, payment: str, amount: str | None, refund_id: str | None, reason: str | None, yes: bool
    ) -> None:
        """Refund a payment, in full or in part; PAYMENT is its payment request id.

        The same --id is the same refund, so that a repeat never refunds twice. Without --id the id
        is derived from PAYMENT and AMOUNT: the same command again finds the refund that it made.
        For a second refund of the same amount give an --id. A refund that Alipay+ has refused is
        tried again by the same command, with a new id.

        The exit code is 0 if the money is refunded, and 1 if it is not, or not yet.
        """
        with open_shop(find_pay, context_of) as (pay, run_flow):
            attempt = _find(run_flow, payment)
            paid = attempt.paid_amount
            if paid is None:
                raise click.UsageError(
                    f"payment {payment}: found state {attempt.state}, expected a payment that is "
                    "paid"
                )
            stored = run_flow(refunds(payment))
            wanted = None if amount is None else _parse(amount, paid.currency)
            name = refund_id or derive_id(payment, wanted, stored)
            known = next((item for item in stored if item.refund_request_id == name), None)
            new_reason = reason
            if known is not None:
                wanted, reason = wanted or known.amount, known.reason
            wanted = wanted or _left(paid, stored)
            _describe(attempt, paid, stored)
            click.echo(f"now       {wanted} as {name}", err=True)
            if known is not None:
                click.echo(f"This refund is known: it is {known.state}.", err=True)
                if new_reason not in (None, reason):
                    click.echo("The reason that was sent first stays.", err=True)
            elif not confirm("Refund it?", yes=yes):
                click.echo("nothing was refunded", err=True)
                raise SystemExit(1)
            # The amount that was agreed to is sent; if less is left by now, the store refuses it.
            with interruptible(_MAY_BE_SENT.format(name=name, payment=payment)):
                done = run_flow(
                    refund(
                        pay.config, payment, refund_request_id=name, amount=wanted, reason=reason
                    )
                )
        click.echo(f"refund {done.refund_request_id} of {done.amount}: {_what_came_of_it(done)}")
        if known is not None and known.state.is_final:
            click.echo("Nothing was sent now. Another refund needs another --id.", err=True)
        raise SystemExit(0 if done.state is RefundState.SUCCEEDED else 1)

    return command


def derive_id(payment_request_id: str, amount: Amount | None, stored: Sequence[Refund]) -> str:
    """Return the id of a refund that nobody has named; `amount` None is what is left.

    It is the same for the same command until Alipay+ has refused that refund. Refunds that are done
    or without an answer are not counted: otherwise a command that died after its refund, or a
    person who presses twice, would give the money back twice.
    """
    parts = (payment_request_id, "rest" if amount is None else str(amount))
    series = f"aplus-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:32]}-"
    refused = [
        item
        for item in stored
        if item.refund_request_id.startswith(series) and item.state is RefundState.FAILED
    ]
    return f"{series}{len(refused) + 1}"


def _find(run_flow: RunFlow, payment: str) -> Attempt:
    attempt: Attempt | None = run_flow(get(payment))
    if attempt is not None:
        return attempt
    of_order = run_flow(latest(payment))
    if of_order is not None:
        raise click.UsageError(
            f"{payment}: found an order, expected a payment request id, since an order may have "
            f"several; its latest is {of_order.payment_request_id}, see `aplus show {payment}`"
        )
    raise click.UsageError(
        f"{payment}: found no such payment in the store, expected a payment request id; find it "
        "with `aplus list`"
    )


def _parse(text: str, currency: str) -> Amount:
    """Return an amount in the payment's currency, whose letters may follow the digits."""
    digits, _, named = text.strip().partition(" ")
    if named.strip() not in ("", currency):
        raise click.UsageError(
            f"--amount: found {named.strip()[:10]!r}, expected {currency}, the payment's currency"
        )
    return Amount.parse(digits, currency)


def _left(paid: Amount, stored: Sequence[Refund]) -> Amount:
    spent = committed(stored, paid.currency)
    if spent >= paid.value:
        raise click.UsageError(f"found nothing left of {paid}, expected something to refund")
    return Amount(paid.currency, paid.value - spent)


def _describe(attempt: Attempt, paid: Amount, stored: Sequence[Refund]) -> None:
    """Print what a person needs to decide, on standard error."""
    click.echo(f"payment   {attempt.payment_request_id}, {attempt.state}", err=True)
    click.echo(f"order     {plain(attempt.order_ref)}", err=True)
    disputed = "" if attempt.disputed is None else ", disputed: see `aplus conflicts`"
    click.echo(f"paid      {paid}{disputed}", err=True)
    for item in stored:
        click.echo(
            f"before    {item.amount} as {plain(item.refund_request_id)}, {item.state}, "
            f"{show_time(item.created_at)}",
            err=True,
        )


def _what_came_of_it(done: Refund) -> str:
    if done.state is RefundState.SUCCEEDED:
        return "succeeded"
    if done.state is RefundState.FAILED:
        code = done.result.result_code if done.result else "unknown"
        advice = f"; {CODES[code].advice}" if code in CODES else ""
        return f"refused by Alipay+ ({code}){advice}"
    following = "" if done.next_call_at is None else f", next at {show_time(done.next_call_at)}"
    return (
        "not done yet, since Alipay+ has given no usable answer. It is stored, and `aplus "
        f"reconcile` sends the same request until there is one{following}; do not refund it with "
        f"another --id. See `aplus show {done.payment_request_id}`"
    )
