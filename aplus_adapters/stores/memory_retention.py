"""Delete old payments and forget buyers in a store that is in memory."""

from __future__ import annotations

from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.payments.retention import OldPayment, OldPayments, without_buyer
from aplus_adapters.payments.search import ConflictRecord

if TYPE_CHECKING:
    import threading
    from collections import defaultdict
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        RefundObservation,
        Stage,
    )
    from aplus_adapters.payments.retention import Retention

__all__ = ["MemoryRetention", "newest"]


def newest(attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt that was made last, None if there is none."""
    return max(attempts, key=attrgetter("created_at", "payment_request_id"), default=None)


class MemoryRetention:
    """The methods of MemoryStore that remove what is old."""

    _mutex: threading.Lock
    _locks: defaultdict[str, threading.Lock]
    _attempts: dict[str, Attempt]
    _by_order: defaultdict[str, list[str]]
    _occupants: dict[str, str]
    _history: defaultdict[str, list[Observation | RefundObservation]]
    _conflicts: dict[str, Conflict]
    _reported: set[str]
    _resolved: dict[str, tuple[datetime, str, str]]
    _refunds: dict[str, Refund]

    def old_payments(
        self, stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None, /
    ) -> OldPayments:
        """Return up to `limit` payments of a stage that changed last before a moment."""
        with self._mutex:
            keyed = sorted(
                (attempt.changed_at, attempt.payment_request_id)
                for attempt in self._attempts.values()
                if attempt.stage is stage and attempt.changed_at < before
            )
            keys = [key for key in keyed if after is None or key > after][:limit]
            payments = tuple(self._old_payment(request_id) for _, request_id in keys)
        return OldPayments(payments=payments, after=keys[-1] if len(keys) == limit else None)

    def delete_payments(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Delete those of these payments that the rule lets go, each with all its parts."""
        deleted = 0
        for request_id in payment_request_ids:
            with self._free(request_id) as old:
                if old is not None and rule.may_delete(old):
                    self._delete(old)
                    deleted += 1
        return deleted

    def forget_buyers(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Replace the requests of those payments whose buyers the rule lets us forget."""
        forgotten = 0
        for request_id in payment_request_ids:
            with self._free(request_id) as old:
                if old is not None and rule.may_forget(old):
                    self._attempts[request_id] = attempt = without_buyer(old.attempt)
                    for record in old.conflicts:  # each keeps the attempt as it was
                        changed = evolve(self._conflicts[record.key], attempt=attempt)
                        self._conflicts[record.key] = changed
                    forgotten += 1
        return forgotten

    @contextmanager
    def _free(self, request_id: str) -> Iterator[OldPayment | None]:
        """Yield a payment under its lock and the mutex; None if it is unknown or being recorded."""
        with self._mutex:
            lock = self._locks[request_id] if request_id in self._attempts else None
            if lock is None or not lock.acquire(blocking=False):
                yield None
                return
            try:
                yield self._old_payment(request_id)
            finally:
                lock.release()

    def _old_payment(self, request_id: str) -> OldPayment:
        refunds = self._refunds.values()
        conflicts = self._conflicts.items()
        return OldPayment(
            attempt=self._attempts[request_id],
            refunds=tuple(item for item in refunds if item.payment_request_id == request_id),
            conflicts=tuple(
                self._conflict_record(key)
                for key, conflict in conflicts
                if conflict.attempt.payment_request_id == request_id
            ),
        )

    def _delete(self, old: OldPayment) -> None:
        attempt = old.attempt
        request_id = attempt.payment_request_id
        for refund in old.refunds:
            del self._refunds[refund.refund_request_id]
        for record in old.conflicts:
            del self._conflicts[record.key]
            self._resolved.pop(record.key, None)
            self._reported.discard(record.key)
        self._history.pop(request_id, None)
        self._locks.pop(request_id, None)
        request_ids = self._by_order[attempt.order_ref]
        request_ids.remove(request_id)
        if not request_ids:
            del self._by_order[attempt.order_ref]
        del self._attempts[request_id]
        self._settle_occupant(attempt.order_ref)

    def _settle_occupant(self, order_ref: str) -> None:
        """Let an order's occupant keep it while it may, otherwise the newest attempt that may."""
        attempts = [self._attempts[key] for key in self._by_order.get(order_ref, ())]
        occupying = [attempt for attempt in attempts if attempt.occupies_order]
        present = self._occupants.get(order_ref)
        keeps = [one for one in occupying if one.payment_request_id == present]
        occupant = newest(keeps or occupying)
        if occupant is not None:
            self._occupants[order_ref] = occupant.payment_request_id
        elif present is not None:
            del self._occupants[order_ref]

    def _conflict_record(self, key: str) -> ConflictRecord:
        conflict = self._conflicts[key]
        at, by, note = self._resolved.get(key, (None, None, None))
        present = self._attempts[conflict.attempt.payment_request_id]
        return ConflictRecord(
            conflict=evolve(conflict, attempt=present),
            is_reported=key in self._reported,
            resolved_at=at,
            resolved_by=by,
            note=note,
        )
