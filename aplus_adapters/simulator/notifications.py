"""The notifications of the simulated Alipay+: made, signed, judged and planned; sent by others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import frozen

from aplus_adapters.errors import AplusError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.messages.pay import PayResponse
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.contents import encode, payment_details, payment_result
from aplus_adapters.simulator.faults import NOTIFICATION_FAULTS, Faults
from aplus_adapters.simulator.identity import Identity
from aplus_adapters.simulator.message_log import lay_open
from aplus_adapters.simulator.orders import Refusal
from aplus_adapters.simulator.outcomes import read_outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aplus_adapters.simulator.faults import Fault
    from aplus_adapters.simulator.ledger import Books, Order

__all__ = ["FORMS", "SCHEDULE", "TIMEOUT", "Judged", "Notification", "Notifier"]

SCHEDULE = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 10, 60, 2 * 60, 6 * 60, 15 * 60))
"""The pause before each re-send: 24 h 22 min in all (protocol, "notifyPayment")."""

_PLANS = ("twice", "late", "never", "once", "early", "out_of_order")  # when, and how often
FORMS = ("true", *(name for name in NOTIFICATION_FAULTS if name not in _PLANS))
"""The forms in which a notification is sent: the true one, and some to refuse."""

TIMEOUT = 5.0  # seconds for the shop's answer
_AT_ONCE = 200  # notifications that are on their way at a time
_OK = 200
_HELD = timedelta(days=1)  # at most, if no notification of another payment comes


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

    `time_scale` divides the pauses of the schedule. `faults` says what goes wrong.
    """

    def __init__(
        self,
        books: Books,
        identity: Identity,
        clock: Callable[[], datetime],
        emit: Callable[..., None],
        time_scale: float = 1.0,
        *,
        faults: Faults | None = None,
    ) -> None:
        self._books, self._identity, self._clock, self._emit = books, identity, clock, emit
        self._scale = time_scale
        self._faults = faults or Faults()
        self._sending: set[str] = set()
        self._forms: dict[str, str] = {}  # in which the next one about an order is sent
        self._once: set[str] = set()
        self._held: list[str] = []

    def is_early(self, order: Order) -> bool:
        """Return whether the notification has to overtake the answer to pay."""
        return self._take_fault(order, only="early") is not None

    def take_due(self) -> list[Order]:
        """Return the orders whose notification is due; each is taken until `record`.

        One that has to be sent twice is there twice.
        """
        now = self._clock()
        due: list[Order] = []
        # Those that are being sent are the earliest: they are among these.
        for order in self._books.due_notifications(now, _AT_ONCE):
            if order.payment_request_id in self._sending:
                continue
            fault = self._take_fault(order)
            due += self._plan(order, fault, now) if fault is not None else [order]
        self._sending.update(order.payment_request_id for order in due)
        return due

    def _take_fault(self, order: Order, only: str = "") -> Fault | None:
        if "sim:" in order.description:
            try:
                outcomes = read_outcomes(order.description)
            except Refusal:  # of another version's words
                return None
            self._faults.plan(order.payment_request_id, lambda: [*outcomes.faults])
        return self._faults.take("notify", order.payment_request_id, order.reference, only)

    def _plan(self, order: Order, fault: Fault, now: datetime) -> list[Order]:
        """Return the order as often as it is sent now; plan a later moment if it is not."""
        if fault.fault == "twice":
            return [order, order]
        if fault.fault == "once":
            self._once.add(order.payment_request_id)
        if fault.fault in FORMS:
            self._forms[order.payment_request_id] = fault.fault
        if fault.fault not in ("never", "late", "out_of_order"):
            return [order]
        pause = timedelta(seconds=fault.seconds)
        if fault.fault == "out_of_order":
            self._held.append(order.payment_request_id)
            pause = _HELD
        order.next_notification = None if fault.fault == "never" else now + pause
        self._books.save(order)
        return []

    def make(self, order: Order, form: str = "") -> Notification:
        """Return the notification to send about an order now, in a form of FORMS.

        Without a form it is the true one, unless a fault says otherwise.
        """
        form = form or self._forms.pop(order.payment_request_id, "true")
        url = order.request["paymentNotifyUrl"]
        path = urlsplit(url).path or "/"
        content: dict[str, Any] = {"paymentResult": payment_result(order), **payment_details(order)}
        if form == "other_amount":
            value = str(order.amount.value + 1)
            content["paymentAmount"] = {**content["paymentAmount"], "value": value}
        if form == "unknown_order":
            content["paymentRequestId"] = f"unknown-{order.token[:40]}"
        body = encode(content)
        now = self._clock()
        time = Timestamp.of(now - timedelta(days=1) if form == "stale" else now).text
        client_id = "ANOTHER_CLIENT_0002" if form == "other_client" else order.client_id
        signer = self._identity
        if form == "forged":
            signer = Identity.of_a_stranger()
        signed_path = path + "/other" if form == "other_path" else path
        headers = {
            "Content-Type": "application/json",
            "Client-Id": client_id,
            "Request-Time": time,
            "Signature": signer.sign(client_id, signed_path, time, body),
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
        time = headers.get("response-time", "")
        client_id = notification.order.client_id
        signed = signing.signed_content(notification.path, client_id, time, body)
        try:
            verification = self._identity.verify(client_id, headers.get("signature"), signed)
            outcome = _read_answer(body) if status == _OK else f"HTTP {status}"
        except Refusal as refusal:
            verification = f"not valid: {refusal.message}"
            outcome = f"not accepted: {refusal.message}" if status == _OK else f"HTTP {status}"
        answer = lay_open(headers, body, signed=signed, verification=verification)
        return self._judged(notification, Judged(status=status, outcome=outcome, body=body), answer)

    def unanswered(self, notification: Notification, reason: str) -> Judged:
        """Return that the shop did not answer; `reason` is the name of the error."""
        return self._judged(notification, Judged(status=0, outcome=f"no answer ({reason})"), {})

    def _judged(self, notification: Notification, judged: Judged, answer: dict[str, Any]) -> Judged:
        order, form = notification.order, notification.form
        headers, body = notification.headers, notification.body
        signed = signing.signed_content(
            notification.path, headers["Client-Id"], headers["Request-Time"], body
        )
        verification = self._identity.verify_own(headers.get("Signature"), signed)
        self._books.log.add(
            "notification",
            "notifyPayment",
            self._clock(),
            order_id=order.payment_request_id,
            reference=order.reference,
            path=notification.url,
            request=lay_open(headers, body, signed=signed, verification=verification),
            answer={"status": judged.status, **answer},
            outcome=judged.outcome,
            fault="" if form == "true" else form,
        )
        self._emit(
            "notification_answered", order, form=form, outcome=judged.outcome, status=judged.status
        )
        return judged

    def record(self, order: Order, sent_at: datetime, judged: Judged) -> None:
        """Note how a due notification went; plan the next one unless it was acknowledged."""
        self._sending.discard(order.payment_request_id)
        row = {"at": sent_at.isoformat(), "status": judged.status, "outcome": judged.outcome}
        order.notifications.append(row)
        resend = len(order.notifications) - 1
        is_last = resend >= len(SCHEDULE) or order.payment_request_id in self._once
        if judged.outcome == "acknowledged" or is_last:
            order.next_notification = None
            self._once.discard(order.payment_request_id)
        elif order.next_notification is not None:  # None if it was cancelled meanwhile
            order.next_notification = sent_at + SCHEDULE[resend] / self._scale
        self._books.save(order)
        self._release_held(order)

    def _release_held(self, sent: Order) -> None:
        """Send what was held until a notification of another payment was sent."""
        for request_id in [held for held in self._held if held != sent.payment_request_id]:
            self._held.remove(request_id)
            order = self._books.orders.get(request_id)
            if order is not None and order.next_notification is not None:
                order.next_notification = self._clock()
                self._books.save(order)

    def release(self, order: Order) -> None:
        """Release an order that was taken and not sent."""
        self._sending.discard(order.payment_request_id)


def _read_answer(body: bytes) -> str:
    try:
        answer = PayResponse.from_wire(wire.loads(body))
    except AplusError as error:
        return f"not accepted: {error}"
    return "acknowledged" if answer.result.result_status == "S" else str(answer.result)
