"""What is planned for a payment: which answers get lost, or are false ones."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.conformance.evidence import Exchange

__all__ = ["Plan", "false_codes", "false_form"]

_FALSE_CODE = "https://codes.example/never-issued-"


@define
class Plan:
    """What happens to one payment. Each word is for one call; without words all goes well.

    `lost`: Alipay+ acts, and its answer is lost. `unsigned` and `forged`: the answer shows a false
    code and proves nothing. `refuse`: a signed F. `unknown`: a signed U, and nothing was done.
    `paid`: the buyer pays at the very moment at which the code is there.
    `expires` are the seconds until the code's expireTime, which Alipay+ decides.
    """

    pay: deque[str] = field(factory=deque)
    cancel: deque[str] = field(factory=deque)
    refund: deque[str] = field(factory=deque)
    expires: float | None = None

    @classmethod
    def of(cls, call: str, *words: str, expires: float | None = None) -> Plan:
        """Return a plan with words for one of the calls."""
        plan = cls(expires=expires)
        getattr(plan, call).extend(words)
        return plan


def false_form(number: int) -> dict[str, Any]:
    """Return the part of an answer with an order code that Alipay+ never issued."""
    return {
        "acquirerId": "1021000000000000001",
        "orderCodeForm": {
            "paymentMethodType": "CONNECT_WALLET",
            "expireTime": (datetime.now(UTC) + timedelta(minutes=3)).isoformat(),
            "codeDetails": [
                {
                    "codeValue": f"{_FALSE_CODE}{number}",
                    "displayType": "TEXT",
                    "codeValueType": "QRCODE",
                }
            ],
        },
    }


def false_codes(exchanges: list[Exchange]) -> Iterator[str]:
    """Yield the codes that answers have shown and Alipay+ never issued."""
    for exchange in exchanges:
        form = exchange.answer.json().get("orderCodeForm") if exchange.answer else None
        for detail in (form or {}).get("codeDetails", []):
            if detail["codeValue"].startswith(_FALSE_CODE):
                yield detail["codeValue"]
