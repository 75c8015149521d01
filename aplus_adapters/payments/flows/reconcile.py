"""Going after whatever needs asking: the safety net under notifications, crashes and lost answers.

Any number of threads, processes and machines may do this at once: who wants to call Alipay+ about
something has to take its claim in the store first, so that each is asked about once.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from aplus_adapters.errors import AplusError
from aplus_adapters.payments.effects import call_store, draw, now
from aplus_adapters.payments.flows.follow_up import step, take_claim
from aplus_adapters.payments.flows.record import report_conflict
from aplus_adapters.payments.flows.refund import follow_up_refund
from aplus_adapters.payments.model import Conflict, Refund

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt
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
    accounts = tuple(setup.accounts)
    conflicts = _Search("unreported_conflicts", (), accounts, _report)
    attempts = _Search("due", (started,), accounts, partial(_ask, setup))
    refunds = _Search("due_refunds", (started,), accounts, partial(_refund, setup))
    done = Round()
    # Attempts and refunds in turn: none waits for the time-outs of many of the other kind.
    for searches in ([conflicts], [attempts, refunds]):
        done = yield from _work_through(searches, done, progress)
    return done


def _work_through(
    searches: list[_Search], done: Round, progress: Callable[[Round], None]
) -> Flow[Round]:
    """Do what these searches find, one of each in turn, until they find nothing more."""
    while True:
        batches = []
        for search in searches:
            batches += [(yield from search.following())]
        if not any(batches):
            return done
        for turn in zip_longest(*batches):
            for search, item in zip(searches, turn, strict=True):
                if item is not None:
                    done = yield from _count(done, item, search.step(item, done))
                    progress(done)


class _Search:
    """Finds what is to be done in batches, each thing once in a round.

    What could not be done is found again: then so many more are asked for, that nothing which fails
    stands before what does not.
    """

    def __init__(
        self,
        method: str,
        moment: tuple[datetime, ...],
        accounts: tuple[str, ...],
        step: Callable[[Any, Round], Flow[Round]],
    ) -> None:
        self._method, self._moment, self._accounts = method, moment, accounts
        self.step = step
        self._seen: set[str] = set()
        self._found_again = 0

    def following(self) -> Flow[list[Any]]:
        """Return what was not seen in this round, in a random order; nothing at the end.

        Random, so that of several workers seldom two want the same.
        """
        while True:
            limit = _BATCH + self._found_again
            arguments = (*self._moment, limit, self._accounts)
            items: Sequence[Any] = yield from call_store(self._method, *arguments)
            new = [item for item in items if _key(item) not in self._seen]
            self._found_again = len(items) - len(new)
            self._seen.update(map(_key, new))
            if new or len(items) < limit:
                break
        keyed = []
        for item in new:
            keyed += [((yield from draw()), _key(item), item)]
        keyed.sort(key=lambda entry: entry[:2])
        return [item for _, _, item in keyed]


def _key(item: Attempt | Refund | Conflict) -> str:
    if isinstance(item, Conflict):
        return item.key
    return item.refund_request_id if isinstance(item, Refund) else item.payment_request_id


def _count(done: Round, item: Attempt | Refund | Conflict, work: Flow[Round]) -> Flow[Round]:
    """Do one piece of work; its error is counted and costs the others nothing."""
    try:
        return (yield from work)
    except AplusError as error:
        about = item.attempt if isinstance(item, Conflict) else item
        log.exception(
            "payment %s: reconcile could not go on with it: %s; the next round tries again",
            about.payment_request_id,
            error,
            extra={"payment_request_id": about.payment_request_id},
        )
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
