"""The simulator's books: what may become of an order, without any HTTP.

The rules are those of the seed page for pay, and of the pages of its sibling calls.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY, PayRequest
from aplus_adapters.simulator.books_file import BooksFile, OrdersById, to_integer
from aplus_adapters.simulator.message_log import CAPACITY, MessageLog
from aplus_adapters.simulator.orders import Order, OrderState, Refusal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from aplus_adapters.protocol.amounts import Amount

__all__ = ["Books", "Order", "OrderState", "Refusal"]

_CHINA = timezone(timedelta(hours=8))  # the day of Alipay+'s reports ends there
_AT_ONCE = 500  # orders that one step of the clockwork takes; the next step takes more
_CLOSED = (OrderState.CLOSED, OrderState.CANCELLED, OrderState.REFUSED)


class Books:
    """All orders, kept in a SQLite file, so that a restarted simulator still has them.

    Without a path they are kept in memory only. `orders`, `by_token` and `by_payment_id` read them.
    `log` holds the newest messages, `messages` of them.
    """

    def __init__(self, path: Path | None = None, messages: int = CAPACITY) -> None:
        self._rows = BooksFile(path or ":memory:")
        self._file = self._rows.connection
        self.orders = OrdersById(self._rows, "payment_request_id")
        self.by_token = OrdersById(self._rows, "token")
        self.by_payment_id = OrdersById(self._rows, "payment_id")
        self.log = MessageLog(self._rows, messages)

    def transaction(self) -> AbstractContextManager[None]:
        """Make all changes of a block durable at once, at its end."""
        return self._rows.transaction()

    def save(self, order: Order) -> None:
        """Write the order's present state to the file."""
        self._rows.update(order)

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def pay(self, request: PayRequest, now: datetime, client_id: str) -> tuple[Order, bool]:
        """Return the order, and whether it is new; a repeat with the same key parameters finds it.

        Raise Refusal by the seed page's "paymentRequestId" and "paymentExpiryTime".
        """
        content = request.to_wire()
        known = self.find_own(client_id, request.payment_request_id)
        if known is not None:
            _check_repeat(known, content)
            return known, False
        expires_at = now + DEFAULT_EXPIRY
        if request.payment_expiry_time is not None:
            requested = request.payment_expiry_time.moment
            if requested <= now:
                raise Refusal("PARAM_ILLEGAL", "paymentExpiryTime has passed.")
            expires_at = min(expires_at, requested)
        name = f"{client_id} {request.payment_request_id}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        order = Order(
            client_id=client_id,
            payment_request_id=request.payment_request_id,
            payment_id=f"{now:%Y%m%d}194010800100188{int(digest[:14], 16):017d}"[:38],
            token=f"281{int(digest, 16) % 10**33:033d}",
            request=content,
            created_at=now,
            expires_at=expires_at,
        )
        self._rows.insert(order)
        return order, True

    def find_own(
        self, client_id: str, payment_request_id: str | None, payment_id: str | None = None
    ) -> Order | None:
        """Return a client's order by either id, or None; another client's order is none."""
        column, value = "payment_request_id", payment_request_id
        if value is None:
            column, value = "payment_id", payment_id
        condition = f"WHERE {column} = ? AND client_id = ?"
        return next(iter(self._rows.select(condition, value, client_id)), None)

    def find(self, client_id: str, payment_request_id: str | None, payment_id: str | None) -> Order:
        """Return a client's order; raise Refusal with ORDER_NOT_EXIST if there is none."""
        order = self.find_own(client_id, payment_request_id, payment_id)
        if order is None:
            raise Refusal("ORDER_NOT_EXIST", "The order does not exist.")
        return order

    def finish(self, order: Order, state: OrderState, now: datetime, result_code: str = "") -> bool:
        """Make an open order final, plan its notification, and return whether it was open."""
        if order.state is not OrderState.OPEN:
            return False
        order.state, order.final_at, order.next_notification = state, now, now
        order.result_code, order.next_decision = result_code, None
        self.save(order)
        return True

    def plan_decision(self, order: Order, decision: str, at: datetime, code: str) -> None:
        """Let the buyer act `at` a moment; `code` is a wallet's refusal."""
        order.decision, order.next_decision, order.result_code = decision, at, code
        self.save(order)

    def return_payment(self, order: Order, wallet: str, now: datetime) -> None:
        """Record that Alipay+ gave a payment back by itself: the order was final already.

        Source: protocol, "notifyPayment": when two wallets scanned one code, the second buyer gets
        the money back, and the shop is told nothing.
        """
        order.returned.append({"wallet": wallet, "at": now.isoformat(timespec="seconds")})
        self.save(order)

    def cancel(self, order: Order, now: datetime) -> None:
        """Cancel an order in any state: all paid money goes back, and no notification is sent.

        Raise Refusal after 00:15 UTC+8 of the day after the payment.
        """
        if order.state is OrderState.CANCELLED:
            return
        began = (order.final_at if order.state is OrderState.PAID else None) or order.created_at
        midnight = began.astimezone(_CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
        if now >= midnight + timedelta(days=1, minutes=15):
            raise Refusal("CANCEL_WINDOW_EXCEED", "Too late to cancel: refund instead.")
        order.state, order.final_at = OrderState.CANCELLED, order.final_at or now
        order.next_notification = order.next_decision = None
        self.save(order)

    def refund(
        self, order: Order, refund_request_id: str, amount: Amount, now: datetime
    ) -> dict[str, Any]:
        """Refund a part and return the refund; a repeated refundRequestId returns the same one."""
        for refund in order.refunds:
            if refund["refundRequestId"] == refund_request_id:
                if refund["refundAmount"] != amount.to_wire():
                    raise _inconsistent("refundAmount")
                return refund
        if order.state is not OrderState.PAID or order.final_at is None:
            raise Refusal("ORDER_STATUS_INVALID", "The order is not paid.")
        if now > _one_year_after(order.final_at):
            raise Refusal("REFUND_WINDOW_EXCEED", "A refund is possible within one calendar year.")
        if amount.currency != order.amount.currency:
            raise Refusal("CURRENCY_NOT_SUPPORT", "refundAmount is not in the payment's currency.")
        if order.refunded + amount.value > order.amount.value:
            raise Refusal("REFUND_AMOUNT_EXCEED", "The refunds exceed what was paid.")
        refund = {
            "refundRequestId": refund_request_id,
            "refundId": f"{order.payment_id[:30]}{len(order.refunds) + 1:04d}",
            "refundAmount": amount.to_wire(),
            "refundTime": now.isoformat(timespec="seconds"),
        }
        order.refunds.append(refund)
        self.save(order)
        return refund

    def note_request(self, order: Order, call: str, body: bytes, time: str) -> None:
        """Record that a call about the order arrived, with the hash of its body."""
        self._rows.add_request(order, call, hashlib.sha256(body).hexdigest(), time)

    def overdue(self, now: datetime) -> list[Order]:
        """Return the open orders that have expired, those that did first; some hundred at most."""
        return self._rows.select(
            "WHERE state = 'OPEN' AND expires_at <= ? ORDER BY expires_at LIMIT ?",
            to_integer(now),
            _AT_ONCE,
        )

    def due_notifications(self, now: datetime, limit: int) -> list[Order]:
        """Return the orders whose notification has to be sent by now, `limit` at most."""
        return self._rows.select(
            "WHERE next_notification <= ? ORDER BY next_notification LIMIT ?",
            to_integer(now),
            limit,
        )

    def due_decisions(self, now: datetime) -> list[Order]:
        """Return the orders whose planned buyer has to act by now; some hundred at most."""
        return self._rows.select(
            "WHERE next_decision <= ? ORDER BY next_decision LIMIT ?", to_integer(now), _AT_ONCE
        )

    def next_due(self) -> datetime | None:
        """Return the earliest moment at which an order has something due, None if none has."""
        return self._rows.earliest()

    def newest(self, limit: int = 50, *, state: str = "", reference: str = "") -> list[Order]:
        """Return the newest orders, newest first; `state` and `reference` select some."""
        condition, values = "WHERE 1", list[Any]()
        if state:
            condition, values = f"{condition} AND state = ?", [*values, state]
        if reference:
            condition += " AND (reference = ? OR payment_request_id = ?)"
            values += [reference, reference]
        return self._rows.select(f"{condition} ORDER BY number DESC LIMIT ?", *values, limit)


def _check_repeat(known: Order, content: dict[str, Any]) -> None:
    """Raise Refusal if a repeated request differs in a key parameter, or its order is closed."""
    first, repeated = _key_parameters(known.request), _key_parameters(content)
    for name, value in first.items():
        if repeated[name] != value:
            raise _inconsistent(name)
    if known.state in _CLOSED:
        raise Refusal("ORDER_IS_CLOSED", "The order is closed.")


def _key_parameters(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "paymentAmount": request["paymentAmount"],
        "paymentFactor": request["paymentFactor"],
        "settlementStrategy": request.get("settlementStrategy"),
        "paymentMethod.paymentMethodType": request["paymentMethod"]["paymentMethodType"],
        "order.orderAmount": request["order"]["orderAmount"],
    }


def _inconsistent(name: str) -> Refusal:
    return Refusal(
        "REPEAT_REQ_INCONSISTENT", f"Repeated requests are inconsistent: {name} differs."
    )


def _one_year_after(moment: datetime) -> datetime:
    try:
        return moment.replace(year=moment.year + 1)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + 1, month=3, day=1)
