"""The commands `aplus pay`, `aplus inquire` and `aplus cancel`: call Alipay+ by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aplus_adapters.cli.asking import confirm, interruptible
from aplus_adapters.cli.options import echo_json, examples
from aplus_adapters.errors import AplusError, ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.cancel import CancelRequest
from aplus_adapters.protocol.messages.inquiry import InquiryRequest
from aplus_adapters.protocol.messages.order import Env, Order
from aplus_adapters.protocol.messages.pay import PayRequest, SettlementStrategy
from aplus_adapters.protocol.results import Rejected
from aplus_adapters.runtime.client import Client
from aplus_adapters.runtime.clock import SystemClock
from aplus_adapters.runtime.settings import Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.protocol.messages.base import Message

__all__ = ["cancel", "inquire", "pay"]

_EXITS = "0 a verified answer says yes, 1 it says no or there is none"
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@click.command(
    epilog=examples(
        "aplus pay 42.00 USD --order A-1001 --description '2 tickets'",
        "aplus pay --request pay.json --json",
        exits=_EXITS,
    )
)
@click.argument("value", required=False)
@click.argument("currency", required=False)
@click.option("--order", "order_ref", help="Your order's id; by default by-hand.")
@click.option("--description", help="By default: a payment by hand.")
@click.option("--payment-request-id", help="By default a new one.")
@click.option(
    "--request",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the whole request as JSON, in place of VALUE and CURRENCY.",
)
@_AS_JSON
def pay(
    *,
    value: str | None,
    currency: str | None,
    order_ref: str | None,
    description: str | None,
    payment_request_id: str | None,
    request: Path | None,
    as_json: bool,
) -> None:
    """Ask Alipay+ for an order code with the APLUS_* settings.

    The shop's store does not know this payment, so that the shop does not acknowledge its
    notification. Cancel it afterwards.
    """
    account = Account.from_env()
    if (value is None or currency is None) == (request is None):
        raise click.UsageError("expected VALUE and CURRENCY, such as 42.00 USD, or --request")
    if request is not None:
        if order_ref or description or payment_request_id:
            raise click.UsageError(
                "found --request with another option about the payment, expected the whole request "
                "in the file alone"
            )
        message = PayRequest.decode(request.read_bytes(), strict=True)
    else:
        amount = Amount.parse(value or "", currency or "")
        settled = account.settlement_currency
        message = PayRequest(
            order=Order(
                reference_order_id=order_ref or "by-hand",
                order_description=description or "a payment by hand",
                order_amount=amount,
                env=Env(terminal_type="WEB", user_agent="aplus pay"),
            ),
            payment_request_id=payment_request_id or SystemClock().new_request_id(),
            payment_amount=amount,
            payment_notify_url=account.notify_url,
            settlement_strategy=(
                SettlementStrategy(settlement_currency=settled)
                if settled and settled != amount.currency
                else None
            ),
        )
    name = message.payment_request_id
    answer = _call(account, f"pay {name}", lambda client: client.pay(message), as_json=as_json)
    if as_json:
        echo_json({"paymentRequestId": name, **answer.to_wire()})
        return
    click.echo(f"{answer.result}: payment {name}, {message.payment_amount}")
    if answer.order_code_form is not None:
        click.echo(f"code: {answer.order_code_form.value('TEXT') or '-'}")
        click.echo(f"expires: {answer.order_code_form.expire_time or '-'}")
    click.echo(f"next: aplus inquire {name}, aplus cancel {name}")


@click.command(epilog=examples("aplus inquire pay01J9Z6", exits=_EXITS))
@click.argument("payment_request_id")
@_AS_JSON
def inquire(*, payment_request_id: str, as_json: bool) -> None:
    """Ask Alipay+ what became of a payment; nothing is changed."""
    message = InquiryRequest(payment_request_id=payment_request_id)
    answer = _call(
        Account.from_env(),
        f"inquire {payment_request_id}",
        lambda client: client.inquire(message),
        as_json=as_json,
    )
    if as_json:
        echo_json(answer.to_wire())
        return
    click.echo(f"payment {payment_request_id}: {answer.payment_result or answer.result}")
    if answer.payment_amount is not None:
        click.echo(f"amount: {answer.payment_amount}")
    for name in ("payment_id", "payment_time", "wallet_brand_name"):
        if getattr(answer, name) is not None:
            click.echo(f"{name.replace('_', ' ')}: {getattr(answer, name)}")


@click.command(epilog=examples("aplus cancel pay01J9Z6 --yes", exits=_EXITS))
@click.argument("payment_request_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_AS_JSON
def cancel(*, payment_request_id: str, yes: bool, as_json: bool) -> None:
    """Cancel a payment at Alipay+: what was paid is given back in full.

    It asks before. The shop's store is not told: for a payment of the shop use the shop's own
    command, which keeps the two together.
    """
    account = Account.from_env()
    if not confirm(f"cancel payment {payment_request_id} at {account.gateway}, for good?", yes=yes):
        raise click.Abort
    message = CancelRequest(payment_request_id=payment_request_id)
    answer = _call(
        account,
        f"cancel {payment_request_id}",
        lambda client: client.cancel(message),
        as_json=as_json,
    )
    if as_json:
        echo_json(answer.to_wire())
    else:
        click.echo(f"payment {payment_request_id}: {answer.result}, it is closed for good")


def _call(account: Account, what: str, call: Callable[[Client], Any], *, as_json: bool) -> Any:
    """Return the answer of a call; say why there is none, and exit with 1."""
    if not as_json:
        click.echo(f"{what}: asking {account.gateway} ({account.environment})", err=True)
    try:
        unknown = f"{what}: the call may have arrived; to do: inquire"
        with Client(account) as client, interruptible(unknown):
            return call(client)
    except (Rejected, NotSent, OutcomeUnknown) as error:
        if isinstance(error, ConfigurationError):
            raise
        if as_json:
            echo_json({"error": type(error).__name__, "message": str(error), **_result(error)})
        else:
            click.echo(f"{type(error).__name__}: {error}")
            if isinstance(error, OutcomeUnknown):
                click.echo("to do: inquire; it may have been acted on")
        sys.exit(1)


def _result(error: AplusError) -> dict[str, Any]:
    result: Message | None = getattr(error, "result", None)
    return {} if result is None else {"result": result.to_wire()}
