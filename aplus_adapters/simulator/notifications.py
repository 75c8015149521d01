"""Send notifyPayment as Alipay+ does: signed, on its schedule, until it is acknowledged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from aplus_adapters.errors import AplusError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.keys import PrivateKey
from aplus_adapters.protocol.messages.pay import PayResponse
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.gateway import encode, payment_details, payment_result
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION, Identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aplus_adapters.simulator.ledger import Books, Order

__all__ = ["FORMS", "SCHEDULE", "Notifier"]

SCHEDULE = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 10, 60, 2 * 60, 6 * 60, 15 * 60))
"""The pause before each re-send: 24 h 22 min in all (protocol, "notifyPayment")."""

FORMS = ("true", "forged", "altered", "unsigned", "other_amount", "other_path")
"""The forms in which a test sends a notification: the true one, and some to refuse."""

_TIMEOUT = 5.0  # seconds for the shop's answer


class Notifier:
    """Sends the notifications that are due; `time_scale` divides the pauses of the schedule."""

    def __init__(
        self,
        books: Books,
        identity: Identity,
        time_scale: float,
        emit: Callable[..., None],
    ) -> None:
        self._books, self._identity, self._emit = books, identity, emit
        self._scale = time_scale
        self._sending: set[str] = set()
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)

    def due(self, now: datetime) -> list[Order]:
        """Return the orders whose notification is due at `now` and is not being sent already."""
        return [
            order
            for order in self._books.orders.values()
            if order.next_notification is not None
            and order.next_notification <= now
            and order.payment_request_id not in self._sending
        ]

    async def send_due(self, order: Order, now: datetime) -> None:
        """Send an order's notification, and plan the next one unless it was acknowledged."""
        self._sending.add(order.payment_request_id)
        try:
            status, outcome, _ = await self.send(order, "true", now)
        finally:
            self._sending.discard(order.payment_request_id)
        order.notifications.append({"at": now.isoformat(), "status": status, "outcome": outcome})
        resend = len(order.notifications) - 1
        if outcome == "acknowledged" or resend >= len(SCHEDULE):
            order.next_notification = None
        elif order.next_notification is not None:  # None if it was cancelled meanwhile
            order.next_notification = now + SCHEDULE[resend] / self._scale
        self._books.save(order)

    async def send(self, order: Order, form: str, now: datetime) -> tuple[int, str, bytes]:
        """Send one notification in a form of FORMS; return HTTP status, outcome and answer body."""
        url = order.request["paymentNotifyUrl"]
        path = urlsplit(url).path or "/"
        content: dict[str, Any] = {"paymentResult": payment_result(order), **payment_details(order)}
        if form == "other_amount":
            value = str(order.amount.value + 1)
            content["paymentAmount"] = {**content["paymentAmount"], "value": value}
        body = encode(content)
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
        try:
            response = await self._client.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            outcome, status, answer = f"no answer ({type(error).__name__})", 0, b""
        else:
            status, answer = response.status_code, response.content
            outcome = self._judge(path, response)
        self._emit("notification_answered", order, form=form, outcome=outcome, status=status)
        return status, outcome, answer

    def _judge(self, path: str, response: httpx.Response) -> str:
        """Return "acknowledged" for 200, the client's signature and result S, else the reason."""
        if response.status_code != httpx.codes.OK:
            return f"HTTP {response.status_code}"
        time = response.headers.get("response-time", "")
        content = signing.signed_content(path, CLIENT_ID, time, response.content)
        try:
            signing.verify(self._identity.client_keys, response.headers.get("signature"), content)
            answer = PayResponse.from_wire(wire.loads(response.content))
        except AplusError as error:
            return f"not accepted: {error}"
        return "acknowledged" if answer.result.result_status == "S" else str(answer.result)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
