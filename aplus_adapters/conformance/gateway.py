"""The gateway that is played: the simulator's own, with a plan of what goes wrong for a payment.

It keeps every call as evidence. One thread owns the books, so calls are answered one by one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from aplus_adapters.conformance.evidence import CALL, Evidence, Message, explain_signature
from aplus_adapters.conformance.plan import Plan, false_form
from aplus_adapters.protocol.keys import KeyRing, PrivateKey
from aplus_adapters.protocol.signing import sign, signed_content
from aplus_adapters.simulator.contents import encode, payment_details, payment_result, result
from aplus_adapters.simulator.gateway import Call, Gateway
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION, Identity, read_environ
from aplus_adapters.simulator.ledger import Books, Order, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from aplus_adapters.conformance.evidence import Exchange

__all__ = ["API", "Answer", "PlayedGateway", "stranger_key"]

T = TypeVar("T")
API = "/aps/api/v1/payments/"
_CODES = "https://codes.example"  # the real codes are https links, and pages offer only those
_CALLS = ("pay", "inquiryPayment", "cancelPayment", "refund")


@lru_cache(maxsize=1)
def stranger_key() -> PrivateKey:
    """Return a key that neither Alipay+ nor the shop has."""
    return PrivateKey.generate()


@frozen
class Answer:
    """An answer of the gateway; `cut` if the connection ends without one."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False


class PlayedGateway:
    """Alipay+'s gateway for one shop.

    `folder` keeps the keys, and shop.env with the shop's settings. The gateway is at `address`, the
    shop takes notifications at `notify_url`.
    """

    def __init__(self, folder: Path, address: str, notify_url: str, evidence: Evidence) -> None:
        self.identity = Identity.open(folder, address, notify_url)
        self.folder, self.address, self.evidence = folder, address, evidence
        self.shop_key = PrivateKey.load((folder / "client_private.pem").read_bytes())
        self._desk = ThreadPoolExecutor(1, "aplus-gateway")
        self._news = threading.Condition()
        self._next_plan: Plan | None = None
        self._plans: dict[str, Plan] = {}
        self.client_keys = KeyRing.of(self.identity.clients[CLIENT_ID])
        self._books = self._at_desk(lambda: Books(None))
        self._gateway = Gateway(self._books, self.identity, _CODES)

    @property
    def environ(self) -> dict[str, str]:
        """Return the APLUS_* variables of a shop that pays here."""
        return read_environ(self.folder)

    def plan(self, plan: Plan) -> None:
        """Follow `plan` for the next paymentRequestId that is new here."""
        self._next_plan = plan

    def receive(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request of the shop, and keep it as evidence."""
        name = path.removeprefix(API)
        exchange = self.evidence.begin(CALL, name, self.address + path, headers, body)
        exchange.method = method
        request = exchange.request
        exchange.payment_request_id = str(request.json().get("paymentRequestId", ""))
        time_text = request.headers.get("request-time")
        explain_signature(self.client_keys, CLIENT_ID, path, time_text, request)
        started = time.monotonic()
        answer = self._at_desk(lambda: self._answer(exchange, name, path))
        exchange.seconds = time.monotonic() - started
        exchange.status = answer.status
        exchange.answer = Message({k.lower(): v for k, v in answer.headers.items()}, answer.body)
        if answer.cut:
            exchange.failure = "Alipay+ acted; the connection was cut before its answer"
        with self._news:
            self._news.notify_all()
        return answer

    def calls(self, *names: str, payment: str | None = None, after: int = 0) -> list[Exchange]:
        """Return the answered calls of these names (all if none), for one payment if it is named.

        `after` leaves out the evidence up to this number.
        """
        return [
            exchange
            for exchange in self.evidence.exchanges[after:]
            if exchange.kind == CALL
            and exchange.answer is not None
            and (not names or exchange.name in names)
            and payment in (None, exchange.payment_request_id)
        ]

    def wait(self, find: Callable[[], T], seconds: float) -> T:
        """Return what `find` returns as soon as it is true, or after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not (found := find()):
                left = deadline - time.monotonic()
                if left <= 0:
                    return found
                self._news.wait(left)
            return found

    def order(self, payment: str) -> Order | None:
        """Return the order of a paymentRequestId, as it is in the books."""
        return self._at_desk(lambda: self._books.orders.get(payment))

    def payable(self, payments: list[str]) -> list[str]:
        """Return those of the payments whose code a buyer can pay now."""
        orders = ((name, self.order(name)) for name in payments)
        return [name for name, order in orders if order and order.state is OrderState.OPEN]

    def finish(self, payment: str, state: OrderState) -> None:
        """Let the buyer or the clock end an open payment; no notification is sent by itself."""

        def finish() -> None:
            order = self._books.orders[payment]
            self._books.finish(order, state, datetime.now(UTC))

        self._at_desk(finish)

    def notification(self, payment: str) -> dict[str, Any]:
        """Return the content of the notification about a payment in its present state."""
        order = self.order(payment)
        if order is None:
            raise KeyError(payment)
        return {"paymentResult": payment_result(order), **payment_details(order)}

    def close(self) -> None:
        """Close the books."""
        self._at_desk(self._books.close)
        self._desk.shutdown()

    def _at_desk(self, work: Callable[[], T]) -> T:
        return self._desk.submit(work).result()

    def _answer(self, exchange: Exchange, name: str, path: str) -> Answer:
        if name not in _CALLS:
            exchange.refusal = f"NO_INTERFACE_DEF: Alipay+ has no {path}"
            return _plain("NO_INTERFACE_DEF")
        if exchange.method != "POST":
            exchange.refusal = f"METHOD_NOT_SUPPORTED: found {exchange.method}, expected POST"
            return _plain("METHOD_NOT_SUPPORTED")
        plan = self._plan_for(exchange, name)
        words: deque[str] = getattr(plan, name.removesuffix("Payment"), deque())
        word = words.popleft() if words else "well"
        if word in ("unsigned", "forged", "refuse", "unknown"):
            return self._pretend(word, exchange, path)
        request = exchange.request
        call = Call(name=name, path=path, headers=request.headers, body=request.body)
        answered = self._gateway.answer(call, datetime.now(UTC))
        said = answered.content["result"]
        if said["resultStatus"] == "F":
            exchange.refusal = f"{said['resultCode']}: {said['resultMessage']}"
        if answered.order is not None and "orderCodeForm" in answered.content:
            self._shorten(answered.order, plan, answered.content)
            if word == "paid":
                self._books.finish(answered.order, OrderState.PAID, datetime.now(UTC))
        return self._signed(path, answered.content, is_signed=answered.signed, cut=word == "lost")

    def _plan_for(self, exchange: Exchange, name: str) -> Plan:
        payment = exchange.payment_request_id
        if name == "pay" and payment not in self._plans:
            self._plans[payment] = self._next_plan or Plan()
            self._next_plan = None
        return self._plans.get(payment, Plan())

    def _shorten(self, order: Order, plan: Plan, content: dict[str, Any]) -> None:
        if plan.expires is None:
            return
        order.expires_at = datetime.now(UTC) + timedelta(seconds=plan.expires)
        plan.expires = None  # a repeat of the request gets the same code
        self._books.save(order)
        content["orderCodeForm"]["expireTime"] = order.expires_at.isoformat(timespec="milliseconds")

    def _pretend(self, word: str, exchange: Exchange, path: str) -> Answer:
        """Return an answer that was planned; the books know nothing of it."""
        if word == "unknown":
            return self._signed(path, _result("U", "UNKNOWN_EXCEPTION"))
        false_code = false_form(exchange.number)
        if word == "refuse":
            return self._signed(path, _result("F", "RISK_REJECT") | false_code)
        content = _result("U", "PAYMENT_IN_PROCESS") | false_code
        answer = self._signed(path, content, is_signed=word == "forged")
        if word == "forged":
            covered = signed_content(path, CLIENT_ID, answer.headers["Response-Time"], answer.body)
            answer.headers["Signature"] = sign(stranger_key(), KEY_VERSION, covered)
        return answer

    def _signed(
        self, path: str, content: dict[str, Any], *, is_signed: bool = True, cut: bool = False
    ) -> Answer:
        body = encode(content)
        headers = {"Content-Type": "application/json"}
        if is_signed:
            headers |= self._gateway.sign(path, body, datetime.now(UTC))
        return Answer(200, headers, body, cut)


def _result(status: str, code: str) -> dict[str, Any]:
    return result(status, code, code.replace("_", " ").lower())


def _plain(code: str) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, encode(_result("F", code)))
