"""The seed page's rules for the JSON of a pay request, and the conversion for lenient mode.

This module checks what only the raw JSON shows: which fields are there, and that every scalar is a
string. The message classes check the rest: lengths, addresses, closed sets of words.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.currencies import EXPONENTS
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.orders import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "check_call",
    "check_header",
    "check_pay",
    "check_strings",
    "settled_value",
    "soften",
    "without_nulls",
]

_REQUIRED = (
    "order",
    "paymentRequestId",
    "paymentAmount",
    "paymentMethod",
    "paymentFactor",
    "paymentNotifyUrl",
    "order.referenceOrderId",
    "order.orderDescription",
    "order.orderAmount",
    "order.env",
    "order.env.userAgent",
)
_FIXED = {
    "paymentMethod.paymentMethodType": "CONNECT_WALLET",
    "paymentFactor.isInStorePayment": "true",
    "paymentFactor.isCashierPayment": "true",
    "paymentFactor.inStorePaymentScenario": "OrderCode",
}
_TIMES = ("paymentExpiryTime", "merchantRegisterDate", "storeTerminalRequestTime")


_MAX_REASON = 256  # characters of a refundReason


def check_header(headers: Mapping[str, str]) -> None:
    """Raise Refusal if a header that decides is missing or no time; names are in lower case."""
    if not headers.get("client-id"):
        raise Refusal("INVALID_CLIENT", "The client is invalid: the header Client-Id is missing.")
    time = headers.get("request-time", "")
    try:
        Timestamp(time)
    except InvalidValue:
        found = f"found {time[:40]!r}" if time else "it is missing"
        raise _illegal(f"header Request-Time: {found}, expected ISO 8601 with a zone.") from None


def check_call(name: str, request: Any) -> None:
    """Raise Refusal if a sibling call lacks a field that it requires."""
    if not isinstance(request, dict):
        raise _illegal("body must be a JSON object.")
    if not (request.get("paymentRequestId") or request.get("paymentId")):
        raise _illegal("paymentRequestId or paymentId is missing: one of them is required.")
    if name != "refund":
        return
    for path in ("refundRequestId", "refundAmount", "refundAmount.currency", "refundAmount.value"):
        if _value_at(request, path) is None:
            raise _illegal(f"{path} is missing: it is required for a refund.")
    if len(request.get("refundReason", "")) > _MAX_REASON:
        raise _illegal(f"refundReason: at most {_MAX_REASON} characters.")


def without_nulls(value: Any) -> Any:
    """Return the JSON without nulls: a null is an absent field (protocol, "Field types")."""
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [without_nulls(child) for child in value]
    return value


def check_strings(value: Any, where: str = "body") -> None:
    """Raise Refusal if a scalar is empty or not a JSON string (protocol, "Field types")."""
    if isinstance(value, dict):
        for key, child in value.items():
            check_strings(child, f"{where}.{key}")
    elif isinstance(value, list):
        for child in value:
            check_strings(child, where)
    elif not isinstance(value, str):
        raise _illegal(f"{where} must be a string: every value is enclosed in double quotes.")
    elif not value:
        raise _illegal(f"{where} is empty: leave an optional field out.")


def soften(value: Any, name: str = "") -> Any:
    """Return the JSON with booleans, numbers and milliseconds since 1970 turned into strings."""
    if isinstance(value, dict):
        return {key: soften(child, key) for key, child in value.items()}
    if isinstance(value, list):
        return [soften(child, name) for child in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # 14 digits reach the year 5138. A longer number stays, and is refused later as no datetime.
    if name in _TIMES and text.isascii() and text.isdigit() and len(text) <= 14:
        return Timestamp.of(datetime.fromtimestamp(int(text) / 1000, UTC)).text
    return text


def check_pay(request: Any) -> None:
    """Raise Refusal with the broken rule if the seed page forbids this pay request."""
    if not isinstance(request, dict):
        raise _illegal("body must be a JSON object.")
    for path in _REQUIRED:
        if _value_at(request, path) is None:
            raise _illegal(f"{path} is missing: it is required for an order code.")
    for path, expected in _FIXED.items():
        if _value_at(request, path) != expected:
            raise _illegal(f"{path} must be {expected} for an order code.")
    paid = _value_at(request, "paymentAmount.currency")
    settled = _value_at(request, "settlementStrategy.settlementCurrency") or paid
    for path, currency in (
        ("paymentAmount.currency", paid),
        ("settlementStrategy.settlementCurrency", settled),
    ):
        if not isinstance(currency, str) or currency not in EXPONENTS:
            raise Refusal(
                "CURRENCY_NOT_SUPPORT",
                f"The currency is not supported: {path}, expected a code of ISO 4217.",
            )
    value = _value_at(request, "paymentAmount.value")
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise _illegal("paymentAmount.value must be a whole number of the smallest unit.")
    # The message class refuses more than 18 digits later; such a number is not computed here.
    if len(value) <= 18 and settled_value(int(value), paid, settled) < 1:
        raise Refusal(
            "PAYMENT_AMOUNT_INVALID",
            f"paymentAmount settles to less than the smallest amount in {settled}.",
        )


def settled_value(value: int, paid: str, settled: str) -> int:
    """Return the settled minor units: one unit of a currency buys 1.25 of any other."""
    if paid == settled:
        return value
    digits = EXPONENTS[settled] - EXPONENTS[paid]
    return int(value * 125 * 10 ** max(digits, 0) // (100 * 10 ** max(-digits, 0)))


def _value_at(request: Any, path: str) -> Any:
    for key in path.split("."):
        request = request.get(key) if isinstance(request, dict) else None
    return request


def _illegal(message: str) -> Refusal:
    return Refusal("PARAM_ILLEGAL", message)
