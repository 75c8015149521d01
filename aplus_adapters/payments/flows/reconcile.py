"""Advance all that is due: the safety net for lost notifications, lost answers and crashes.

Any number of threads, processes and machines may do this at once. A worker takes the claim of an
attempt or a refund in the store before it calls Alipay+, so that each is asked about once.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from aplus_adapters.errors import AplusError
from aplus_adapters.payments.effects import (
    draw,
    due,
    due_refunds,
    note,
    now,
    unreported_conflicts,
)
from aplus_adapters.payments.flows.claim import take_claim
from aplus_adapters.payments.flows.follow_up import step
from aplus_adapters.payments.flows.record import report_conflict
from aplus_adapters.payments.flows.refund import follow_up_refund
from aplus_adapters.payments.model import Conflict, Refund

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["LAST_ROUND", "ReconcileReport", "reconcile"]

_BATCH = 100
LAST_ROUND = "reconcile"
"""The name under which the store keeps when the last round ended."""

log = logging.getLogger("aplus_adapters")


@frozen(kw_only=True)
class ReconcileReport:
    """What one round of `reconcile` did: numbers of attempts, refunds and conflicts.

    `asked` attempts were claimed by this worker, and `became_final` of these became final. `taken`
    were claimed by others. `refunds` became final, `conflicts` were reported, and `failed` raised
    an error, which is in the log.
    """

    asked: int = 0
    became_final: int = 0
    taken: int = 0
    refunds: int = 0
    conflicts: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.asked} asked about, {self.became_final} became final, "
            f"{self.refunds} refunds became final, "
            f"{self.conflicts} conflicts reported, {self.failed} failed, "
            f"{self.taken} taken by others"
        )


def reconcile(
    config: PaymentConfig, progress: Callable[[ReconcileReport], None] = lambda _: None
) -> Flow[ReconcileReport]:
    """Do one round over everything that was due when it began.

    Attempts and refunds without an answer are sent again, byte for byte. Open codes are inquired
    about, expired ones closed. Conflicts that the shop does not know of are reported. `progress` is
    called after each item with the numbers so far. An error with one item (a store or hook that
    fails) is logged and counted; the others go on. Raises StoreError if the store cannot be
    searched.
    """
    # One moment for the whole round: what becomes due meanwhile cannot keep it from ending.
    started = yield from now()
    accounts = tuple(config.accounts)
    conflicts = _Search(unreported_conflicts, accounts, _report)
    attempts = _Search(partial(due, started), accounts, partial(_ask, config))
    refunds = _Search(partial(due_refunds, started), accounts, partial(_refund, config))
    done = ReconcileReport()
    # Attempts and refunds take turns: neither waits for many time-outs of the other kind.
    for searches in ([conflicts], [attempts, refunds]):
        done = yield from _work_through(searches, done, progress)
    return (yield from _note_end(done))


def _note_end(done: ReconcileReport) -> Flow[ReconcileReport]:
    """Keep when the round ended; the work is done and stored, so an error is only counted."""
    try:
        yield from note(LAST_ROUND, (yield from now()))
    except AplusError as error:
        log.exception(
            "reconcile: its round is done, but that could not be stored: %s",
            error,
            extra={"event": "round_not_stored"},
        )
        return evolve(done, failed=done.failed + 1)
    return done


def _work_through(
    searches: list[_Search], done: ReconcileReport, progress: Callable[[ReconcileReport], None]
) -> Flow[ReconcileReport]:
    """Work on what these searches find, one item of each in turn, until nothing is left."""
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
    """Finds due items in batches, each item once in a round.

    The store returns an item again if it failed. The next batch is larger by the number of these,
    so that failing items do not hide the others.
    """

    def __init__(
        self,
        find: Callable[[int, Sequence[str]], Flow[Sequence[Any]]],
        accounts: tuple[str, ...],
        step: Callable[[Any, ReconcileReport], Flow[ReconcileReport]],
    ) -> None:
        self._find, self._accounts = find, accounts
        self.step = step
        self._seen: set[str] = set()
        self._found_again = 0

    def following(self) -> Flow[list[Any]]:
        """Return items that are new in this round, in random order; an empty list at the end.

        The order is random so that two workers seldom want the same item.
        """
        while True:
            limit = _BATCH + self._found_again
            items = yield from self._find(limit, self._accounts)
            new = [item for item in items if _key(item) not in self._seen]
            self._found_again = len(items) - len(new)
            self._seen.update(map(_key, new))
            if new or len(items) < limit:
                break
        keyed = []
        for item in new:
            keyed += [((yield from draw()), _key(item), item)]
        # Items themselves have no order, so they are kept out of the comparison.
        keyed.sort(key=lambda entry: entry[:2])
        return [item for _, _, item in keyed]


def _key(item: Attempt | Refund | Conflict) -> str:
    if isinstance(item, Conflict):
        return item.key
    return item.refund_request_id if isinstance(item, Refund) else item.payment_request_id


def _count(
    done: ReconcileReport, item: Attempt | Refund | Conflict, work: Flow[ReconcileReport]
) -> Flow[ReconcileReport]:
    """Do the work on one item; log and count its error, so that the others go on."""
    try:
        return (yield from work)
    except AplusError as error:
        about = item.attempt if isinstance(item, Conflict) else item
        log.exception(
            "payment %s: reconcile could not go on with it: %s; the next round tries again",
            about.payment_request_id,
            error,
            extra={"event": "reconcile_failed", "payment_request_id": about.payment_request_id},
        )
        return evolve(done, failed=done.failed + 1)


def _ask(config: PaymentConfig, attempt: Attempt, done: ReconcileReport) -> Flow[ReconcileReport]:
    mine = yield from take_claim(config, attempt)
    if mine is None:
        return evolve(done, taken=done.taken + 1)
    asked = evolve(done, asked=done.asked + 1)
    return (yield from _count(asked, mine, _step(config, mine, asked)))


def _step(config: PaymentConfig, mine: Attempt, done: ReconcileReport) -> Flow[ReconcileReport]:
    # `step`, not `step_or_stored`: here an error is counted.
    after = yield from step(config, mine)
    return evolve(done, became_final=done.became_final + int(after.state.is_final))


def _refund(config: PaymentConfig, refund: Refund, done: ReconcileReport) -> Flow[ReconcileReport]:
    after = yield from follow_up_refund(config, refund)
    return evolve(done, refunds=done.refunds + int(after.state.is_final))


def _report(conflict: Conflict, done: ReconcileReport) -> Flow[ReconcileReport]:
    yield from report_conflict(conflict)
    return evolve(done, conflicts=done.conflicts + 1)
