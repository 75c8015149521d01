"""What the simulated Alipay+ says of an order: the JSON that answers and notifications share."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from attrs import evolve

from aplus_adapters.protocol.results import CODES
from aplus_adapters.simulator.orders import Order, OrderState
from aplus_adapters.simulator.rules import settled_value

if TYPE_CHECKING:
    from aplus_adapters.protocol.amounts import Amount

__all__ = [
    "IDS", "as_of", "code_form", "encode", "payment_details", "payment_result", "refund_details",
    "result", "transactions",
]  # fmt: skip

ACQUIRER_ID = "1021000000000000001"
PSP_ID = "1022000000000000002"
IDS = {"acquirerId": ACQUIRER_ID, "pspId": PSP_ID}
WALLET = "SIMULATEDWALLET"
_PACIFIC = timezone(timedelta(hours=-8))  # real answers carry an offset that is not the shop's
_RATE = "1.25"  # one simulated unit of any currency buys 1.25 of any other
_MAX_MESSAGE = 256  # characters of a resultMessage


def result(status: str, code: str, message: str) -> dict[str, Any]:
    """Return the `result` that every answer has."""
    message = message[:_MAX_MESSAGE]
    return {"result": {"resultCode": code, "resultStatus": status, "resultMessage": message}}


def encode(content: dict[str, Any]) -> bytes:
    """Return an answer as JSON, with spaces: a shop must not rely on how Alipay+ formats it."""
    return json.dumps(content, ensure_ascii=False).encode()


def as_of(order: Order, moment: datetime) -> Order | None:
    """Return the order as it was at a moment, None if it was not there: a copy that lags."""
    if order.created_at > moment:
        return None
    is_later = order.final_at is not None and order.final_at > moment
    refunds = [row for row in order.refunds if datetime.fromisoformat(row["refundTime"]) <= moment]
    state = OrderState.OPEN if is_later else order.state
    return evolve(order, state=state, refunds=refunds)


def payment_result(order: Order) -> dict[str, str]:
    """Return the `paymentResult` of an order in its present state."""
    codes = {
        OrderState.OPEN: ("U", "PAYMENT_IN_PROCESS"),
        OrderState.PAID: ("S", "SUCCESS"),
        OrderState.REFUSED: ("F", order.result_code or "USER_PAYMENT_VERIFICATION_FAILED"),
        OrderState.CLOSED: ("F", "ORDER_IS_CLOSED"),
        OrderState.CANCELLED: ("F", "ORDER_IS_CLOSED"),
    }
    status, code = codes[order.state]
    message = CODES[code].meaning if code in CODES else code
    content: dict[str, str] = result(status, code, message)["result"]
    return content


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
    return content | {
        "pspId": PSP_ID,
        "paymentTime": order.final_at.isoformat(timespec="seconds"),
        "customerId": "1235678",
        "walletBrandName": WALLET,
        **_settlement(order, order.amount, order.final_at),
    }


def _settlement(order: Order, amount: Amount, at: datetime) -> dict[str, Any]:
    """Return what is settled for an amount, with the rate if the currencies differ."""
    strategy = order.request.get("settlementStrategy")
    if strategy is None or strategy["settlementCurrency"] == amount.currency:
        return {"settlementAmount": amount.to_wire()}
    currency = strategy["settlementCurrency"]
    minor = settled_value(amount.value, amount.currency, currency)
    return {
        "settlementAmount": {"currency": currency, "value": str(minor)},
        "settlementQuote": {
            "quoteId": "0467933069",
            "quoteCurrencyPair": f"{amount.currency}/{currency}",
            "quotePrice": _RATE,
            "quoteStartTime": at.isoformat(timespec="seconds"),
            "quoteExpiryTime": at.isoformat(timespec="seconds"),
        },
    }


def refund_details(order: Order, refund: dict[str, Any], amount: Amount) -> dict[str, Any]:
    """Return the fields that answer a refund."""
    fields = {name: refund[name] for name in ("refundId", "refundTime", "refundAmount")}
    return IDS | fields | _settlement(order, amount, datetime.fromisoformat(refund["refundTime"]))


def transactions(order: Order) -> dict[str, Any]:
    """Return the refunds of an order as inquiries show them, nothing if there are none."""
    if not order.refunds:
        return {}
    rows = [
        {
            "transactionResult": result("S", "SUCCESS", "success")["result"],
            "transactionId": refund["refundId"],
            "transactionType": "REFUND",
            "transactionStatus": "SUCCESS",
            "transactionAmount": refund["refundAmount"],
            "transactionRequestId": refund["refundRequestId"],
            "transactionTime": refund["refundTime"],
        }
        for refund in order.refunds
    ]
    return {"transactions": rows}


def code_form(order: Order, address: str) -> dict[str, Any]:
    """Return the orderCodeForm; `address` is the base of the code and of its pictures."""
    code = f"{address}/codes/{order.token}"
    details = [{"codeValue": code, "displayType": "TEXT", "codeValueType": "QRCODE"}] + [
        {
            "codeValue": f"{code}/image?picSize={size}",
            "displayType": f"{word}IMAGE",
            "codeValueType": "QRCODE",
        }
        for size, word in (("S", "SMALL"), ("M", "MIDDLE"), ("L", "BIG"))
    ]
    turn = int(order.token[-1]) % len(details)  # varies, as no shop may rely on their order
    return {
        "paymentMethodType": "CONNECT_WALLET",
        "expireTime": order.expires_at.astimezone(_PACIFIC).isoformat(timespec="seconds"),
        "codeDetails": details[turn:] + details[:turn],
    }
