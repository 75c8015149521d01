"""Going after whatever needs asking: the safety net under notifications, crashes and lost answers.

Any number of threads, processes and machines may do this at once: who wants to call Alipay+ about
something has to take its claim in the store first, so that each is asked about once.
"""

from __future__ import annotations

import logging
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from aplus_adapters.errors import AplusError
from aplus_adapters.payments.effects import call_store, draw, now
from aplus_adapters.payments.follow_up import step, take_claim
from aplus_adapters.payments.refund import follow_up_refund
from aplus_adapters.payments.settle import report_conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aplus_adapters.payments.attempt import Attempt, Conflict, Refund
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.setup import Setup

__all__ = ["Round", "reconcile"]

_BATCH = 100

log = logging.getLogger("aplus_adapters")


@frozen(kw_only=True)
class Round:
    """What one round of `reconcile` did: numbers of attempts, refunds and conflicts.

    `asked` were this worker's claims, `settled` of them became final; `taken` were claimed
    by others. `refunds` became final, `conflicts` were reported, `failed` raised an error that is
    in the log.
    """

    asked: int = 0
    settled: int = 0
    taken: int = 0
    refunds: int = 0
    conflicts: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.asked} asked about, {self.settled} settled, {self.refunds} refunds settled, "
            f"{self.conflicts} conflicts reported, {self.failed} failed, "
            f"{self.taken} taken by others"
        )


def reconcile(setup: Setup, progress: Callable[[Round], None] = lambda _: None) -> Flow[Round]:
    """Do one round over everything that was due when it began.

    Attempts without an answer are sent again, byte for byte, open codes are inquired about, expired
    ones closed, refunds without an answer sent again, conflicts that the shop does not know of
    reported. Attempts and refunds take turns. `progress` is called after each with the numbers so
    far. An error with one of them (a store or hook that fails) is logged and counted and costs the
    others nothing. Raises StoreError only if the store cannot even be searched.
    """
    started = yield from now()
    done = Round()
    accounts = tuple(setup.accounts)
    conflicts: Sequence[Conflict] = yield from call_store("unreported_conflicts", _BATCH, accounts)
    for conflict in conflicts:
        done = yield from _count(done, _report(conflict, done))
        progress(done)
    seen: set[str] = set()
    steps: dict[str, Callable[[Setup, Any, Round], Flow[Round]]]
    steps = {"due": _ask, "due_refunds": _refund}
    while steps:
        found = []
        for search, step_of in tuple(steps.items()):
            items = yield from _new(seen, search, started, accounts)
            if not items:
                del steps[search]
            found.append([(step_of, item) for item in items])
        # In turn, so that no refund waits for the time-outs of many inquiries, nor the reverse.
        for pair in zip_longest(*found):
            for step_of, item in filter(None, pair):
                done = yield from _count(done, step_of(setup, item, done))
                progress(done)
    return done


def _new(
    seen: set[str], search: str, started: datetime, accounts: tuple[str, ...]
) -> Flow[list[Any]]:
    """Give what is due and was not seen in this round, in a random order.

    Random, so that of several workers seldom two want the same.
    """
    found = yield from call_store(search, started, _BATCH, accounts)
    keyed = []
    for item in found:
        key = item.payment_request_id if search == "due" else item.refund_request_id
        if (search + key) not in seen:
            seen.add(search + key)
            keyed.append(((yield from draw()), key, item))
    keyed.sort(key=lambda one: one[:2])
    return [item for _, _, item in keyed]


def _count(done: Round, work: Flow[Round]) -> Flow[Round]:
    """Do one piece of work; its error is counted and costs the others nothing."""
    try:
        return (yield from work)
    except AplusError as error:
        log.exception("reconcile: %s", error)
        return evolve(done, failed=done.failed + 1)


def _ask(setup: Setup, attempt: Attempt, done: Round) -> Flow[Round]:
    mine = yield from take_claim(setup, attempt)
    if mine is None:
        return evolve(done, taken=done.taken + 1)
    after = yield from step(setup, mine)
    return evolve(done, asked=done.asked + 1, settled=done.settled + int(after.state.is_final))


def _refund(setup: Setup, refund: Refund, done: Round) -> Flow[Round]:
    after = yield from follow_up_refund(setup, refund)
    return evolve(done, refunds=done.refunds + int(after.state.is_final))


def _report(conflict: Conflict, done: Round) -> Flow[Round]:
    yield from report_conflict(conflict)
    return evolve(done, conflicts=done.conflicts + 1)
