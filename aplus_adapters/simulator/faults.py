"""Faults that tests and people order: what goes wrong with the next calls to the gateway."""

from __future__ import annotations

from typing import Any

from attrs import define

__all__ = ["AFTER", "BEFORE", "Fault", "Faults"]

BEFORE = ("reset", "http_500", "result", "delay")
"""Faults that happen before the gateway acts; all but `delay` keep it from acting."""

AFTER = ("drop_answer", "unsigned", "bad_signature", "garbage", "late_answer")
"""Faults that happen to the answer, after the gateway acted."""


@define
class Fault:
    """One fault for the next `times` calls of one kind (`*`: any).

    `seconds` is for delay and late_answer; `code` and `status` are those of `result`.
    """

    fault: str
    call: str = "*"
    times: int = 1
    seconds: float = 0.0
    code: str = "UNKNOWN_EXCEPTION"
    status: str = "U"


class Faults:
    """The faults that were ordered and not used up."""

    def __init__(self) -> None:
        self._injected: list[Fault] = []

    def inject(self, wanted: list[dict[str, Any]]) -> None:
        """Replace all faults; raise ValueError or TypeError for one that does not exist."""
        faults = [Fault(**fields) for fields in wanted]
        for fault in faults:
            if fault.fault not in (*BEFORE, *AFTER):
                raise ValueError(f"fault {fault.fault!r}: expected one of {(*BEFORE, *AFTER)}")
        self._injected = faults

    def take(self, call: str) -> Fault | None:
        """Use up one occurrence of the first fault that fits the call."""
        for fault in self._injected:
            if fault.call in ("*", call) and fault.times > 0:
                fault.times -= 1
                return fault
        return None
