"""The evidence of a run: every message between buyer, shop and Alipay+, as it travelled."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field

from aplus_adapters.errors import AplusError
from aplus_adapters.protocol import signing, wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aplus_adapters.protocol.keys import KeyRing

__all__ = ["BUYER", "CALL", "NOTIFICATION", "Evidence", "Exchange", "Message", "explain_signature"]

BUYER, CALL, NOTIFICATION = "buyer to shop", "shop to Alipay+", "Alipay+ to shop"
_SECRET = ("agent-token", "authorization", "cookie", "set-cookie", "proxy-authorization")
_SHOWN = 20_000  # characters of a body in a report; the page of a shop can be long


@define
class Message:
    """One half of an exchange. `headers` have lower-case names; `signature` says if it is right."""

    headers: dict[str, str]
    body: bytes
    signed_content: bytes | None = None
    signature: str = ""

    def json(self) -> dict[str, Any]:
        """Return the body as JSON; an empty dictionary if it is none."""
        try:
            return wire.read(self.body)
        except AplusError:
            return {}

    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")

    def as_json(self, hidden: Collection[str] = _SECRET) -> dict[str, Any]:
        """Return the message for a report; the values of `hidden` headers are left out."""
        headers = {n: "(not shown)" if n in hidden else v for n, v in self.headers.items()}
        shown: dict[str, Any] = {"headers": headers, "body": self.text()[:_SHOWN]}
        if self.signed_content is not None:
            shown["signedContent"] = self.signed_content.decode("utf-8", "replace")[:_SHOWN]
        if self.signature:
            shown["signature"] = self.signature
        return shown


@define
class Exchange:
    """One request and its answer, None if there was none; `seconds` is how long it took."""

    number: int
    kind: str
    name: str
    url: str
    at: datetime
    request: Message
    method: str = "POST"
    status: int = 0
    answer: Message | None = None
    failure: str = ""
    seconds: float = 0.0
    payment_request_id: str = ""
    refusal: str = ""  # the rule of the gateway that a call of the shop broke

    def as_json(self, hidden: Collection[str] = _SECRET) -> dict[str, Any]:
        """Return the exchange for a report; the values of `hidden` headers are left out."""
        return {
            "number": self.number,
            "direction": self.kind,
            "name": self.name,
            "method": self.method,
            "url": self.url,
            "at": self.at.isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 3),
            "paymentRequestId": self.payment_request_id or None,
            "request": self.request.as_json(hidden),
            "status": self.status or None,
            "answer": self.answer.as_json(hidden) if self.answer else None,
            "failure": self.failure or None,
        }


@define
class Evidence:
    """All exchanges of a run in their order; several threads may add to it.

    The values of `hidden` headers (lower-case names) are secret and go into no report.
    """

    exchanges: list[Exchange] = field(factory=list)
    hidden: set[str] = field(factory=lambda: set(_SECRET))
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def begin(
        self, kind: str, name: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Exchange:
        """Note a request that is sent or arrives now, and return its exchange."""
        request = Message({key.lower(): value for key, value in headers.items()}, body)
        with self._lock:
            exchange = Exchange(
                number=len(self.exchanges) + 1,
                kind=kind,
                name=name,
                url=url,
                at=datetime.now(UTC),
                request=request,
            )
            self.exchanges.append(exchange)
        return exchange


def explain_signature(
    keys: KeyRing, client_id: str, path: str, time: str | None, message: Message
) -> str:
    """Note the content that a message's signature has to cover; return what is wrong, "" if right.

    `time` is the text of its Request-Time or Response-Time, None if it has none.
    """
    if time is None:
        message.signature = "no time header, so that nothing can be verified"
        return message.signature
    message.signed_content = signing.signed_content(path, client_id, time, message.body)
    try:
        signing.verify(keys, message.headers.get("signature"), message.signed_content)
    except AplusError as error:
        message.signature = str(error)
        return str(error)
    message.signature = "right"
    return ""
