"""The simulated gateway: what each call answers, once its signature has been verified."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from aplus_adapters.errors import InvalidValue, MessageError, SignatureError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.messages.cancel import CancelRequest
from aplus_adapters.protocol.messages.inquiry import InquiryRequest
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.protocol.messages.refund import RefundRequest
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION, Identity
from aplus_adapters.simulator.ledger import Books, Order, OrderState, Refusal
from aplus_adapters.simulator.rules import (
    check_pay,
    check_strings,
    settled_value,
    soften,
    without_nulls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Call", "Gateway", "encode", "payment_details", "payment_result"]

ACQUIRER_ID = "1021000000000000001"
PSP_ID = "1022000000000000002"
WALLET = "SIMULATEDWALLET"
_UNSIGNED = ("INVALID_SIGNATURE", "INVALID_CLIENT", "KEY_NOT_FOUND")
_PACIFIC = timezone(timedelta(hours=-8))  # real answers come with an offset that is not the shop's
_RATE = "1.25"  # one simulated unit of any currency buys 1.25 of any other


@frozen(kw_only=True)
class Call:
    """One HTTP request to the gateway, raw."""

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    legal: bytes = b""  # the body as the rules want it


class Gateway:
    """Answers calls out of the books; `address` is where codes and their pictures are served."""

    def __init__(
        self, books: Books, identity: Identity, address: str, *, lenient: bool = False
    ) -> None:
        self._books, self._identity, self._address = books, identity, address
        self._lenient = lenient

    def answer(self, call: Call, now: datetime) -> tuple[dict[str, Any], bool]:
        """Return the JSON that answers a call, and whether the answer is signed.

        What was not authentic is answered unsigned, as the real gateway does.
        """
        try:
            self._authenticate(call)
            content = getattr(self, f"_{call.name}")(self._legal(call), now)
        except Refusal as refusal:
            return _result("F", refusal.code, refusal.message), refusal.code not in _UNSIGNED
        except SignatureError as error:
            return _result("F", "INVALID_SIGNATURE", str(error)), False
        except (MessageError, InvalidValue) as error:
            return _result("F", "PARAM_ILLEGAL", str(error)), True
        return content, True

    def _legal(self, call: Call) -> Call:
        """Return the call with its body as strings and without nulls, or refuse it by a rule."""
        digits = wire.loads(call.body)
        raw = without_nulls(json.loads(call.body))  # which tells numbers from strings
        if self._lenient:
            raw = soften(without_nulls(digits))
        check_strings(raw)
        if call.name == "pay":
            check_pay(raw)
        return evolve(call, legal=wire.dumps(raw))

    def sign(self, path: str, body: bytes, now: datetime) -> dict[str, str]:
        """Return the headers that make `body` Alipay+'s answer to a call of `path`."""
        time = Timestamp.of(now).text
        content = signing.signed_content(path, CLIENT_ID, time, body)
        return {
            "Client-Id": CLIENT_ID,
            "Response-Time": time,
            "Signature": signing.sign(self._identity.private_key, KEY_VERSION, content),
            "tracerid": f"sim{now.timestamp():.6f}".replace(".", ""),
        }

    def _authenticate(self, call: Call) -> None:
        if call.headers.get("client-id") != CLIENT_ID:
            raise Refusal("INVALID_CLIENT", "The client is invalid.")
        time = call.headers.get("request-time", "")
        Timestamp(time)
        content = signing.signed_content(call.path, CLIENT_ID, time, call.body)
        signing.verify(self._identity.client_keys, call.headers.get("signature"), content)
        media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Refusal("MEDIA_TYPE_NOT_ACCEPTABLE", "The media type is not acceptable.")

    def _pay(self, call: Call, now: datetime) -> dict[str, Any]:
        request = PayRequest.decode(call.legal, strict=True)
        try:
            order = self._books.pay(request, now)
        except Refusal:
            known = self._books.orders.get(request.payment_request_id)
            if known is not None:
                self._note(known, call)
            raise
        self._note(order, call)
        return {
            **_result("U", "PAYMENT_IN_PROCESS", "payment in process"),
            "acquirerId": ACQUIRER_ID,
            "paymentId": order.payment_id,
            "paymentAmount": order.request["paymentAmount"],
            "orderCodeForm": {
                "paymentMethodType": "CONNECT_WALLET",
                "expireTime": order.expires_at.astimezone(_PACIFIC).isoformat(timespec="seconds"),
                "codeDetails": self._code_details(order),
            },
        }

    def _code_details(self, order: Order) -> list[dict[str, str]]:
        code = f"{self._address}/codes/{order.token}"
        details = [{"codeValue": code, "displayType": "TEXT", "codeValueType": "QRCODE"}] + [
            {
                "codeValue": f"{code}/image?picSize={size}",
                "displayType": f"{word}IMAGE",
                "codeValueType": "QRCODE",
            }
            for size, word in (("S", "SMALL"), ("M", "MIDDLE"), ("L", "BIG"))
        ]
        turn = int(order.token[-1]) % len(details)  # their order means nothing, so it varies
        return details[turn:] + details[:turn]

    def _inquiryPayment(self, call: Call, _now: datetime) -> dict[str, Any]:  # noqa: N802  # the call's name
        request = InquiryRequest.decode(call.legal, strict=True)
        order = self._books.find(request.payment_request_id, request.payment_id)
        self._note(order, call)
        content = _result("S", "SUCCESS", "success") | payment_details(order)
        content["paymentResult"] = payment_result(order)
        if order.refunds:
            content["transactions"] = [
                {
                    "transactionResult": _result("S", "SUCCESS", "success")["result"],
                    "transactionId": refund["refundId"],
                    "transactionType": "REFUND",
                    "transactionStatus": "SUCCESS",
                    "transactionAmount": refund["refundAmount"],
                    "transactionRequestId": refund["refundRequestId"],
                    "transactionTime": refund["refundTime"],
                }
                for refund in order.refunds
            ]
        return content

    def _cancelPayment(self, call: Call, now: datetime) -> dict[str, Any]:  # noqa: N802  # the call's name
        request = CancelRequest.decode(call.legal, strict=True)
        order = self._books.find(request.payment_request_id, request.payment_id)
        self._note(order, call)
        self._books.cancel(order, now)
        return _result("S", "SUCCESS", "success") | {"acquirerId": ACQUIRER_ID, "pspId": PSP_ID}

    def _refund(self, call: Call, now: datetime) -> dict[str, Any]:
        request = RefundRequest.decode(call.legal, strict=True)
        order = self._books.find(request.payment_request_id, request.payment_id)
        self._note(order, call)
        refund = self._books.refund(order, request.refund_request_id, request.refund_amount, now)
        details = {name: refund[name] for name in ("refundId", "refundTime", "refundAmount")}
        ids = {"acquirerId": ACQUIRER_ID, "pspId": PSP_ID}
        return _result("S", "SUCCESS", "success") | ids | details

    def _note(self, order: Order, call: Call) -> None:
        self._books.note_request(order, call.name, call.body, call.headers["request-time"])


def payment_result(order: Order) -> dict[str, str]:
    """Return the `paymentResult` of an order as it is."""
    codes = {
        OrderState.OPEN: ("U", "PAYMENT_IN_PROCESS"),
        OrderState.PAID: ("S", "SUCCESS"),
        OrderState.REFUSED: ("F", "USER_PAYMENT_VERIFICATION_FAILED"),
        OrderState.CLOSED: ("F", "ORDER_IS_CLOSED"),
        OrderState.CANCELLED: ("F", "ORDER_IS_CLOSED"),
    }
    status, code = codes[order.state]
    result: dict[str, str] = _result(status, code, code.replace("_", " ").lower())["result"]
    return result


def payment_details(order: Order) -> dict[str, Any]:
    """Return the fields of an order in notifications and inquiries, without its result."""
    content: dict[str, Any] = {
        "acquirerId": ACQUIRER_ID,
        "paymentRequestId": order.payment_request_id,
        "paymentId": order.payment_id,
        "paymentAmount": order.request["paymentAmount"],
    }
    if order.state is not OrderState.PAID or order.final_at is None:
        return content
    paid = order.final_at.isoformat(timespec="seconds")
    content |= {
        "pspId": PSP_ID,
        "paymentTime": paid,
        "customerId": "1235678",
        "walletBrandName": WALLET,
        "settlementAmount": order.request["paymentAmount"],
    }
    strategy = order.request.get("settlementStrategy")
    if strategy is not None and strategy["settlementCurrency"] != order.amount.currency:
        currency = strategy["settlementCurrency"]
        minor = settled_value(order.amount.value, order.amount.currency, currency)
        content["settlementAmount"] = {"currency": currency, "value": str(minor)}
        content["settlementQuote"] = {
            "quoteId": "0467933069",
            "quoteCurrencyPair": f"{order.amount.currency}/{currency}",
            "quotePrice": _RATE,
            "quoteStartTime": paid,
            "quoteExpiryTime": paid,
        }
    return content


def encode(content: dict[str, Any]) -> bytes:
    """Return an answer as JSON with spaces, because no reader may rely on the formatting."""
    return json.dumps(content, ensure_ascii=False).encode()


def _result(status: str, code: str, message: str) -> dict[str, Any]:
    return {"result": {"resultCode": code, "resultStatus": status, "resultMessage": message}}
