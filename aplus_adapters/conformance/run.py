"""One run: all scenarios against one shop, in an order in which nobody waits for nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, field

from aplus_adapters.conformance.accepting import ACCEPTING, WHOLE
from aplus_adapters.conformance.acknowledging import ACKNOWLEDGING
from aplus_adapters.conformance.cases import NotTried, Results
from aplus_adapters.conformance.doubting import DOUBTING
from aplus_adapters.conformance.notifying import NOTIFYING
from aplus_adapters.conformance.paying import PAYING
from aplus_adapters.conformance.play import Pace, Play
from aplus_adapters.conformance.refusing import REFUSING
from aplus_adapters.conformance.waiting import BEGINNING, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.conformance.cases import Result, Scenario
    from aplus_adapters.conformance.evidence import Evidence
    from aplus_adapters.conformance.gateway import PlayedGateway
    from aplus_adapters.conformance.shop import Shop

__all__ = ["Run", "examine", "scenarios"]


def scenarios(*, acceptance: bool = False) -> tuple[Scenario, ...]:
    """Return the scenarios in the order in which they are played."""
    pay, *paying = PAYING
    more = ACCEPTING if acceptance else ()
    return (
        pay,
        BEGINNING,
        *REFUSING,
        *ACKNOWLEDGING,
        *NOTIFYING,
        *paying,
        *DOUBTING,
        *more,
        *WAITING,
        WHOLE,
    )


@define(kw_only=True)
class Run:
    """A finished run, as the report needs it. `seconds` is how long it took.

    `public_keys` are those with which the signatures can be verified again, by whose they are.
    """

    notify_url: str
    acceptance: bool
    began: datetime
    seconds: float
    results: Results
    evidence: Evidence
    scenarios: tuple[Scenario, ...]
    public_keys: dict[str, str]
    pictures: list[tuple[str, bytes]] = field(factory=list)


def examine(
    gateway: PlayedGateway,
    shop: Shop,
    evidence: Evidence,
    *,
    pace: Pace | None = None,
    acceptance: bool = False,
    report: Callable[[Result], None] = lambda _result: None,
    picture: Callable[[str, str], None] = lambda _name, _url: None,
) -> Run:
    """Play every scenario against a shop and return the run.

    `report` is called with each result as soon as it is there, `picture` with a name and a URL when
    a page is worth a picture. `acceptance` adds refunds and the slow store.
    """
    results = Results(report)
    play = Play(
        gateway=gateway,
        shop=shop,
        evidence=evidence,
        results=results,
        pace=pace or Pace(),
        picture=picture,
    )
    began, started = datetime.now(UTC), time.monotonic()
    played = scenarios(acceptance=acceptance)
    try:
        for scenario in played:
            results.open(scenario)
            try:
                scenario.play(play)
            except NotTried as reason:
                results.close(str(reason))
            else:
                results.close()
    finally:
        play.end()
    return Run(
        notify_url=shop.ways.notify_url,
        acceptance=acceptance,
        began=began,
        seconds=time.monotonic() - started,
        results=results,
        evidence=evidence,
        scenarios=played,
        public_keys={
            "shop": gateway.shop_key.public_key.to_base64(),
            "Alipay+, as played": gateway.identity.private_key.public_key.to_base64(),
        },
    )
