"""The simulated gateway: verify each call's signature, and answer it from the books."""

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
_UNSIGNED_CODES = ("INVALID_SIGNATURE", "INVALID_CLIENT", "KEY_NOT_FOUND")
_PACIFIC = timezone(timedelta(hours=-8))  # real answers carry an offset that is not the shop's
_RATE = "1.25"  # one simulated unit of any currency buys 1.25 of any other


@frozen(kw_only=True)
class Call:
    """One HTTP request to the gateway, with its body as it was received."""

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    legal: bytes = b""  # the body after the rules were applied: strings only, no nulls


class Gateway:
    """Answers calls from the books; `address` is the base of the codes and their pictures."""

    def __init__(
        self, books: Books, identity: Identity, address: str, *, lenient: bool = False
    ) -> None:
        self._books, self._identity, self._address = books, identity, address
        self._lenient = lenient

    def answer(self, call: Call, now: datetime) -> tuple[dict[str, Any], bool]:
        """Return the JSON that answers a call, and whether the answer is signed.

        A call whose signature is not valid gets an unsigned answer, as from the real gateway.
        """
        try:
            self._authenticate(call)
            content = getattr(self, f"_{call.name}")(self._apply_rules(call), now)
        except Refusal as refusal:
            return _result("F", refusal.code, refusal.message), refusal.code not in _UNSIGNED_CODES
        except SignatureError as error:
            return _result("F", "INVALID_SIGNATURE", str(error)), False
        except (MessageError, InvalidValue) as error:
            return _result("F", "PARAM_ILLEGAL", str(error)), True
        return content, True

    def _apply_rules(self, call: Call) -> Call:
        """Return the call with its `legal` body, or raise Refusal if it breaks a rule."""
        exact = wire.loads(call.body)  # keeps the digits of numbers as they were written
        fields = without_nulls(json.loads(call.body))  # keeps numbers apart from strings
        if self._lenient:
            fields = soften(without_nulls(exact))
        check_strings(fields)
        if call.name == "pay":
            check_pay(fields)
        return evolve(call, legal=wire.dumps(fields))

    def sign(self, path: str, body: bytes, now: datetime) -> dict[str, str]:
        """Return the headers with which `body` is Alipay+'s signed answer to a call of `path`."""
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
            if known is not None:  # a test counts every request that came for an order
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
        turn = int(order.token[-1]) % len(details)  # varies, as no shop may rely on their order
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
        fields = {name: refund[name] for name in ("refundId", "refundTime", "refundAmount")}
        ids = {"acquirerId": ACQUIRER_ID, "pspId": PSP_ID}
        return _result("S", "SUCCESS", "success") | ids | fields

    def _note(self, order: Order, call: Call) -> None:
        self._books.note_request(order, call.name, call.body, call.headers["request-time"])


def payment_result(order: Order) -> dict[str, str]:
    """Return the `paymentResult` of an order in its present state."""
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
    """Return the fields of an order that notification and inquiry have in common."""
    content: dict[str, Any] = {
        "acquirerId": ACQUIRER_ID,
        "paymentRequestId": order.payment_request_id,
        "paymentId": order.payment_id,
        "paymentAmount": order.request["paymentAmount"],
    }
    if order.state is not OrderState.PAID or order.final_at is None:
        return content
    paid_at = order.final_at.isoformat(timespec="seconds")
    content |= {
        "pspId": PSP_ID,
        "paymentTime": paid_at,
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
            "quoteStartTime": paid_at,
            "quoteExpiryTime": paid_at,
        }
    return content


def encode(content: dict[str, Any]) -> bytes:
    """Return an answer as JSON, with spaces: a shop must not rely on how Alipay+ formats it."""
    return json.dumps(content, ensure_ascii=False).encode()


def _result(status: str, code: str, message: str) -> dict[str, Any]:
    return {"result": {"resultCode": code, "resultStatus": status, "resultMessage": message}}
