"""The faults of the simulated Alipay+: what goes wrong with the next calls and notifications."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import define

from aplus_adapters.protocol.results import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AFTER", "BEFORE", "CALL_FAULTS", "NOTIFICATION_FAULTS", "Fault", "Faults"]

_BEFORE = {
    "reset": "the connection breaks before the gateway acts",
    "http_500": "HTTP 500 with a text",
    "html_502": "HTTP 502 with an HTML page, as a proxy answers",
    "rate_limit": "REQUEST_TRAFFIC_EXCEED_LIMIT, signed, with Retry-After (`seconds`)",
    "result": "the result of `code` and `status`, signed, without a look at the books",
    "delay": "the gateway waits `seconds`, then acts",
}
_AFTER = {
    "drop_answer": "the gateway acts, and the connection breaks before the answer",
    "late_answer": "the gateway acts, and the answer waits `seconds`",
    "trickle": "the answer comes a few bytes at a time, over `seconds`",
    "truncated": "the answer ends in the middle of its JSON",
    "garbage": "the answer is no JSON",
    "unsigned": "the answer has no signature",
    "bad_signature": "the answer was altered after it was signed",
    "wrong_key": "the answer is signed with a key that is not Alipay+'s",
    "stale": "the answer is signed, with a Response-Time of a day ago",
    "other_client": "the answer is signed for another Client-Id",
}
_INQUIRY = {
    "lag": "inquiries are answered from a copy of the books that is `seconds` old",
}
_NOTIFICATION = {
    "twice": "it is sent twice, at once",
    "late": "it is sent `seconds` later",
    "never": "it is not sent",
    "once": "it is sent once and never again, as in Alipay+'s sandbox",
    "early": "the buyer pays at once, and it arrives before the answer to pay",
    "out_of_order": "it is held until that of another payment was sent",
    "forged": "it is signed with a key that is not Alipay+'s",
    "altered": "its body was altered after it was signed",
    "unsigned": "it has no signature",
    "other_amount": "it is signed, and says one minor unit more",
    "other_path": "it is signed for another path",
    "unknown_order": "it is signed, about a payment that nobody started",
    "stale": "it is signed, with a Request-Time of a day ago",
    "other_client": "it is signed for another Client-Id",
}

BEFORE = tuple(_BEFORE)
"""Faults that come before the gateway acts; all but `delay` keep it from acting."""

AFTER = tuple(_AFTER)
"""Faults that change or lose the answer, after the gateway has acted."""

CALL_FAULTS: Mapping[str, str] = MappingProxyType(_BEFORE | _AFTER | _INQUIRY)
"""What may go wrong with a call, and what it means."""

NOTIFICATION_FAULTS: Mapping[str, str] = MappingProxyType(_NOTIFICATION)
"""What may go wrong with a notification, and what it means."""

ALWAYS = 1_000_000_000
"""The `times` of a fault that never ends."""

_CALLS = ("*", "pay", "inquiryPayment", "cancelPayment", "refund", "notify")
_MAX_PLANS = 10_000  # orders whose descriptions ask for something; the oldest is forgotten


@define
class Fault:
    """One fault for the next `times` calls of one name; the name `*` stands for every call.

    The call `notify` stands for the notifications. `order` is a paymentRequestId or
    referenceOrderId to which the fault is limited. `seconds` is how long the fault waits. `code`
    and `status` are what `result` answers; without `status` it is the code's own. `signed` is
    whether that answer is.
    """

    fault: str
    call: str = "*"
    times: int = 1
    seconds: float = 0.0
    code: str = "UNKNOWN_EXCEPTION"
    status: str = ""
    order: str = ""
    signed: bool = True

    def __attrs_post_init__(self) -> None:
        if not self.status:
            known = CODES.get(str(self.code))
            self.status = known.status if known is not None else "U"

    def check(self) -> None:
        """Raise ValueError or TypeError that says what was expected if this is no fault."""
        if self.call not in _CALLS:
            raise ValueError(f"call {self.call!r}: expected one of {_CALLS}")
        known = NOTIFICATION_FAULTS if self.call == "notify" else CALL_FAULTS
        if self.fault not in known:
            raise ValueError(f"fault {self.fault!r}: expected one of {tuple(known)}")
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float):
            raise TypeError(f"seconds: found {type(self.seconds).__name__}, expected a number")
        if not 0 <= self.seconds <= 86_400:  # a day, and no NaN
            raise ValueError(f"seconds: found {self.seconds}, expected 0 to 86400")
        if isinstance(self.times, bool) or not isinstance(self.times, int):
            raise TypeError(f"times: found {type(self.times).__name__}, expected a whole number")

    def concerns(self, call: str, *names: str) -> bool:
        """Return whether it is meant for a call about an order of these names."""
        is_call = self.call == call or (self.call == "*" and call != "notify")
        # A lag belongs to inquiries, however its call is named.
        if self.fault == "lag" and call != "inquiryPayment":
            return False
        return is_call and self.times > 0 and (not self.order or self.order in names)


class Faults:
    """The faults that are ordered and not used up: by tests, and by descriptions of orders."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []
        self._plans: OrderedDict[str, list[Fault]] = OrderedDict()

    def inject(self, rows: list[dict[str, Any]]) -> None:
        """Replace all faults; raise ValueError or TypeError if one of `rows` is no fault."""
        # Only if all are right: a test gets all of its faults or none.
        self._ordered = [_checked(row) for row in rows]

    def add(self, row: dict[str, Any]) -> None:
        """Order one more fault; raise ValueError or TypeError if `row` is none."""
        self._ordered = [*self.open(), _checked(row)]

    def open(self) -> list[Fault]:
        """Return the faults that tests and people ordered and that are not used up."""
        return [fault for fault in self._ordered if fault.times > 0]

    def plan(self, order_id: str, read: Callable[[], list[Fault]]) -> None:
        """Remember what the description of an order asks for, unless it is known already."""
        if order_id not in self._plans:
            self._plans[order_id] = read()
            if len(self._plans) > _MAX_PLANS:
                self._plans.popitem(last=False)

    def take(
        self, call: str, order_id: str = "", reference: str = "", only: str = ""
    ) -> Fault | None:
        """Return the first fault for this call, or None, and use it up by one time.

        `only` is the one fault that is wanted.
        """
        candidates: list[Fault] = [*self._ordered, *self._plans.get(order_id, [])]
        for fault in candidates:
            if only and fault.fault != only:
                continue
            if fault.concerns(call, order_id, reference):
                fault.times -= 1
                return fault
        return None


def _checked(row: dict[str, Any]) -> Fault:
    fault = Fault(**row)
    fault.check()
    return fault
