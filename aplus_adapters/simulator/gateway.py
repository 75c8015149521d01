"""The simulated gateway: verify each call's signature, and answer it from the books."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, frozen

from aplus_adapters.errors import InvalidValue, MessageError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.messages.cancel import CancelRequest
from aplus_adapters.protocol.messages.inquiry import InquiryRequest
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.protocol.messages.refund import RefundRequest
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.contents import (
    IDS,
    as_of,
    code_form,
    payment_details,
    payment_result,
    refund_details,
    result,
    transactions,
)
from aplus_adapters.simulator.identity import CLIENT_ID, Identity
from aplus_adapters.simulator.ledger import Books, Order, Refusal
from aplus_adapters.simulator.outcomes import UNSIGNED_CODES, read_outcomes
from aplus_adapters.simulator.rules import (
    check_call,
    check_header,
    check_pay,
    check_strings,
    soften,
    without_nulls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Answered", "Call", "Gateway"]


@frozen(kw_only=True)
class Call:
    """One HTTP request to the gateway, with its body as it was received.

    Header names are in lower case. `lag` is how old the copy of the books is that inquiries read.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    lag: timedelta = timedelta(0)
    legal: bytes = b""  # the body after the rules were applied: strings only, no nulls

    @property
    def client_id(self) -> str:
        """Return the Client-Id header, or an empty text."""
        return self.headers.get("client-id", "")

    @property
    def signed_content(self) -> bytes:
        """Return the content that the call's signature has to cover."""
        time = self.headers.get("request-time", "")
        return signing.signed_content(self.path, self.client_id, time, self.body)


@define(kw_only=True)
class Answered:
    """What the gateway made of a call: the JSON, whether it is signed, and how it came to it."""

    content: dict[str, Any]
    signed: bool = True
    verification: str = ""  # of the call's signature
    order: Order | None = None
    is_new: bool = False

    @property
    def code(self) -> str:
        """Return the result code."""
        return str(self.content["result"]["resultCode"])


class Gateway:
    """Answers calls from the books; `address` is the base of the codes and their pictures."""

    def __init__(
        self, books: Books, identity: Identity, address: str, *, lenient: bool = False
    ) -> None:
        self._books, self._identity, self._address = books, identity, address
        self._lenient = lenient

    def answer(self, call: Call, now: datetime) -> Answered:
        """Answer a call; whatever it changed is durable when this returns.

        A call whose signature is not valid gets an unsigned answer, as from the real gateway.
        """
        answered = Answered(content={}, signed=False)
        # A refusal is inside too: that the call came is kept.
        with self._books.transaction():
            try:
                self._authenticate(call, answered)
                answered.signed = True
                getattr(self, f"_{call.name}")(self._apply_rules(call), answered, now)
            except Refusal as refusal:
                _refuse(answered, refusal.code, refusal.message)
            except (MessageError, InvalidValue) as error:
                _refuse(answered, "PARAM_ILLEGAL", str(error))
        return answered

    def sign(
        self,
        path: str,
        body: bytes,
        now: datetime,
        client_id: str = CLIENT_ID,
        signer: Identity | None = None,
    ) -> dict[str, str]:
        """Return the headers with which `body` is Alipay+'s signed answer to a call of `path`.

        `signer` is somebody else who signs.
        """
        signer = signer or self._identity
        time = Timestamp.of(now).text
        return {
            "Client-Id": client_id,
            "Response-Time": time,
            "Signature": signer.sign(client_id, path, time, body),
            "tracerid": f"sim{now.timestamp():.6f}".replace(".", ""),
        }

    def _authenticate(self, call: Call, answered: Answered) -> None:
        check_header(call.headers)
        answered.verification = self._identity.verify(
            call.client_id, call.headers.get("signature"), call.signed_content
        )
        media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            answered.signed = True
            raise Refusal(
                "MEDIA_TYPE_NOT_ACCEPTABLE",
                f"Content-Type: found {media_type[:40]!r}, expected application/json.",
            )

    def _apply_rules(self, call: Call) -> Call:
        """Return the call with its `legal` body, or raise Refusal if it breaks a rule."""
        exact = wire.loads(call.body)  # keeps the digits of numbers as they were written
        fields = without_nulls(json.loads(call.body))  # keeps numbers apart from strings
        if self._lenient:
            fields = soften(without_nulls(exact))
        check_strings(fields)
        if call.name == "pay":
            check_pay(fields)
        else:
            check_call(call.name, fields)
        return evolve(call, legal=wire.dumps(fields))

    def _pay(self, call: Call, answered: Answered, now: datetime) -> None:
        request = PayRequest.decode(call.legal, strict=True)
        outcomes = read_outcomes(request.order.order_description)
        try:
            order, answered.is_new = self._books.pay(request, now, call.client_id)
        except Refusal:
            known = self._books.find_own(call.client_id, request.payment_request_id)
            if known is not None:  # a test counts every request that came for an order
                self._note(known, call, answered)
            raise
        self._note(order, call, answered)
        if answered.is_new and outcomes.buyer is not None:
            buyer = outcomes.buyer
            self._books.plan_decision(
                order, buyer.decision, now + timedelta(seconds=buyer.seconds), buyer.code
            )
        answered.content = {
            **result("U", "PAYMENT_IN_PROCESS", "payment in process"),
            "acquirerId": IDS["acquirerId"],
            "paymentId": order.payment_id,
            "paymentAmount": order.request["paymentAmount"],
            "orderCodeForm": code_form(order, self._address),
        }

    def _inquiryPayment(self, call: Call, answered: Answered, now: datetime) -> None:  # noqa: N802  # the call's name
        request = InquiryRequest.decode(call.legal, strict=True)
        order = self._find(request, call, answered)
        copy = as_of(order, now - call.lag) if call.lag else order
        if copy is None:
            raise Refusal("ORDER_NOT_EXIST", "The order does not exist.")
        answered.content = {
            **result("S", "SUCCESS", "success"),
            **payment_details(copy),
            "paymentResult": payment_result(copy),
            **transactions(copy),
        }

    def _cancelPayment(self, call: Call, answered: Answered, now: datetime) -> None:  # noqa: N802  # the call's name
        request = CancelRequest.decode(call.legal, strict=True)
        self._books.cancel(self._find(request, call, answered), now)
        answered.content = result("S", "SUCCESS", "success") | IDS

    def _refund(self, call: Call, answered: Answered, now: datetime) -> None:
        request = RefundRequest.decode(call.legal, strict=True)
        order = self._find(request, call, answered)
        amount = request.refund_amount
        refund = self._books.refund(order, request.refund_request_id, amount, now)
        answered.content = result("S", "SUCCESS", "success") | refund_details(order, refund, amount)

    def _find(
        self,
        request: InquiryRequest | CancelRequest | RefundRequest,
        call: Call,
        answered: Answered,
    ) -> Order:
        order = self._books.find(call.client_id, request.payment_request_id, request.payment_id)
        self._note(order, call, answered)
        return order

    def _note(self, order: Order, call: Call, answered: Answered) -> None:
        answered.order = order
        self._books.note_request(order, call.name, call.body, call.headers["request-time"])


def _refuse(answered: Answered, code: str, message: str) -> None:
    answered.content = result("F", code, message)
    if code in UNSIGNED_CODES:
        answered.signed = False
    if not answered.verification:
        answered.verification = f"not valid: {message}"
