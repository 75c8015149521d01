"""A case and its result: the rule that is tested, what was expected, and what was found."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.conformance.evidence import Exchange

__all__ = ["Case", "NotTried", "Result", "Results", "Scenario", "Verdict"]


class Verdict(StrEnum):
    """What came of a case. Only WRONG makes a run fail."""

    RIGHT = "right"
    WRONG = "wrong"
    ADVICE = "advice"  # allowed, and better done otherwise
    NOT_TRIED = "not tried"


@frozen(kw_only=True)
class Case:
    """One named case. `source` says where Alipay+'s rule stands.

    `is_advice` is set where Alipay+ demands nothing, and a careful shop does it all the same.
    """

    name: str
    rule: str
    expected: str
    source: str
    is_advice: bool = False


@define(kw_only=True)
class Result:
    """The result of one case; `exchanges` are the numbers of its evidence."""

    case: Case
    verdict: Verdict
    found: str
    exchanges: list[int] = field(factory=list)
    scenario: str = ""


class NotTried(Exception):  # a result, not a failure
    """The rest of a scenario cannot be played; its text is the reason."""


@frozen(kw_only=True)
class Scenario:
    """One thing that happens to a shop, and the cases that it settles.

    `play` gets the run and calls `results.judge` for its cases. A case that it leaves out counts as
    not tried.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    play: Callable[[Any], None]


class Results:
    """The results so far, one per case; `report` is called with each as soon as it is settled."""

    def __init__(self, report: Callable[[Result], None]) -> None:
        self._report = report
        self._cases: dict[str, Case] = {}
        self._scenario = ""
        self.all: dict[str, Result] = {}

    def open(self, scenario: Scenario) -> None:
        """Begin a scenario: its cases can be judged now."""
        self._scenario = scenario.name
        self._cases = {case.name: case for case in scenario.cases}

    def right(self, name: str, found: str, *exchanges: Exchange | None) -> None:
        """Settle a case that is right; `found` says what there was."""
        self._settle(self._cases[name], Verdict.RIGHT, found, exchanges)

    def wrong(self, name: str, found: str, *exchanges: Exchange | None) -> None:
        """Settle a case that is not right; `found` says what there was."""
        case = self._cases[name]
        self._settle(case, Verdict.ADVICE if case.is_advice else Verdict.WRONG, found, exchanges)

    def judge(self, name: str, ok: bool, found: str, *exchanges: Exchange | None) -> None:
        """Settle a case: right if `ok`."""
        settle = self.right if ok else self.wrong
        settle(name, found, *exchanges)

    def leave_out(self, name: str, reason: str) -> None:
        """Record why a case of this scenario cannot be tried."""
        self._settle(self._cases[name], Verdict.NOT_TRIED, reason, ())

    def close(self, reason: str = "the scenario before it did not get that far") -> None:
        """End the scenario: what was not judged was not tried, for this reason."""
        for case in self._cases.values():
            if case.name not in self.all:
                self._settle(case, Verdict.NOT_TRIED, reason, ())

    @property
    def is_right(self) -> bool:
        """Return whether nothing is wrong and at least one case is right."""
        verdicts = [result.verdict for result in self.all.values()]
        return Verdict.WRONG not in verdicts and Verdict.RIGHT in verdicts

    def count(self, verdict: Verdict) -> int:
        """Return how many cases came out so."""
        return sum(result.verdict is verdict for result in self.all.values())

    def _settle(
        self, case: Case, verdict: Verdict, found: str, exchanges: tuple[Exchange | None, ...]
    ) -> None:
        numbers = [exchange.number for exchange in exchanges if exchange is not None]
        result = Result(
            case=case, verdict=verdict, found=found, exchanges=numbers, scenario=self._scenario
        )
        self.all[case.name] = result
        self._report(result)
