"""Keep payments in memory, for tests, demonstrations and one-process tills."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar, cast

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry, StoreError, UnknownPayment
from aplus_adapters.payments.model import RefundObservation, RefundTransition
from aplus_adapters.payments.policy import has_come
from aplus_adapters.payments.refund_states import admit_refund
from aplus_adapters.payments.search import page_of
from aplus_adapters.payments.states import advance, needs_refunds, too_many
from aplus_adapters.stores.memory_retention import MemoryRetention, newest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from datetime import datetime

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        Source,
        Transition,
    )
    from aplus_adapters.payments.search import ConflictRecord, Page, PaymentFilter

__all__ = ["MemoryStore"]

_WAIT = 5.0  # seconds to wait while another record of the same payment runs its hook
_PAUSE = 0.002  # seconds between two tries for a lock that another task holds

T = TypeVar("T", "Attempt", "Refund")


class MemoryStore(MemoryRetention):
    """Keeps payments in dictionaries; safe for threads and tasks of one process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # held for dictionary work only, never during a hook
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._attempts: dict[str, Attempt] = {}
        self._by_order: defaultdict[str, list[str]] = defaultdict(list)
        self._occupants: dict[str, str] = {}  # by order
        self._history: defaultdict[str, list[Observation | RefundObservation]] = defaultdict(list)
        self._conflicts: dict[str, Conflict] = {}
        self._reported: set[str] = set()
        self._resolved: dict[str, tuple[datetime, str, str]] = {}  # when, who, what was done
        self._noted: dict[str, datetime] = {}
        self._refunds: dict[str, Refund] = {}

    def add(
        self, attempt: Attempt, most: int | None = None, since: datetime | None = None, /
    ) -> Attempt:
        """Store a new attempt unless one occupies its order; return the one that does now."""
        with self._mutex:
            stored = self._attempts.get(attempt.payment_request_id)
            if stored is not None:
                return _check_same_request(stored, attempt)
            occupant = self._occupants.get(attempt.order_ref)
            if occupant is not None:
                return self._attempts[occupant]
            earlier = [self._attempts[key] for key in self._by_order[attempt.order_ref]]
            if most is not None and sum(_is_since(other, since) for other in earlier) >= most:
                raise too_many(attempt.order_ref, most)
            self._attempts[attempt.payment_request_id] = attempt
            self._by_order[attempt.order_ref].append(attempt.payment_request_id)
            self._settle_occupant(attempt.order_ref)
            return attempt

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Return the attempt, None if there is none."""
        return self._attempts.get(payment_request_id)

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Return the attempt that occupies an order, otherwise its newest, None if it has none."""
        occupant = self._attempts.get(self._occupants.get(order_ref, ""))
        if occupant is not None:
            return occupant
        # `get`, as a defaultdict keeps an entry for every order that is only asked for.
        attempts = map(self._attempts.get, tuple(self._by_order.get(order_ref, ())))
        return newest([attempt for attempt in attempts if attempt is not None])

    def claim(self, payment_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open attempt whose `claim` still is `token`."""
        with self._mutex:
            return _claim(self._attempts, payment_request_id, token, until)

    def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim if `claim` still is `token`."""
        with self._mutex:
            return _release(self._attempts, payment_request_id, token, at)

    def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, None], None],
        /,
    ) -> Transition:
        """Record an observation and call `inside`: both are kept, or neither."""
        lock = self._lock_of(payment_request_id)
        if not lock.acquire(timeout=_WAIT):
            raise _hook_timeout(payment_request_id)
        try:
            transition = self._advance(payment_request_id, observation)
            if transition.calls_hooks:
                inside(transition, None)
            return self._commit(transition)
        finally:
            lock.release()

    async def record_async(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, None], Awaitable[None]],
        /,
    ) -> Transition:
        """Do the same as `record`, but await `inside` and need no thread."""
        lock = self._lock_of(payment_request_id)
        # Tried again and again: to block here would stop the loop on which the holder runs.
        until = time.monotonic() + _WAIT
        while not lock.acquire(blocking=False):  # held by a thread or a task
            if time.monotonic() > until:
                raise _hook_timeout(payment_request_id)
            await asyncio.sleep(_PAUSE)
        try:
            transition = self._advance(payment_request_id, observation)
            if transition.calls_hooks:
                await inside(transition, None)
            return self._commit(transition)
        finally:
            lock.release()

    def try_record(
        self, payment_request_id: str, observation: Observation | RefundObservation, /
    ) -> Transition | None:
        """Do the same as `record` if that needs no wait and no hook; otherwise return None."""
        lock = self._lock_of(payment_request_id)
        if not lock.acquire(blocking=False):
            return None
        try:
            transition = self._advance(payment_request_id, observation)
            needs_hook = transition.calls_hooks
            return None if needs_hook else self._commit(transition)
        finally:
            lock.release()

    def due(self, now: datetime, limit: int, client_ids: Collection[str], /) -> list[Attempt]:
        """Return up to `limit` open attempts that may be called about now, oldest first."""
        with self._mutex:
            return _due(self._attempts.values(), now, limit, client_ids)

    def history(self, payment_request_id: str, /) -> list[Observation | RefundObservation]:
        """Return every observation of the attempt, in order."""
        return list(self._history.get(payment_request_id, ()))

    def add_refund(self, refund: Refund, /) -> Refund:
        """Store a new refund of a paid attempt; return the stored one if its id is known."""
        with self._mutex:  # held for every change of refunds, never during a hook
            attempt = self._attempts.get(refund.payment_request_id)
            if attempt is None:
                raise _unknown(refund.payment_request_id)
            # To wait for it could stop the event loop on which its hook runs.
            if attempt.disputed is not None and self._locks[refund.payment_request_id].locked():
                raise StoreError(
                    f"refund of {refund.payment_request_id}: found a message about the payment "
                    "that is being recorded at this moment; nothing was sent, try again"
                )
            related = [
                stored
                for stored in self._refunds.values()
                if stored.payment_request_id == refund.payment_request_id
                or stored.refund_request_id == refund.refund_request_id
            ]
            stored = admit_refund(attempt, related, refund)
            if stored is None:
                self._refunds[refund.refund_request_id] = stored = refund
            return stored

    def refunds(self, payment_request_id: str, /) -> list[Refund]:
        """Return every refund of the attempt in the order in which they were added."""
        with self._mutex:
            refunds = self._refunds.values()
            return [item for item in refunds if item.payment_request_id == payment_request_id]

    def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open refund whose `claim` still is `token`."""
        with self._mutex:
            return _claim(self._refunds, refund_request_id, token, until)

    def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim of a refund if `claim` still is `token`."""
        with self._mutex:
            return _release(self._refunds, refund_request_id, token, at)

    def due_refunds(
        self, now: datetime, limit: int, client_ids: Collection[str], /
    ) -> list[Refund]:
        """Return up to `limit` open refunds that may be called about now, longest waiting first."""
        with self._mutex:
            return _due(self._refunds.values(), now, limit, client_ids)

    def conflict_reported(self, conflict: Conflict, /) -> None:
        """Mark a conflict as reported to the shop."""
        with self._mutex:
            self._reported.add(conflict.key)

    def unreported_conflicts(self, limit: int, client_ids: Collection[str], /) -> list[Conflict]:
        """Return up to `limit` conflicts not yet reported to the shop, oldest first."""
        with self._mutex:
            unreported = (
                conflict
                for key, conflict in self._conflicts.items()
                if key not in self._reported and conflict.attempt.client_id in client_ids
            )
            return list(islice(unreported, limit))

    def find_page(self, wanted: PaymentFilter, limit: int, /) -> Page:
        """Return up to `limit` attempts that meet a filter, and the key of the next page."""
        with self._mutex:
            attempts: Iterable[Attempt] = self._attempts.values()
            if wanted.needs_attention:
                open_keys = self._conflicts.keys() - self._resolved
                ids = {self._conflicts[key].attempt.payment_request_id for key in open_keys}
                attempts = [self._attempts[request_id] for request_id in ids]
            return page_of(attempts, wanted, limit)

    def conflicts(
        self, payment_request_id: str | None, limit: int, after: str | None, /
    ) -> list[ConflictRecord]:
        """Return up to `limit` unresolved conflicts, or all of one payment, oldest first."""
        with self._mutex:
            keys = list(self._conflicts)
            if after is not None:
                keys = keys[keys.index(after) + 1 :] if after in keys else []
            records = (self._conflict_record(key) for key in keys)
            if payment_request_id is None:
                wanted = (record for record in records if not record.is_resolved)
            else:
                wanted = (
                    record
                    for record in records
                    if record.conflict.attempt.payment_request_id == payment_request_id
                )
            return list(islice(wanted, limit))

    def resolve_conflict(
        self, key: str, at: datetime, by: str, note: str, /
    ) -> ConflictRecord | None:
        """Mark a conflict as resolved and return it; None if there is none with this key."""
        with self._mutex:
            if key not in self._conflicts:
                return None
            self._resolved.setdefault(key, (at, by, note))
            return self._conflict_record(key)

    def recent(self, source: Source, limit: int, /) -> list[Observation | RefundObservation]:
        """Return the last `limit` observations of one source, newest first."""
        with self._mutex:
            everything = chain.from_iterable(self._history.values())
            wanted = [item for item in everything if item.source is source]
        wanted.reverse()  # of those of one moment, the last recorded comes first
        return sorted(wanted, key=lambda item: item.at, reverse=True)[:limit]

    def note(self, name: str, at: datetime, /) -> None:
        """Keep the moment under a name unless a later one is kept."""
        with self._mutex:
            self._noted[name] = max(at, self._noted.get(name, at))

    def noted(self, name: str, /) -> datetime | None:
        """Return the moment under a name, None if there is none."""
        return self._noted.get(name)

    def _lock_of(self, payment_request_id: str) -> threading.Lock:
        with self._mutex:
            if payment_request_id not in self._attempts:
                raise _unknown(payment_request_id)  # an unknown id must not leave a lock behind
            return self._locks[payment_request_id]

    def _advance(
        self, payment_request_id: str, observation: Observation | RefundObservation
    ) -> Transition:
        attempt = self._attempts.get(payment_request_id)
        if attempt is None:  # deleted while this waited for the lock
            raise _unknown(payment_request_id)
        needed = needs_refunds(attempt, observation)
        return advance(attempt, observation, self.refunds(payment_request_id) if needed else ())

    def _commit(self, transition: Transition) -> Transition:
        request_id = transition.after.payment_request_id
        with self._mutex:
            after = _with_claim_of(self._attempts[request_id], transition)
            if after is not transition.after:
                transition = evolve(transition, after=after)
            self._attempts[request_id] = after
            if after.occupies_order != transition.before.occupies_order:
                self._settle_occupant(after.order_ref)
            history, observation = self._history[request_id], transition.observation
            if transition.repeats:
                last = cast("Observation", history[-1])  # an inquiry, as this one is
                first_at = last.first_at or last.at
                inquiry = cast("Observation", observation)
                history[-1] = evolve(inquiry, count=last.count + 1, first_at=first_at)
            else:
                history.append(observation)
            if isinstance(transition, RefundTransition) and transition.refund_became_final:
                self._refunds[transition.refund.refund_request_id] = transition.refund
            if transition.conflict is not None:
                self._conflicts.setdefault(transition.conflict.key, transition.conflict)
                if transition.conflict.key in self._reported:
                    return evolve(transition, conflict=None)
        return transition


def _claim(items: dict[str, T], key: str, token: int, until: datetime) -> bool:
    item = items.get(key)
    if item is None or item.state.is_final or item.claim != token:
        return False
    items[key] = evolve(item, claim=token + 1, claimed_until=until, next_call_at=until)
    return True


def _release(items: dict[str, T], key: str, token: int, at: datetime) -> bool:
    item = items.get(key)
    if item is None or item.state.is_final or item.claim != token:
        return False
    items[key] = evolve(item, claimed_until=None, next_call_at=at)
    return True


def _with_claim_of(stored: Attempt, transition: Transition) -> Attempt:
    """Return the attempt after a transition, with the claim that was taken meanwhile."""
    before, after = transition.before, transition.after
    unchanged = (stored.claim, stored.claimed_until) == (before.claim, before.claimed_until)
    if unchanged or after.state.is_final:
        return after
    return evolve(
        after,
        claim=stored.claim,
        claimed_until=stored.claimed_until,
        next_call_at=stored.next_call_at,
    )


def _due(items: Iterable[T], now: datetime, limit: int, client_ids: Collection[str]) -> list[T]:
    waiting = [
        (item.next_call_at, item)
        for item in items
        if item.next_call_at is not None and has_come(item, now) and item.client_id in client_ids
    ]
    waiting.sort(key=lambda pair: pair[0])
    return [item for _, item in waiting[:limit]]


def _is_since(attempt: Attempt, moment: datetime | None) -> bool:
    return moment is None or attempt.created_at >= moment


def _check_same_request(stored: Attempt, attempt: Attempt) -> Attempt:
    if stored.request_body != attempt.request_body:
        raise InconsistentRetry(
            f"payment {attempt.payment_request_id}: already used with other content, expected a "
            "new paymentRequestId for a new request; nothing was sent"
        )
    return stored


def _unknown(payment_request_id: str) -> UnknownPayment:
    return UnknownPayment(
        f"payment {payment_request_id[:64]!r}: found no such attempt in the store; "
        "do several shops share one client id or one notify URL?"
    )


def _hook_timeout(payment_request_id: str) -> StoreError:
    return StoreError(
        f"payment {payment_request_id}: its hook is still running after {_WAIT:g} s, and nothing "
        "else can be recorded meanwhile; let the hook only store a task that a job does later"
    )
