"""The effects of flows. A flow is a generator that yields effects and is sent their results.

An effect's error is raised inside the flow, at its `yield`. Flows use the functions below: each
yields one effect and returns its typed result.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from aplus_adapters.payments.order_checks import check_id

if TYPE_CHECKING:
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
    from aplus_adapters.protocol.signed_messages import Answer, SignedRequest

__all__ = [
    "CallHook",
    "CallStore",
    "Draw",
    "Effect",
    "Flow",
    "NewRequestId",
    "Now",
    "Record",
    "Send",
    "Sleep",
    "add",
    "add_refund",
    "call_hook",
    "claim",
    "claim_refund",
    "conflict_reported",
    "conflicts",
    "delete_payments",
    "draw",
    "due",
    "due_refunds",
    "find_page",
    "forget_buyers",
    "get",
    "history",
    "latest",
    "new_request_id",
    "note",
    "noted",
    "now",
    "old_payments",
    "recent",
    "record",
    "refunds",
    "release",
    "release_refund",
    "reread",
    "resolve_conflict",
    "send",
    "sleep",
    "unreported_conflicts",
]


# Time, chance and ids are effects as well: a test decides them, and flows do no I/O.
@frozen
class Now:
    """The time, as an aware datetime."""


@frozen
class Draw:
    """A random float in [0, 1)."""


@frozen
class NewRequestId:
    """A new paymentRequestId that cannot be guessed."""


@frozen
class Sleep:
    """A pause."""

    seconds: float


@frozen
class Send:
    """A signed request to Alipay+: an Answer, or NotSent or OutcomeUnknown is raised."""

    request: SignedRequest
    timeout: float


@frozen
class CallStore:
    """A method of the payment store; `record` has its own effect."""

    method: str
    arguments: tuple[Any, ...]


@frozen
class Record:
    """An observation, stored in one transaction with the shop's `payment_changed`."""

    payment_request_id: str
    observation: Observation | RefundObservation


@frozen
class CallHook:
    """A hook of the shop; HookError if it raises."""

    name: str
    details: Any


Effect = Now | Draw | NewRequestId | Sleep | Send | CallStore | Record | CallHook

T = TypeVar("T")
Flow = Generator[Effect, Any, T]
"""A generator that yields effects and returns a T."""


def now() -> Flow[datetime]:
    """Ask for the time."""
    moment: datetime = yield Now()
    return moment


def draw() -> Flow[float]:
    """Ask for a random float in [0, 1)."""
    drawn: float = yield Draw()
    return drawn


def new_request_id() -> Flow[str]:
    """Ask for a new paymentRequestId."""
    request_id: str = yield NewRequestId()
    return request_id


def sleep(seconds: float) -> Flow[None]:
    """Ask for a pause."""
    yield Sleep(seconds)


def send(request: SignedRequest, timeout: float) -> Flow[Answer]:
    """Ask for a request to be sent; `timeout` is seconds for the whole call."""
    # Sent once. Repeats belong to the flow, which signs each of them anew.
    answer: Answer = yield Send(request, timeout)
    return answer


def add(attempt: Attempt, most: int, since: datetime) -> Flow[Attempt]:
    """Ask the store to add an attempt; return the one that occupies the order now."""
    # The limit goes along with the insert: after a count, another worker may come between.
    stored: Attempt = yield CallStore("add", (attempt, most, since))
    return stored


def get(payment_request_id: str) -> Flow[Attempt | None]:
    """Ask the store for an attempt; raise InvalidValue for an id that cannot be one."""
    check_id("payment_request_id", payment_request_id)
    attempt: Attempt | None = yield CallStore("get", (payment_request_id,))
    return attempt


def latest(order_ref: str) -> Flow[Attempt | None]:
    """Ask the store for the newest attempt of an order; raise InvalidValue likewise."""
    check_id("order_ref", order_ref)
    attempt: Attempt | None = yield CallStore("latest", (order_ref,))
    return attempt


def reread(attempt: Attempt) -> Flow[Attempt]:
    """Ask the store for an attempt as it is now."""
    return (yield from get(attempt.payment_request_id)) or attempt


def history(payment_request_id: str) -> Flow[Sequence[Observation | RefundObservation]]:
    """Ask the store for every observation of an attempt, in order."""
    observations: Sequence[Observation | RefundObservation] = yield CallStore(
        "history", (payment_request_id,)
    )
    return observations


def due(now: datetime, limit: int, client_ids: Sequence[str]) -> Flow[Sequence[Attempt]]:
    """Ask the store for open attempts that may be called about now."""
    # Only of accounts whose keys this process has: it can sign nothing for others.
    attempts: Sequence[Attempt] = yield CallStore("due", (now, limit, client_ids))
    return attempts


def due_refunds(now: datetime, limit: int, client_ids: Sequence[str]) -> Flow[Sequence[Refund]]:
    """Ask the store for open refunds that may be called about now."""
    refunds: Sequence[Refund] = yield CallStore("due_refunds", (now, limit, client_ids))
    return refunds


def unreported_conflicts(limit: int, client_ids: Sequence[str]) -> Flow[Sequence[Conflict]]:
    """Ask the store for conflicts that were not reported to the shop yet."""
    conflicts: Sequence[Conflict] = yield CallStore("unreported_conflicts", (limit, client_ids))
    return conflicts


def conflict_reported(conflict: Conflict) -> Flow[None]:
    """Ask the store to mark a conflict as reported to the shop."""
    yield CallStore("conflict_reported", (conflict,))


def find_page(wanted: PaymentFilter, limit: int) -> Flow[Page]:
    """Ask the store for a page of payments that meet a filter."""
    page: Page = yield CallStore("find_page", (wanted, limit))
    return page


def conflicts(
    payment_request_id: str | None, limit: int, after: str | None = None
) -> Flow[Sequence[ConflictRecord]]:
    """Ask the store for conflicts that nobody has resolved, or for all of one payment."""
    if payment_request_id is not None:
        check_id("payment_request_id", payment_request_id)
    if after is not None:
        check_id("conflicts after", after)
    records: Sequence[ConflictRecord] = yield CallStore(
        "conflicts", (payment_request_id, limit, after)
    )
    return records


def resolve_conflict(key: str, at: datetime, by: str, note: str) -> Flow[ConflictRecord | None]:
    """Ask the store to mark a conflict as resolved; return it, None if it is not stored."""
    check_id("key", key)
    record: ConflictRecord | None = yield CallStore("resolve_conflict", (key, at, by, note))
    return record


def recent(source: Source, limit: int) -> Flow[Sequence[Observation | RefundObservation]]:
    """Ask the store for the last observations of one source, newest first."""
    observations: Sequence[Observation | RefundObservation] = yield CallStore(
        "recent", (source, limit)
    )
    return observations


def note(name: str, at: datetime) -> Flow[None]:
    """Ask the store to keep a moment under a name."""
    yield CallStore("note", (name, at))


def noted(name: str) -> Flow[datetime | None]:
    """Ask the store for the moment under a name."""
    moment: datetime | None = yield CallStore("noted", (name,))
    return moment


def old_payments(
    stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None
) -> Flow[OldPayments]:
    """Ask the store for final payments of a stage that changed last before a moment."""
    found: OldPayments = yield CallStore("old_payments", (stage, before, limit, after))
    return found


def delete_payments(payment_request_ids: Sequence[str], rule: Retention) -> Flow[int]:
    """Ask the store to delete payments; return how many the rule let go."""
    # The rule goes along: a payment may have changed since it was read.
    deleted: int = yield CallStore("delete_payments", (payment_request_ids, rule))
    return deleted


def forget_buyers(payment_request_ids: Sequence[str], rule: Retention) -> Flow[int]:
    """Ask the store to forget the buyers of payments; return how many it forgot."""
    forgotten: int = yield CallStore("forget_buyers", (payment_request_ids, rule))
    return forgotten


def refunds(payment_request_id: str) -> Flow[Sequence[Refund]]:
    """Ask the store for every refund of a payment, in order."""
    stored: Sequence[Refund] = yield CallStore("refunds", (payment_request_id,))
    return stored


def claim_refund(refund_request_id: str, token: int, until: datetime) -> Flow[bool]:
    """Ask the store for the claim of a refund whose last token was `token`."""
    is_mine: bool = yield CallStore("claim_refund", (refund_request_id, token, until))
    return is_mine


def release_refund(refund_request_id: str, token: int, at: datetime) -> Flow[bool]:
    """Ask the store to release the claim of a refund; the next call is due at `at`."""
    was_mine: bool = yield CallStore("release_refund", (refund_request_id, token, at))
    return was_mine


def add_refund(refund: Refund) -> Flow[Refund]:
    """Ask the store to add a refund; return the stored one if its id is known."""
    stored: Refund = yield CallStore("add_refund", (refund,))
    return stored


def claim(payment_request_id: str, token: int, until: datetime) -> Flow[bool]:
    """Ask the store for the claim of an attempt whose last token was `token`."""
    # Of several workers that have read this token, the store gives the claim to one.
    is_mine: bool = yield CallStore("claim", (payment_request_id, token, until))
    return is_mine


def release(payment_request_id: str, token: int, at: datetime) -> Flow[bool]:
    """Ask the store to release a claim; the next call is due at `at`."""
    was_mine: bool = yield CallStore("release", (payment_request_id, token, at))
    return was_mine


def record(
    payment_request_id: str, observation: Observation | RefundObservation
) -> Flow[Transition]:
    """Ask the store to record an observation in one transaction with the shop's hook."""
    # No CallStore: the shop's hook has to run inside the store's transaction.
    transition: Transition = yield Record(payment_request_id, observation)
    return transition


def call_hook(name: str, details: Any) -> Flow[Any]:
    """Call a hook of the shop."""
    answer = yield CallHook(name, details)
    return answer
