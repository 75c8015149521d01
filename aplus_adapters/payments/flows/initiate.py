"""Start the payment of an order: store an attempt, send it, and return it with its code."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from aplus_adapters.errors import (
    HookError,
    OrderChanged,
    StoreError,
    UnknownOrder,
)
from aplus_adapters.payments.effects import (
    add,
    call_hook,
    new_request_id,
    now,
    reread,
    sleep,
)
from aplus_adapters.payments.flows import follow_up
from aplus_adapters.payments.hooks import LoadOrderDetails, OrderToPay, Visitor
from aplus_adapters.payments.model import Attempt, State
from aplus_adapters.payments.order_checks import check_id, check_order_ref
from aplus_adapters.protocol.messages.order import Env, Order
from aplus_adapters.protocol.messages.pay import PayRequest, SettlementStrategy, check_expiry
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.protocol.account import Account

__all__ = ["initiate", "new_attempt", "return_address"]

log = logging.getLogger("aplus_adapters")

_USER_AGENT = 512  # characters: any stranger can send it, and every row stores it
_CODE_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.0, 1.5)  # seconds to wait for the worker that holds the claim


def initiate(config: PaymentConfig, order_ref: str, visitor: Visitor) -> Flow[Attempt]:
    """Return the attempt by which this order is paid now, with its code if Alipay+ answers.

    An open attempt is returned again, so double clicks and second tabs see the same code. If it has
    expired or the order's amount has changed, it is closed first. A new attempt is made only after
    the old one is closed; until then the old one is returned. A paid order's attempt is returned
    as it is. If Alipay+ cannot be reached, or its answer cannot be stored, the attempt comes back
    CREATED: nothing is lost, the next `follow_up` sends the same bytes again.

    Raises UnknownOrder, InvalidValue for an order that cannot be paid and OrderChanged for one that
    was paid with another amount, TooManyAttempts for one that was tried too often, HookError,
    StoreError: all of them before anything is sent.
    """
    check_id("order_ref", order_ref)  # the hook may know it by another, canonical one
    # The price comes from the shop's server; a browser could name any price.
    order = yield from call_hook(
        "load_order", LoadOrderDetails(order_ref=order_ref, visitor=visitor)
    )
    if order is None:
        raise UnknownOrder(
            f"order {order_ref[:64]!r}: the shop has no such order to pay; check the link"
        )
    if not isinstance(order, OrderToPay):
        raise HookError(
            f"hook load_order: found {type(order).__name__}, expected an OrderToPay or None",
            hook="load_order",
        )
    account = config.account(order.client_id)
    order_ref = order_ref if order.order_ref is None else order.order_ref
    moment = yield from now()
    # Drawn before we know whether it is needed: the insert itself decides that.
    request_id = yield from new_request_id()
    wanted = new_attempt(
        account,
        order,
        order_ref,
        expiry=config.timing.expiry,
        claim=config.timing.claim,
        payment_request_id=request_id,
        visitor=visitor,
        moment=moment,
    )
    most, since = config.timing.attempts_per_hour, moment - timedelta(hours=1)
    # Durable before the first byte is sent, so that a crash loses no payment.
    attempt = yield from add(wanted, most, since)
    other_amount = attempt.amount != wanted.amount
    if _is_open(attempt) and (moment >= attempt.expires_at or other_amount):
        attempt = yield from follow_up.close(config, attempt, wanted=other_amount)
        # While the old code can still be paid, a buyer could pay it and a second one.
        if not attempt.occupies_order:
            attempt = yield from add(wanted, most, since)
    if attempt.state is State.SUCCEEDED and attempt.amount != wanted.amount:
        raise _changed(attempt, wanted)
    if attempt.payment_request_id == request_id:
        return (yield from follow_up.step_or_stored(config, attempt))
    if attempt.state is State.CREATED:
        attempt = yield from follow_up.follow_up(config, attempt)
    return (yield from _await_code(config, attempt))


def _is_open(attempt: Attempt) -> bool:
    """Return whether an attempt may be closed; a disputed one waits for a person."""
    return not attempt.state.is_final and attempt.disputed is None


def _changed(paid: Attempt, wanted: Attempt) -> OrderChanged:
    error = OrderChanged(
        f"order {wanted.order_ref}: found it paid with {paid.amount} by payment "
        f"{paid.payment_request_id}, but load_order says {wanted.amount}; correct the order, or "
        "refund the payment in full, then it can be paid anew"
    )
    log.error(
        "%s", error, extra={"event": "order_changed", "payment_request_id": paid.payment_request_id}
    )
    return error


def new_attempt(
    account: Account,
    order: OrderToPay,
    order_ref: str,
    *,
    expiry: timedelta,
    claim: timedelta = timedelta(0),
    payment_request_id: str,
    visitor: Visitor,
    moment: datetime,
) -> Attempt:
    """Return a new attempt with the exact body of its pay request, claimed by its creator.

    `moment` is now (aware), `expiry` how long Alipay+ keeps a code unless the order shortens it,
    `claim` how long the claim lasts. Raises InvalidValue for what Alipay+ would refuse.
    """
    check_order_ref("order_ref", order_ref)
    closes = None if order.expires_in is None else Timestamp.of(moment + order.expires_in)
    check_expiry(closes, moment)
    # Alipay+ requires a userAgent with an order code; a till or a job has none.
    browser = visitor.user_agent or "unknown"
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
            env=Env(terminal_type="WEB", user_agent=browser[:_USER_AGENT]),
        ),
        payment_request_id=payment_request_id,
        payment_amount=order.amount,
        payment_expiry_time=closes,
        payment_notify_url=account.notify_url,
        payment_redirect_url=_absolute(account, order.return_url)
        if order.return_url
        else return_address(account, payment_request_id),
        # Required where the settlement is in another currency than the payment.
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
        # If this process dies before the answer, another one goes on when the claim ends.
        next_call_at=moment + claim,
        changed_at=moment,
        claim=1,  # whoever stores it is the first to call Alipay+ about it
        claimed_until=moment + claim,
    )


def return_address(account: Account, payment_request_id: str) -> str:
    """Return the public address of a payment's page, in the folder of the notify URL.

    Without a paymentRedirectUrl buyers often end on an error page after they paid.
    """
    parts = urlsplit(account.notify_url)
    folder = parts.path.rpartition("/")[0]
    path = f"{folder}/payments/{payment_request_id}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _absolute(account: Account, url: str) -> str:
    """Return the address of a path on the notify URL's host; any other address as it is."""
    return urljoin(account.notify_url, url) if url.startswith("/") else url


def _await_code(config: PaymentConfig, attempt: Attempt) -> Flow[Attempt]:
    """Reread the attempt a few times until the worker that holds the claim has the code."""
    for pause in _CODE_PAUSES:
        moment = yield from now()
        if attempt.state is not State.CREATED or config.is_free(attempt, moment):
            break
        yield from sleep(pause)
        try:
            attempt = yield from reread(attempt)
        except StoreError:  # Alipay+ may have been called: return what is known
            break
    return attempt
