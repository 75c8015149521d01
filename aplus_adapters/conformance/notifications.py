"""The notifications that are sent: the true one, and each way in which one can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aplus_adapters.conformance.evidence import Exchange, explain_signature
from aplus_adapters.conformance.gateway import stranger_key
from aplus_adapters.errors import AplusError
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION

if TYPE_CHECKING:
    from aplus_adapters.conformance.gateway import PlayedGateway
    from aplus_adapters.conformance.shop import Shop
    from aplus_adapters.protocol.keys import PrivateKey

__all__ = ["Notifier", "is_acknowledged", "is_crash"]

_SKEW = timedelta(minutes=10)


class Notifier:
    """Signs as Alipay+ and brings notifications to the shop."""

    def __init__(self, gateway: PlayedGateway, shop: Shop) -> None:
        self._gateway, self._shop = gateway, shop
        self.path = shop.ways.signed_path

    def sign(
        self,
        body: bytes,
        *,
        key: PrivateKey | None = None,
        path: str | None = None,
        client_id: str = CLIENT_ID,
        age: timedelta = timedelta(0),
    ) -> dict[str, str]:
        """Return the headers of a notification; each argument makes one thing other than true."""
        time = Timestamp.of(datetime.now(UTC) - age).text
        content = signing.signed_content(path or self.path, client_id, time, body)
        return {
            "Content-Type": "application/json",
            "Client-Id": client_id,
            "Request-Time": time,
            "Signature": signing.sign(
                key or self._gateway.identity.private_key, KEY_VERSION, content
            ),
        }

    def content(self, payment: str, **changes: Any) -> dict[str, Any]:
        """Return the content of the true notification; `changes` replace fields, None removes."""
        fields = {**self._gateway.notification(payment), **changes}
        return {name: value for name, value in fields.items() if value is not None}

    def send(
        self, name: str, content: dict[str, Any] | bytes, headers: dict[str, str] | None = None
    ) -> Exchange:
        """Send content (or a body) with the true headers, or with `headers`; judge the answer."""
        body = content if isinstance(content, bytes) else encode(content)
        exchange = self._shop.notify(name, headers or self.sign(body), body)
        exchange.payment_request_id = str(exchange.request.json().get("paymentRequestId", ""))
        self._explain(exchange)
        return exchange

    def send_wrong(self, form: str, content: dict[str, Any]) -> Exchange:
        """Send a notification that nobody may believe; `form` says what is wrong."""
        body = encode(content)
        match form:
            case "forged":
                headers = self.sign(body, key=stranger_key())
            case "altered":
                headers = self.sign(body)
                # Legal JSON that says the same: only the signature is wrong now.
                body = body.replace(b"{", b"{ ", 1)
            case "unsigned":
                headers = self.sign(body)
                del headers["Signature"]
            case "other path":
                headers = self.sign(body, path=f"{self.path}/other")
            case "other client id":
                headers = self.sign(body, client_id="ANOTHER_CLIENT_0002")
            case "key of the shop":
                headers = self.sign(body, key=self._gateway.shop_key)
            case _:  # stale
                headers = self.sign(body, age=timedelta(days=3))
        return self.send(form, body, headers)

    def _explain(self, exchange: Exchange) -> None:
        time = exchange.request.headers.get("request-time")
        client_id = exchange.request.headers.get("client-id", "")
        own = signing.signed_content(self.path, client_id, time or "", exchange.request.body)
        exchange.request.signed_content = own
        exchange.request.signature = (
            "as Alipay+ signs" if exchange.name == "true" else exchange.name
        )
        if exchange.answer is not None and "signature" in exchange.answer.headers:
            response_time = exchange.answer.headers.get("response-time")
            explain_signature(
                self._gateway.client_keys, CLIENT_ID, self.path, response_time, exchange.answer
            )

    def explain_answer(self, exchange: Exchange) -> str:
        """Return why an acknowledgement's signature is not right, with the cause if it is known."""
        answer = exchange.answer
        if answer is None or "signature" not in answer.headers:
            return "no Signature header"
        if answer.signature == "right":
            return ""
        return f"{answer.signature}{self._cause(exchange)}"

    def _cause(self, exchange: Exchange) -> str:
        """Return the known mistake that explains an acknowledgement's signature, "" if none."""
        answer = exchange.answer
        if answer is None:
            return ""
        answered = answer.headers.get("response-time", "")
        asked = exchange.request.headers["request-time"]
        try:
            compact = json.dumps(answer.json(), separators=(",", ":")).encode()
        except ValueError:
            compact = b""
        causes = {
            "the Request-Time was signed in place of the Response-Time": (
                self.path, asked, answer.body,
            ),
            "the notification's body was signed in place of the answer's": (
                self.path, answered, exchange.request.body,
            ),
            "another spelling of the JSON was signed than was sent": (self.path, answered, compact),
            "no body was signed": (self.path, answered, b""),
            "the whole URL was signed, expected its path": (
                self._shop.ways.notify_url, answered, answer.body,
            ),
            "a path without its slash was signed": (self.path.lstrip("/"), answered, answer.body),
        }  # fmt: skip
        for cause, (path, time, body) in causes.items():
            content = signing.signed_content(path, CLIENT_ID, time, body)
            try:
                keys = self._gateway.client_keys
                signing.verify(keys, answer.headers.get("signature"), content)
            except AplusError:
                continue
            return f"; it fits if {cause}"
        return ""


def is_acknowledged(exchange: Exchange) -> bool:
    """Return whether Alipay+ counts an answer as acknowledgement: 200, signed rightly, S."""
    answer = exchange.answer
    return (
        exchange.status == 200
        and answer is not None
        and says_s(exchange)
        and answer.signature == "right"
    )


def says_s(exchange: Exchange) -> bool:
    """Return whether the body of an answer says S, signed or not."""
    result = exchange.answer.json().get("result") if exchange.answer else None
    return isinstance(result, dict) and result.get("resultStatus") == "S"


def is_crash(exchange: Exchange) -> bool:
    """Return whether the shop failed: a 5xx that it did not sign, or no answer at all.

    A signed 5xx is a decision of the shop: send it again.
    """
    return exchange.answer is None or (
        exchange.status >= 500 and "signature" not in exchange.answer.headers
    )


def encode(content: dict[str, Any]) -> bytes:
    """Return a notification as JSON in UTF-8."""
    return json.dumps(content, ensure_ascii=False).encode()


def time_problem(text: str | None) -> str:
    """Return what is wrong with the text of a time header, "" if it is a present moment."""
    if text is None:
        return "no such header"
    try:
        moment = Timestamp(text).moment
    except AplusError as error:
        return str(error)
    away = datetime.now(UTC) - moment
    return "" if abs(away) <= _SKEW else f"{text}, which is {away} away from now"
