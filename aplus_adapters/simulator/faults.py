"""The faults of the simulated gateway: a test orders what goes wrong with the next calls."""

from __future__ import annotations

from typing import Any

from attrs import define

__all__ = ["AFTER", "BEFORE", "Fault", "Faults"]

BEFORE = ("reset", "http_500", "result", "delay")
"""Faults that come before the gateway acts; all but `delay` keep it from acting."""

AFTER = ("drop_answer", "unsigned", "bad_signature", "garbage", "late_answer")
"""Faults that change or lose the answer, after the gateway has acted."""


@define
class Fault:
    """One fault for the next `times` calls of one name; the name `*` stands for every call.

    `seconds` is how long delay and late_answer wait. `code` and `status` are what `result` answers.
    """

    fault: str
    call: str = "*"
    times: int = 1
    seconds: float = 0.0
    code: str = "UNKNOWN_EXCEPTION"
    status: str = "U"


class Faults:
    """The faults that are ordered and not used up."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def inject(self, rows: list[dict[str, Any]]) -> None:
        """Replace all faults; raise ValueError or TypeError if one of `rows` is no fault."""
        # Only if all are right: a test gets all of its faults or none.
        self._ordered = [_checked(row) for row in rows]

    def add(self, row: dict[str, Any]) -> None:
        """Order one more fault; raise ValueError or TypeError if `row` is none."""
        self._ordered.append(_checked(row))

    def take(self, call: str) -> Fault | None:
        """Return the first fault for this call, or None, and use it up by one time."""
        for fault in self._ordered:
            if fault.call in ("*", call) and fault.times > 0:
                fault.times -= 1
                return fault
        return None


def _checked(row: dict[str, Any]) -> Fault:
    fault = Fault(**row)
    if fault.fault not in (*BEFORE, *AFTER):
        raise ValueError(f"fault {fault.fault!r}: expected one of {(*BEFORE, *AFTER)}")
    return fault
