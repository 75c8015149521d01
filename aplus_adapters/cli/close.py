"""The command `close`: close the open code of an order that the shop has cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.asking import confirm, interruptible
from aplus_adapters.cli.commands import ShopCommand, no_context, open_shop
from aplus_adapters.cli.options import examples
from aplus_adapters.cli.printing import plain
from aplus_adapters.payments.effects import latest
from aplus_adapters.payments.flows.follow_up import close_order
from aplus_adapters.payments.model import State

if TYPE_CHECKING:
    from aplus_adapters.cli.commands import ContextOf, FindPay
    from aplus_adapters.payments.model import Attempt

__all__ = ["close_command"]


def close_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that closes an order's open code; `context_of` as for reconcile."""

    @click.command(
        "close", cls=ShopCommand, epilog=examples("aplus close A-1001", "aplus close A-1001 --yes")
    )
    @click.argument("order_ref")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def command(order_ref: str, *, yes: bool) -> None:
        """Close the open payment of an order, so that nobody can pay it any more.

        Alipay+ is asked first: what was paid meanwhile is not cancelled. The exit code is 0 if
        nobody can pay the order's code any more and nobody has paid it, and 1 otherwise.
        """
        with open_shop(find_pay, context_of) as (pay, run_flow):
            attempt = run_flow(latest(order_ref))
            if attempt is None:
                raise click.UsageError(
                    f"order {order_ref}: found no payment of it in the store, expected an order "
                    "that somebody has begun to pay; find it with `aplus list`"
                )
            if not attempt.state.is_final:
                click.echo(
                    f"order {plain(order_ref)}: payment {attempt.payment_request_id} of "
                    f"{attempt.amount} is {attempt.state}",
                    err=True,
                )
                if not confirm("Close it?", yes=yes):
                    click.echo("nothing was closed", err=True)
                    raise SystemExit(1)
                with interruptible(
                    f"payment {attempt.payment_request_id} may be cancelled or paid. If its "
                    "cancellation is decided, `aplus reconcile` goes on with it; see "
                    f"`aplus show {attempt.payment_request_id}`, or repeat this command"
                ):
                    attempt = run_flow(close_order(pay.config, order_ref)) or attempt
        is_closed, text = _what_came_of_it(attempt)
        click.echo(f"order {plain(order_ref)}: {text}")
        raise SystemExit(0 if is_closed else 1)

    return command


def _what_came_of_it(attempt: Attempt) -> tuple[bool, str]:
    """Return whether nothing is paid or can be paid, and what to say of the attempt."""
    name = f"payment {attempt.payment_request_id} is {attempt.state}"
    if attempt.paid_amount is not None and attempt.is_refunded:
        return True, f"{name}, and all of it was refunded; no code is open"
    if attempt.disputed is not None:
        return False, (
            f"{name}, and {attempt.disputed} are disputed: see `aplus conflicts`; "
            f"`aplus refund {attempt.payment_request_id}` gives them back"
        )
    if attempt.state is State.SUCCEEDED:
        return False, (
            f"{name}: it was paid before; `aplus refund {attempt.payment_request_id}` gives the "
            "money back"
        )
    if not attempt.state.is_final:
        return False, (
            f"{name}, not closed yet: it may still be paid. `aplus reconcile` goes on until it is "
            "closed; look again with `aplus show`"
        )
    if attempt.success_reported:
        return True, f"{name}; somebody paid meanwhile, and the cancellation returns that money"
    return True, f"{name}; nobody can pay it any more"
