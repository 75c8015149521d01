"""Outcomes by magic words in an order's description, such as `Two tickets sim:pay=RISK_REJECT`.

`docs/simulator.md` lists them. A shop's tests choose what happens to an order without any call to
the simulator, and a person who tries a shop chooses it by the name of an article.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from aplus_adapters.protocol.results import CODES
from aplus_adapters.simulator.faults import ALWAYS, CALL_FAULTS, NOTIFICATION_FAULTS, Fault
from aplus_adapters.simulator.orders import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUYERS", "UNSIGNED_CODES", "BuyerPlan", "Outcomes", "read_outcomes"]

BUYERS: Mapping[str, str] = MappingProxyType(
    {
        "pay": "the buyer pays, `seconds` after the code was made",
        "refuse": "the buyer refuses (USER_PAYMENT_VERIFICATION_FAILED)",
        "expire": "the order closes as if its time had passed",
        "two_wallets": "two wallets pay one code; Alipay+ gives the second payment back",
    }
)
"""What a planned buyer does; a result code with status F stands for a wallet's refusal."""

UNSIGNED_CODES = (
    "INVALID_CLIENT",
    "INVALID_SIGNATURE",
    "KEY_NOT_FOUND",
    "METHOD_NOT_SUPPORTED",
    "NO_INTERFACE_DEF",
)
"""The codes of answers that the gateway cannot sign, as it does not know for whom."""

_CALLS = {
    "pay": "pay",
    "inquiry": "inquiryPayment",
    "cancel": "cancelPayment",
    "refund": "refund",
    "notify": "notify",
}
_WORD = re.compile(r"\bsim:(\S+)")
_DIRECTIVE = re.compile(r"(\w+)=(\w+)(?::(\d{1,5}(?:\.\d{1,3})?))?(?:\*(\d{1,6}))?", re.ASCII)


@frozen
class BuyerPlan:
    """What the buyer does `seconds` after the code was made; `code` is a wallet's refusal."""

    decision: str
    seconds: float
    code: str = ""


@frozen
class Outcomes:
    """What one description asks for."""

    faults: tuple[Fault, ...] = ()
    buyer: BuyerPlan | None = None


def read_outcomes(description: str) -> Outcomes:
    """Return what the magic words of a description ask for; nothing for any other text.

    Raise Refusal if a word begins with `sim:` and is none of them: a test must not pass because it
    misspelt what it tests.
    """
    faults: list[Fault] = []
    buyer = None
    for match in _WORD.finditer(description):
        directive = _DIRECTIVE.fullmatch(match[1].rstrip(".,;)"))
        if directive is None:
            raise _unknown(match[1], "expected call=outcome, with :seconds and *times if needed")
        name, outcome, seconds_text, times_text = directive.groups()
        seconds = float(seconds_text or 0)
        if name == "buyer":
            buyer = _buyer(outcome, seconds)
        elif name in _CALLS:
            faults.append(_fault(name, outcome, seconds, times_text))
        else:
            raise _unknown(match[1], f"expected one of {', '.join((*_CALLS, 'buyer'))} before =")
    return Outcomes(tuple(faults), buyer)


def _buyer(outcome: str, seconds: float) -> BuyerPlan:
    if outcome in BUYERS:
        return BuyerPlan(outcome, seconds)
    row = CODES.get(outcome)
    if row is None or row.status != "F":
        raise _unknown(f"buyer={outcome}", f"expected {', '.join(BUYERS)} or a code with status F")
    return BuyerPlan("refuse", seconds, outcome)


def _fault(name: str, outcome: str, seconds: float, times_text: str | None) -> Fault:
    call = _CALLS[name]
    row = CODES.get(outcome) if call != "notify" else None
    if row is None:
        known = NOTIFICATION_FAULTS if call == "notify" else CALL_FAULTS
        if outcome not in known or (outcome == "lag" and name != "inquiry") or outcome == "result":
            raise _unknown(f"{name}={outcome}", f"docs/simulator.md lists what {name} can be")
        # A wrong notification is sent again in its true form; a lag lasts.
        times = ALWAYS if outcome in ("lag", "never", "once") else 1
        return Fault(outcome, call, times=int(times_text or times), seconds=seconds)
    return Fault(
        "result",
        call,
        # A refusal is repeated with each call; a U passes, else no order would ever come of it.
        times=int(times_text or (ALWAYS if row.status == "F" else 1)),
        code=outcome,
        signed=outcome not in UNSIGNED_CODES,
    )


def _unknown(word: str, expected: str) -> Refusal:
    return Refusal(
        "PARAM_ILLEGAL", f"order.orderDescription: found sim:{word[:60]}, {expected}."[:256]
    )
