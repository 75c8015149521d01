"""The simulator's books: every order with its requests and notifications, without any HTTP."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field

from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY, PayRequest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Books", "Order", "OrderState", "Refusal"]


class OrderState(StrEnum):
    """The state of an order at Alipay+."""

    OPEN = "OPEN"
    PAID = "PAID"
    REFUSED = "REFUSED"  # by the user
    CLOSED = "CLOSED"  # by time
    CANCELLED = "CANCELLED"  # by cancelPayment; money that was paid went back


class Refusal(Exception):  # an answer of the protocol, not a failure
    """The gateway refuses a call; the answer carries this result code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code, self.message = code, message or code


@define
class Order:
    """One order, known by its paymentRequestId; `request` is the pay request as JSON."""

    payment_request_id: str
    payment_id: str
    token: str
    request: dict[str, Any]
    expires_at: datetime
    state: OrderState = OrderState.OPEN
    final_at: datetime | None = None
    cancelled: bool = False
    refunds: list[dict[str, Any]] = field(factory=list)
    requests: list[dict[str, str]] = field(factory=list)
    notifications: list[dict[str, Any]] = field(factory=list)
    next_notification: datetime | None = None

    @property
    def amount(self) -> Amount:
        """Return the amount that the buyer has to pay."""
        return Amount.from_wire(self.request["paymentAmount"])

    @property
    def refunded(self) -> int:
        """Return the sum of all refunds so far, in minor units."""
        return sum(int(refund["refundAmount"]["value"]) for refund in self.refunds)

    def summary(self) -> dict[str, Any]:
        """Return all that is known about the order, as JSON."""
        return {
            "paymentRequestId": self.payment_request_id,
            "paymentId": self.payment_id,
            "referenceOrderId": self.request["order"]["referenceOrderId"],
            "description": self.request["order"]["orderDescription"],
            "token": self.token,
            "amount": self.request["paymentAmount"],
            "state": self.state.value,
            "expiresAt": self.expires_at.isoformat(),
            "refunds": self.refunds,
            "requests": self.requests,
            "notifications": self.notifications,
            "nextNotification": self.next_notification and self.next_notification.isoformat(),
        }


class Books:
    """All orders, kept in a SQLite file, so that a restarted simulator still has them.

    Without a path they are kept in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.orders: dict[str, Order] = {}
        self._file = None if path is None else self._open(path)
        self.by_token = {order.token: order for order in self.orders.values()}
        self.by_payment_id = {order.payment_id: order for order in self.orders.values()}

    def save(self, order: Order) -> None:
        """Write the order's present state to the file."""
        if self._file is None:
            return
        self._file.execute(
            "INSERT INTO orders VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (order.payment_request_id, json.dumps(_dump(order))),
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        file = sqlite3.connect(path, isolation_level=None)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, data TEXT)")
        for _, data in file.execute("SELECT id, data FROM orders"):
            order = _load(json.loads(data))
            self.orders[order.payment_request_id] = order
        return file

    def pay(self, request: PayRequest, now: datetime) -> Order:
        """Make and return the order; a repeat with the same key parameters returns it again.

        Raise Refusal by the seed page's "paymentRequestId" and "paymentExpiryTime".
        """
        known = self.orders.get(request.payment_request_id)
        if known is not None:
            if _key_parameters(known.request) != _key_parameters(request.to_wire()):
                raise Refusal("REPEAT_REQ_INCONSISTENT", "Repeated requests are inconsistent.")
            if known.state in (OrderState.CLOSED, OrderState.CANCELLED, OrderState.REFUSED):
                raise Refusal("ORDER_IS_CLOSED", "The order is closed.")
            return known
        expires_at = now + DEFAULT_EXPIRY
        if request.payment_expiry_time is not None:
            requested = request.payment_expiry_time.moment
            if requested <= now:
                raise Refusal("PARAM_ILLEGAL", "paymentExpiryTime has passed.")
            expires_at = min(expires_at, requested)
        digest = hashlib.sha256(request.payment_request_id.encode()).hexdigest()
        order = Order(
            payment_request_id=request.payment_request_id,
            payment_id=f"{now:%Y%m%d}194010800100188{int(digest[:14], 16):017d}"[:38],
            token=f"281{int(digest, 16) % 10**33:033d}",
            request=request.to_wire(),
            expires_at=expires_at,
        )
        self.orders[order.payment_request_id] = order
        self.by_token[order.token] = order
        self.by_payment_id[order.payment_id] = order
        self.save(order)
        return order

    def find(self, payment_request_id: str | None, payment_id: str | None) -> Order:
        """Return an order by either id; raise Refusal with ORDER_NOT_EXIST if there is none."""
        order = self.orders.get(payment_request_id or "") or self.by_payment_id.get(
            payment_id or ""
        )
        if order is None:
            raise Refusal("ORDER_NOT_EXIST", "The order does not exist.")
        return order

    def finish(self, order: Order, state: OrderState, now: datetime) -> bool:
        """Make an open order final, plan its notification, and return whether it was open."""
        if order.state is not OrderState.OPEN:
            return False
        order.state, order.final_at, order.next_notification = state, now, now
        self.save(order)
        return True

    def cancel(self, order: Order, now: datetime) -> None:
        """Cancel an order in any state: all paid money goes back, and no notification is sent."""
        if order.state is not OrderState.CANCELLED:
            order.cancelled = True
            order.state, order.final_at = OrderState.CANCELLED, order.final_at or now
            order.next_notification = None
            self.save(order)

    def refund(
        self, order: Order, refund_request_id: str, amount: Amount, now: datetime
    ) -> dict[str, Any]:
        """Refund a part and return the refund; a repeated refundRequestId returns the same one."""
        for refund in order.refunds:
            if refund["refundRequestId"] == refund_request_id:
                if refund["refundAmount"] != amount.to_wire():
                    raise Refusal("REPEAT_REQ_INCONSISTENT", "Repeated requests are inconsistent.")
                return refund
        if order.state is not OrderState.PAID:
            raise Refusal("ORDER_STATUS_INVALID", "The order is not paid.")
        if amount.currency != order.amount.currency:
            raise Refusal("CURRENCY_NOT_SUPPORT", "The currency is not that of the payment.")
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
        order.requests.append(
            {"call": call, "bodySha256": hashlib.sha256(body).hexdigest(), "requestTime": time}
        )
        self.save(order)

    def overdue(self, now: datetime) -> list[Order]:
        """Return the open orders that have expired."""
        return [
            order
            for order in self.orders.values()
            if order.state is OrderState.OPEN and order.expires_at <= now
        ]


def _key_parameters(request: dict[str, Any]) -> list[Any]:
    return [
        request["paymentAmount"],
        request["paymentFactor"],
        request.get("settlementStrategy"),
        request["paymentMethod"]["paymentMethodType"],
        request["order"]["orderAmount"],
    ]


_TIMES = ("expires_at", "final_at", "next_notification")


def _dump(order: Order) -> dict[str, Any]:
    fields = asdict(order)
    for name in _TIMES:
        fields[name] = fields[name] and fields[name].isoformat()
    return fields


def _load(data: dict[str, Any]) -> Order:
    for name in _TIMES:
        data[name] = data[name] and datetime.fromisoformat(data[name])
    data["state"] = OrderState(data["state"])
    return Order(**data)
