"""An order at the simulated Alipay+, as a value; nothing here reads a clock or a file."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import define, field

from aplus_adapters.protocol.amounts import Amount

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Order", "OrderState", "Refusal"]


class OrderState(StrEnum):
    """The state of an order at Alipay+."""

    OPEN = "OPEN"
    PAID = "PAID"
    REFUSED = "REFUSED"  # by the user, or by the wallet with a result code
    CLOSED = "CLOSED"  # by time
    CANCELLED = "CANCELLED"  # by cancelPayment; money that was paid went back


class Refusal(Exception):  # an answer of the protocol, not a failure
    """The gateway refuses a call; the answer carries this result code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code, self.message = code, message or code


@define(eq=False)
class Order:
    """One order, known by its paymentRequestId; `request` is the pay request as JSON.

    `number` is its place in the books. `next_notification` and `next_decision` are the moments at
    which the simulator acts by itself; None if it has nothing to do. `result_code` is the wallet's
    reason for a refusal. `returned` holds payments that Alipay+ gave back by itself.
    """

    client_id: str
    payment_request_id: str
    payment_id: str
    token: str
    request: dict[str, Any]
    created_at: datetime
    expires_at: datetime
    number: int = 0
    state: OrderState = OrderState.OPEN
    result_code: str = ""
    final_at: datetime | None = None
    next_notification: datetime | None = None
    next_decision: datetime | None = None
    decision: str = ""
    refunds: list[dict[str, Any]] = field(factory=list)
    returned: list[dict[str, Any]] = field(factory=list)
    notifications: list[dict[str, Any]] = field(factory=list)
    requests: list[dict[str, str]] = field(factory=list)

    @property
    def amount(self) -> Amount:
        """Return the amount that the buyer has to pay."""
        return Amount.from_wire(self.request["paymentAmount"])

    @property
    def reference(self) -> str:
        """Return the shop's own name of the order, its referenceOrderId."""
        return str(self.request["order"]["referenceOrderId"])

    @property
    def description(self) -> str:
        """Return the text that the buyer reads."""
        return str(self.request["order"]["orderDescription"])

    @property
    def merchant_name(self) -> str:
        """Return the name of the shop as its request gives it, or an empty text."""
        merchant = self.request["order"].get("merchant") or {}
        store = merchant.get("store") or {}
        names = (merchant.get("merchantDisplayName"), merchant.get("merchantName"))
        return str(next((name for name in (*names, store.get("storeName")) if name), ""))

    @property
    def refunded(self) -> int:
        """Return the sum of all refunds so far, in minor units."""
        return sum(int(refund["refundAmount"]["value"]) for refund in self.refunds)

    def summary(self) -> dict[str, Any]:
        """Return all that is known about the order, as JSON."""
        return {
            "clientId": self.client_id,
            "paymentRequestId": self.payment_request_id,
            "paymentId": self.payment_id,
            "referenceOrderId": self.reference,
            "description": self.description,
            "token": self.token,
            "amount": self.request["paymentAmount"],
            "state": self.state.value,
            "resultCode": self.result_code,
            "expiresAt": self.expires_at.isoformat(),
            "refunds": self.refunds,
            "returned": self.returned,
            "requests": self.requests,
            "notifications": self.notifications,
            "nextNotification": self.next_notification and self.next_notification.isoformat(),
        }
