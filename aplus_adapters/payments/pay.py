"""Paying an order: one attempt, durable before it is sent, until its code is there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from aplus_adapters.errors import ConfigurationError, InvalidValue, UnknownOrder
from aplus_adapters.payments import follow_up
from aplus_adapters.payments.attempt import Attempt, State
from aplus_adapters.payments.effects import add, call_hook, get, new_request_id, now, sleep
from aplus_adapters.payments.hooks import OrderDetails, OrderToPay, Visitor
from aplus_adapters.protocol.messages.order import Env, Order
from aplus_adapters.protocol.messages.pay import PayRequest, SettlementStrategy, check_expiry
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.protocol.account import Account

__all__ = ["initiate", "new_attempt", "return_address"]

_PEEKS = (0.1, 0.2, 0.4, 0.8, 1.0, 1.5)  # seconds to wait for the worker that got the turn


def initiate(setup: Setup, order_ref: str, visitor: Visitor) -> Flow[Attempt]:
    """Give the attempt by which this order is paid now, with its code if Alipay+ answers.

    An open attempt is given again, so double clicks and second tabs see the same code. It is closed
    first (inquired, cancelled) when its time is over or when the order's amount has changed; until
    that is known the old attempt is given and no new one made. A paid order's attempt is given as
    it is. If Alipay+ cannot be reached the attempt comes back CREATED: nothing is lost, the next
    `follow_up` sends the same bytes again.

    Raises UnknownOrder, and InvalidValue for an order that cannot be paid, before anything is
    stored or sent; HookError, StoreError.
    """
    found = yield from call_hook("load_order", OrderDetails(order_ref=order_ref, visitor=visitor))
    if found is None:
        raise UnknownOrder(
            f"order {order_ref[:64]!r}: the shop has no such order to pay; check the link"
        )
    if not isinstance(found, OrderToPay):
        raise ConfigurationError(
            f"hook load_order: found {type(found).__name__}, expected an OrderToPay or None"
        )
    account = setup.account(found.client_id)
    moment = yield from now()
    request_id = yield from new_request_id()
    wanted = new_attempt(
        account,
        found,
        order_ref,
        expiry=setup.rules.expiry,
        payment_request_id=request_id,
        visitor=visitor,
        moment=moment,
    )
    attempt = yield from add(wanted)
    if not attempt.state.is_final and (
        moment >= attempt.expires_at or attempt.amount != wanted.amount
    ):
        attempt = yield from follow_up.close(setup, attempt)
        if not attempt.state.occupies_order:
            attempt = yield from add(wanted)
    if attempt.state is State.CREATED:
        attempt = yield from follow_up.follow_up(setup, attempt)
        attempt = yield from _await_code(setup, attempt)
    return attempt


def new_attempt(
    account: Account,
    order: OrderToPay,
    order_ref: str,
    *,
    expiry: timedelta,
    payment_request_id: str,
    visitor: Visitor,
    moment: datetime,
) -> Attempt:
    """Build the attempt and the exact body of its pay request.

    `moment` is now (aware), `expiry` how long Alipay+ keeps a code when the order shortens nothing.

    Raises InvalidValue for whatever Alipay+ would refuse.
    """
    if not isinstance(order_ref, str) or not 1 <= len(order_ref) <= 64:
        raise InvalidValue(
            "order_ref: expected 1 to 64 characters, as it becomes the referenceOrderId; "
            "use the shop's order id"
        )
    closes = None if order.expires_in is None else Timestamp.of(moment + order.expires_in)
    check_expiry(closes, moment)
    currency = order.settlement_currency or account.settlement_currency
    request = PayRequest(
        order=Order(
            reference_order_id=order_ref,
            order_description=order.description,
            order_amount=order.amount,
            merchant=order.merchant,
            goods=order.goods,
            shipping=order.shipping,
            buyer=order.buyer,
            env=Env(
                terminal_type="WEB",
                user_agent=visitor.user_agent or "unknown",
                client_ip=visitor.client_ip,
            ),
        ),
        payment_request_id=payment_request_id,
        payment_amount=order.amount,
        payment_expiry_time=closes,
        payment_notify_url=account.notify_url,
        payment_redirect_url=_absolute(account, order.return_url)
        if order.return_url
        else return_address(account, payment_request_id),
        settlement_strategy=SettlementStrategy(settlement_currency=currency)
        if currency and currency != order.amount.currency
        else None,
        split_settlement_id=order.split_settlement_id,
    )
    return Attempt(
        payment_request_id=payment_request_id,
        order_ref=order_ref,
        client_id=account.client_id,
        amount=order.amount,
        request_body=request.encode(),
        created_at=moment,
        expires_at=closes.moment if closes else moment + expiry,
        next_call_at=moment,
        changed_at=moment,
    )


def return_address(account: Account, payment_request_id: str) -> str:
    """Give the public address of a payment's page: beside the notification endpoint.

    Without a paymentRedirectUrl buyers often end on an error page after they paid.
    """
    parts = urlsplit(account.notify_url)
    folder = parts.path.rpartition("/")[0]
    path = f"{folder}/payments/{payment_request_id}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _absolute(account: Account, url: str) -> str:
    """Give a path of the shop's own as an address on the host of the notification endpoint."""
    own_path = url.startswith("/") and not url.startswith("//")
    return urljoin(account.notify_url, url) if own_path else url


def _await_code(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Look a few times whether the worker that has the turn got the code."""
    for pause in _PEEKS:
        moment = yield from now()
        free = moment + setup.rules.retry_pay  # a turn that is given back comes round by then
        if (
            attempt.state is not State.CREATED
            or attempt.next_call_at is None
            or attempt.next_call_at <= free
        ):
            break
        yield from sleep(pause)
        attempt = (yield from get(attempt.payment_request_id)) or attempt
    return attempt
