"""The notifications of the simulated Alipay+: made, signed, judged and planned; sent by others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import frozen

from aplus_adapters.errors import AplusError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.keys import PrivateKey
from aplus_adapters.protocol.messages.pay import PayResponse
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.gateway import encode, payment_details, payment_result
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aplus_adapters.simulator.ledger import Books, Order

__all__ = ["FORMS", "SCHEDULE", "TIMEOUT", "Judged", "Notification", "Notifier"]

SCHEDULE = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 10, 60, 2 * 60, 6 * 60, 15 * 60))
"""The pause before each re-send: 24 h 22 min in all (protocol, "notifyPayment")."""

FORMS = ("true", "forged", "altered", "unsigned", "other_amount", "other_path")
"""The forms in which a test sends a notification: the true one, and some to refuse."""

TIMEOUT = 5.0  # seconds for the shop's answer
_OK = 200


@frozen(kw_only=True)
class Notification:
    """One POST to the shop, about `order`, in a form of FORMS."""

    order: Order
    form: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Return the path that is signed."""
        return urlsplit(self.url).path or "/"


@frozen(kw_only=True)
class Judged:
    """How a notification went: HTTP status (0 without an answer), outcome, the answer's body."""

    status: int
    outcome: str
    body: bytes = b""


class Notifier:
    """Makes the notifications that are due, judges what the shop answers, plans the next ones.

    `time_scale` divides the pauses of the schedule.
    """

    def __init__(
        self,
        books: Books,
        identity: Identity,
        clock: Callable[[], datetime],
        emit: Callable[..., None],
        time_scale: float = 1.0,
    ) -> None:
        self._books, self._identity, self._clock, self._emit = books, identity, clock, emit
        self._scale = time_scale
        self._sending: set[str] = set()

    def take_due(self) -> list[Order]:
        """Return the orders whose notification is due; each is taken until `record`."""
        now = self._clock()
        due = [
            order
            for order in self._books.orders.values()
            if order.next_notification is not None
            and order.next_notification <= now
            and order.payment_request_id not in self._sending
        ]
        self._sending.update(order.payment_request_id for order in due)
        return due

    def make(self, order: Order, form: str = "true") -> Notification:
        """Return the notification to send about an order now, in a form of FORMS."""
        url = order.request["paymentNotifyUrl"]
        path = urlsplit(url).path or "/"
        content: dict[str, Any] = {"paymentResult": payment_result(order), **payment_details(order)}
        if form == "other_amount":
            value = str(order.amount.value + 1)
            content["paymentAmount"] = {**content["paymentAmount"], "value": value}
        body = encode(content)
        now = self._clock()
        time = Timestamp.of(now).text
        key = PrivateKey.generate() if form == "forged" else self._identity.private_key
        signed_path = path + "/other" if form == "other_path" else path
        signed = signing.signed_content(signed_path, CLIENT_ID, time, body)
        headers = {
            "Content-Type": "application/json",
            "Client-Id": CLIENT_ID,
            "Request-Time": time,
            "Signature": signing.sign(key, KEY_VERSION, signed),
            "tracerid": f"sim{now.timestamp():.6f}".replace(".", ""),
        }
        if form == "unsigned":
            del headers["Signature"]
        if form == "altered":  # legal JSON with the same content: only the signature is wrong now
            body = body.replace(b'"', b' "', 1)
        self._emit("notification_sent", order, form=form)
        return Notification(order=order, form=form, url=url, headers=headers, body=body)

    def judge(
        self, notification: Notification, status: int, headers: Mapping[str, str], body: bytes
    ) -> Judged:
        """Return how the shop answered: "acknowledged", or why it is no acknowledgement.

        Names in `headers` are in lower case.
        """
        outcome = self._outcome(notification, status, headers, body)
        return self._judged(notification, Judged(status=status, outcome=outcome, body=body))

    def unanswered(self, notification: Notification, reason: str) -> Judged:
        """Return that the shop did not answer; `reason` is the name of the error."""
        return self._judged(notification, Judged(status=0, outcome=f"no answer ({reason})"))

    def _judged(self, notification: Notification, judged: Judged) -> Judged:
        self._emit(
            "notification_answered",
            notification.order,
            form=notification.form,
            outcome=judged.outcome,
            status=judged.status,
        )
        return judged

    def _outcome(
        self, notification: Notification, status: int, headers: Mapping[str, str], body: bytes
    ) -> str:
        if status != _OK:
            return f"HTTP {status}"
        time = headers.get("response-time", "")
        content = signing.signed_content(notification.path, CLIENT_ID, time, body)
        try:
            signing.verify(self._identity.client_keys, headers.get("signature"), content)
            answer = PayResponse.from_wire(wire.loads(body))
        except AplusError as error:
            return f"not accepted: {error}"
        return "acknowledged" if answer.result.result_status == "S" else str(answer.result)

    def record(self, order: Order, sent_at: datetime, judged: Judged) -> None:
        """Note how a due notification went; plan the next one unless it was acknowledged."""
        self._sending.discard(order.payment_request_id)
        row = {"at": sent_at.isoformat(), "status": judged.status, "outcome": judged.outcome}
        order.notifications.append(row)
        resend = len(order.notifications) - 1
        if judged.outcome == "acknowledged" or resend >= len(SCHEDULE):
            order.next_notification = None
        elif order.next_notification is not None:  # None if it was cancelled meanwhile
            order.next_notification = sent_at + SCHEDULE[resend] / self._scale
        self._books.save(order)

    def release(self, order: Order) -> None:
        """Give back an order that was taken and not sent."""
        self._sending.discard(order.payment_request_id)
