"""What a payment store must do: the contract behind `MemoryStore` and `SQLStore`.

| method              | promise                                                                   |
|---------------------|---------------------------------------------------------------------------|
| `add`               | durable before it returns; one attempt per order among those that occupy  |
| `get`, `latest`     | what was committed last                                                   |
| `schedule`          | of several callers with the same `expected` exactly one gets True         |
| `record`            | one transaction: lock, advance, store, `inside`, commit; all or nothing   |
| `due`               | open attempts whose `next_call_at` has come, the longest waiting first    |
| `history`           | every observation that was recorded, in that order                        |
| `add_refund`        | under the payment's lock: `states.admit_refund`, then durable             |
| `refunds`           | every refund of a payment, in the order in which they were added          |
| `schedule_refund`   | as `schedule`, for a refund                                               |
| `due_refunds`       | as `due`, for refunds                                                     |
| `conflict_reported` | durable; the conflict is not handed out again                             |
| `unreported_conflicts` | conflicts that the shop was not told of yet, the oldest first          |

`aplus_adapters.testing.store_contract` tests all of this against any store. Methods may be async.
Every error that is not ours is turned into a StoreError by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aplus_adapters.payments.attempt import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        Transition,
    )

__all__ = ["STORE_METHODS", "PaymentStore"]

STORE_METHODS = (
    "add",
    "get",
    "latest",
    "schedule",
    "record",
    "due",
    "history",
    "add_refund",
    "refunds",
    "schedule_refund",
    "due_refunds",
    "conflict_reported",
    "unreported_conflicts",
)


class PaymentStore(Protocol):
    """Where attempts live. Share one between all workers that take payments for the same orders."""

    def add(self, attempt: Attempt, /) -> Attempt:
        """Store a new attempt unless one occupies its order; give the one that does now.

        An attempt occupies its order while `state.occupies_order`: open or paid.
        """
        ...

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Give the attempt, None if there is none."""
        ...

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Give the newest attempt of an order, None if there is none."""
        ...

    def schedule(self, payment_request_id: str, expected: datetime | None, at: datetime, /) -> bool:
        """Set `next_call_at` to `at` if it still is `expected`; tell whether it was."""
        ...

    def record(
        self,
        payment_request_id: str,
        observation: Observation,
        inside: Callable[[Transition, Any], None],
        /,
    ) -> Transition:
        """Apply `payments.states.advance` to the locked attempt and keep the observation.

        If the observation names a refund, that is what is advanced. `inside(transition,
        connection)` is called within the transaction when the transition settles the attempt or
        the refund; if it raises, nothing of all this is stored. A conflict is stored once
        per `key`; the transition that is returned carries it only while it is not reported.
        Raises UnknownPayment.
        """
        ...

    def due(self, now: datetime, limit: int, /) -> Sequence[Attempt]:
        """Give up to `limit` open attempts that may be called about now."""
        ...

    def history(self, payment_request_id: str, /) -> Sequence[Observation]:
        """Give every observation of the attempt in the order in which they were recorded."""
        ...

    def add_refund(self, refund: Refund, /) -> Refund:
        """Store a new refund of a paid attempt; give the stored one if its id is known.

        Raises UnknownPayment, and what `payments.states.admit_refund` raises under the lock.
        """
        ...

    def refunds(self, payment_request_id: str, /) -> Sequence[Refund]:
        """Give every refund of the attempt in the order in which they were added."""
        ...

    def schedule_refund(
        self, refund_request_id: str, expected: datetime | None, at: datetime, /
    ) -> bool:
        """Set a refund's `next_call_at` to `at` if it still is `expected`; tell whether it was."""
        ...

    def due_refunds(self, now: datetime, limit: int, /) -> Sequence[Refund]:
        """Give up to `limit` open refunds that may be called about now."""
        ...

    def conflict_reported(self, conflict: Conflict, /) -> None:
        """Mark a conflict as told to the shop."""
        ...

    def unreported_conflicts(self, limit: int, /) -> Sequence[Conflict]:
        """Give up to `limit` conflicts that the shop was not told of yet, oldest first."""
        ...
