"""What a payment store must do: the contract behind `MemoryStore` and `SQLStore`.

| method              | promise                                                                   |
|---------------------|---------------------------------------------------------------------------|
| `add`               | durable before it returns; at most one attempt occupies an order, and at  |
|                     | most `most` attempts of an order were made since a moment                 |
| `get`, `latest`     | what was committed last                                                   |
| `claim`             | of several callers with the same token exactly one gets True              |
| `release`           | ends a claim, if it still is the caller's                                 |
| `record`            | one transaction: lock, advance, store, `inside`, commit; all or nothing   |
| `due`               | open attempts whose next call has come, the longest waiting first         |
| `history`           | every observation that was recorded, in that order                        |
| `add_refund`        | under the payment's lock: `refund_states.admit_refund`, durable           |
| `refunds`           | every refund of a payment, in the order in which they were added          |
| `claim_refund`, `release_refund` | as `claim` and `release`, for a refund                       |
| `due_refunds`       | as `due`, for refunds                                                     |
| `conflict_reported` | durable; the conflict is not handed out again                             |
| `unreported_conflicts` | conflicts that were not reported to the shop yet, the oldest first     |
| `find_page`         | payments that meet a filter, by creation; the cost does not grow with all |
| `conflicts`         | conflicts that nobody resolved, or all of one payment, the oldest first   |
| `resolve_conflict`  | of several calls the first one counts; nothing else changes               |
| `recent`            | the observations of one source that were recorded last, the newest first  |
| `note`, `noted`     | the latest moment that was noted under a name                             |
| `old_payments`      | final payments of one stage, the longest unchanged first                  |
| `delete_payments`   | whole payments or nothing of them; never one that the rule keeps          |
| `forget_buyers`     | the buyer's data leaves the request, and nothing else changes             |

`aplus_adapters.testing.store_contract` tests all of this against any store. `PaymentStore` blocks,
`AsyncPaymentStore` awaits. The caller turns every error that is not ours into a StoreError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        RefundObservation,
        Source,
        Stage,
        Transition,
    )
    from aplus_adapters.payments.retention import OldPayments, Retention
    from aplus_adapters.payments.search import ConflictRecord, Page, PaymentFilter

if TYPE_CHECKING:  # defaults of type variables are in `typing` since Python 3.13
    from typing_extensions import TypeVar

    C_co = TypeVar("C_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    C_co = TypeVar("C_co", covariant=True)

__all__ = [
    "STORE_METHODS",
    "STORE_READS",
    "AsyncPaymentStore",
    "PaymentStore",
]

STORE_METHODS = (
    "add",
    "get",
    "latest",
    "claim",
    "release",
    "record",
    "due",
    "history",
    "add_refund",
    "refunds",
    "claim_refund",
    "release_refund",
    "due_refunds",
    "conflict_reported",
    "unreported_conflicts",
    "find_page",
    "conflicts",
    "resolve_conflict",
    "recent",
    "note",
    "noted",
    "old_payments",
    "delete_payments",
    "forget_buyers",
)
# A hook may call these inside its own transaction, where a write would wait for itself.
STORE_READS = frozenset(
    (
        "get",
        "latest",
        "due",
        "history",
        "refunds",
        "due_refunds",
        "unreported_conflicts",
        "find_page",
        "conflicts",
        "recent",
        "noted",
        "old_payments",
    )
)
"""Those of STORE_METHODS that change nothing."""


class PaymentStore(Protocol[C_co]):
    """Where attempts live. Share one between all workers that take payments for the same orders.

    `C_co` is the type of the connection that `record` passes to hooks.
    """

    def add(
        self, attempt: Attempt, most: int | None = None, since: datetime | None = None, /
    ) -> Attempt:
        """Store a new attempt unless another occupies its order; return the one that occupies it.

        An attempt occupies its order while `Attempt.occupies_order`: open, or with money that is
        not refunded. Raises TooManyAttempts (`states.too_many`) if nothing occupies the order but
        `most` attempts of it were made (`created_at`) at `since` or later; None is no limit.
        """
        ...

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Return the attempt, None if there is none."""
        ...

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Return the attempt that occupies an order, otherwise its newest, None if it has none."""
        ...

    def claim(self, payment_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open attempt whose `claim` still is `token`; return whether it was.

        `claim` becomes `token` + 1, `claimed_until` and `next_call_at` become `until`.
        """
        ...

    def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim if `claim` still is `token`; return whether it was.

        `claimed_until` becomes None, `next_call_at` becomes `at`.
        """
        ...

    def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C_co], None],
        /,
    ) -> Transition:
        """Apply `payments.states.advance` to the locked attempt and keep the observation.

        `advance` gets the payment's refunds where `states.needs_refunds` says so; the refund of a
        RefundTransition is kept as well. `inside(transition, connection)` is called within it if
        `Transition.calls_hooks`. If it raises, nothing is stored. A conflict is stored once per
        `key`. The returned transition carries it only until it is reported. An observation with
        `Transition.repeats` replaces the payment's last one, with a higher `count` and the time of
        the first as `first_at`. Raises UnknownPayment.
        """
        ...

    def due(self, now: datetime, limit: int, client_ids: Sequence[str], /) -> Sequence[Attempt]:
        """Return up to `limit` open attempts of these accounts that may be called about now.

        `payments.policy.has_come` is the rule. A call that is planned too far ahead is due as well,
        since a wrong clock planned it.
        """
        ...

    def history(self, payment_request_id: str, /) -> Sequence[Observation | RefundObservation]:
        """Return every observation of the attempt in the order in which they were recorded."""
        ...

    def add_refund(self, refund: Refund, /) -> Refund:
        """Store a new refund of a paid attempt; return the stored one if its id is known.

        Raises UnknownPayment, and what `payments.refund_states.admit_refund` raises under the lock.
        """
        ...

    def refunds(self, payment_request_id: str, /) -> Sequence[Refund]:
        """Return every refund of the attempt in the order in which they were added."""
        ...

    def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open refund as `claim` does that of an attempt."""
        ...

    def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim of a refund as `release` does that of an attempt."""
        ...

    def due_refunds(
        self, now: datetime, limit: int, client_ids: Sequence[str], /
    ) -> Sequence[Refund]:
        """Return up to `limit` open refunds of these accounts that may be called about now."""
        ...

    def conflict_reported(self, conflict: Conflict, /) -> None:
        """Mark a conflict as reported to the shop."""
        ...

    def unreported_conflicts(self, limit: int, client_ids: Sequence[str], /) -> Sequence[Conflict]:
        """Return up to `limit` unreported conflicts of these accounts, oldest first."""
        ...

    def find_page(self, wanted: PaymentFilter, limit: int, /) -> Page:
        """Return up to `limit` attempts that meet a filter, newest first, and the next page's key.

        Attempts that were created at the same moment come in the order of their ids. An attempt
        needs attention while one of its conflicts is not resolved.
        """
        ...

    def conflicts(
        self, payment_request_id: str | None, limit: int, after: str | None, /
    ) -> Sequence[ConflictRecord]:
        """Return up to `limit` conflicts that nobody has resolved, oldest first.

        With an id: all conflicts of that payment, resolved ones as well. `after` is the key of the
        conflict after which to begin; a key that is not stored is followed by nothing.
        """
        ...

    def resolve_conflict(
        self, key: str, at: datetime, by: str, note: str, /
    ) -> ConflictRecord | None:
        """Mark a conflict as resolved and return it; None if there is none with this key.

        A conflict that is resolved already is returned unchanged, however often it is seen again.
        """
        ...

    def recent(self, source: Source, limit: int, /) -> Sequence[Observation | RefundObservation]:
        """Return the last `limit` observations of one source, of all payments, newest first."""
        ...

    def note(self, name: str, at: datetime, /) -> None:
        """Keep the moment under a name (1 to 32 characters) unless a later one is kept."""
        ...

    def noted(self, name: str, /) -> datetime | None:
        """Return the moment under a name, None if there is none."""
        ...

    def old_payments(
        self, stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None, /
    ) -> OldPayments:
        """Return up to `limit` payments of a stage whose `changed_at` is before a moment.

        They come in the order of `changed_at` and id, each with its refunds and conflicts. `after`
        is the `after` of the answer before. The cost does not grow with all payments.
        """
        ...

    def delete_payments(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Delete those of these payments that `rule.may_delete`; return how many were deleted.

        One transaction. Each is asked about under its lock, and goes with its observations, refunds
        and conflicts. One that is unknown, or locked by somebody else, is left as it is.
        """
        ...

    def forget_buyers(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Let `payments.retention.without_buyer` change those that `rule.may_forget`, likewise."""
        ...


class AsyncPaymentStore(Protocol[C_co]):
    """The promises of `PaymentStore`, awaited."""

    async def add(
        self, attempt: Attempt, most: int | None = None, since: datetime | None = None, /
    ) -> Attempt:
        """Do what `PaymentStore.add` does."""
        ...

    async def get(self, payment_request_id: str, /) -> Attempt | None:
        """Do what `PaymentStore.get` does."""
        ...

    async def latest(self, order_ref: str, /) -> Attempt | None:
        """Do what `PaymentStore.latest` does."""
        ...

    async def claim(self, payment_request_id: str, token: int, until: datetime, /) -> bool:
        """Do what `PaymentStore.claim` does."""
        ...

    async def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Do what `PaymentStore.release` does."""
        ...

    async def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C_co], Awaitable[None]],
        /,
    ) -> Transition:
        """Do what `PaymentStore.record` does."""
        ...

    async def due(
        self, now: datetime, limit: int, client_ids: Sequence[str], /
    ) -> Sequence[Attempt]:
        """Do what `PaymentStore.due` does."""
        ...

    async def history(
        self, payment_request_id: str, /
    ) -> Sequence[Observation | RefundObservation]:
        """Do what `PaymentStore.history` does."""
        ...

    async def add_refund(self, refund: Refund, /) -> Refund:
        """Do what `PaymentStore.add_refund` does."""
        ...

    async def refunds(self, payment_request_id: str, /) -> Sequence[Refund]:
        """Do what `PaymentStore.refunds` does."""
        ...

    async def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Do what `PaymentStore.claim_refund` does."""
        ...

    async def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Do what `PaymentStore.release_refund` does."""
        ...

    async def due_refunds(
        self, now: datetime, limit: int, client_ids: Sequence[str], /
    ) -> Sequence[Refund]:
        """Do what `PaymentStore.due_refunds` does."""
        ...

    async def conflict_reported(self, conflict: Conflict, /) -> None:
        """Do what `PaymentStore.conflict_reported` does."""
        ...

    async def unreported_conflicts(
        self, limit: int, client_ids: Sequence[str], /
    ) -> Sequence[Conflict]:
        """Do what `PaymentStore.unreported_conflicts` does."""
        ...

    async def find_page(self, wanted: PaymentFilter, limit: int, /) -> Page:
        """Do what `PaymentStore.find_page` does."""
        ...

    async def conflicts(
        self, payment_request_id: str | None, limit: int, after: str | None, /
    ) -> Sequence[ConflictRecord]:
        """Do what `PaymentStore.conflicts` does."""
        ...

    async def resolve_conflict(
        self, key: str, at: datetime, by: str, note: str, /
    ) -> ConflictRecord | None:
        """Do what `PaymentStore.resolve_conflict` does."""
        ...

    async def recent(
        self, source: Source, limit: int, /
    ) -> Sequence[Observation | RefundObservation]:
        """Do what `PaymentStore.recent` does."""
        ...

    async def note(self, name: str, at: datetime, /) -> None:
        """Do what `PaymentStore.note` does."""
        ...

    async def noted(self, name: str, /) -> datetime | None:
        """Do what `PaymentStore.noted` does."""
        ...

    async def old_payments(
        self, stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None, /
    ) -> OldPayments:
        """Do what `PaymentStore.old_payments` does."""
        ...

    async def delete_payments(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Do what `PaymentStore.delete_payments` does."""
        ...

    async def forget_buyers(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Do what `PaymentStore.forget_buyers` does."""
        ...
