"""Answer an operator: is all well, and who settled a conflict."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aplus_adapters.errors import InvalidValue
from aplus_adapters.payments import effects
from aplus_adapters.payments.flows.reconcile import LAST_ROUND
from aplus_adapters.payments.flows.record import FAILED_HOOK
from aplus_adapters.payments.health import Health
from aplus_adapters.payments.model import Outcome, RefundOutcome, Source, State
from aplus_adapters.payments.order_checks import check_id
from aplus_adapters.payments.search import ConflictRecord, PaymentFilter, check_limit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt, Observation, RefundObservation
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.payments.search import Page

__all__ = ["find_conflicts", "find_page", "read_health", "resolve"]

_SAMPLE = 100  # answers of each kind, and conflicts, that are counted
_WINDOW = timedelta(hours=24)  # older answers say nothing about today
_ANSWERED = (Source.PAY, Source.CANCEL, Source.REFUND)
_REFUSALS = (Outcome.REFUSED, Outcome.CANCEL_REFUSED, RefundOutcome.REFUND_REFUSED)
_OPEN = (State.CREATED, State.PENDING, State.CLOSING)
_LONGEST_NOTE, _LONGEST_NAME = 4000, 200


def find_page(wanted: PaymentFilter, limit: int) -> Flow[Page]:
    """Return a page of stored payments. Raises InvalidValue for a limit that cannot be."""
    check_limit(limit)
    return (yield from effects.find_page(wanted, limit))


def find_conflicts(
    payment_request_id: str | None, limit: int, after: str | None
) -> Flow[list[ConflictRecord]]:
    """Return stored conflicts, oldest first. Raises InvalidValue for a limit that cannot be."""
    check_limit(limit)
    return list((yield from effects.conflicts(payment_request_id, limit, after)))


def resolve(key: str, note: str, by: str) -> Flow[ConflictRecord]:
    """Mark a conflict as resolved; return what is stored. Raises InvalidValue.

    Nothing else changes: money is returned by a refund, and states are left as they are.
    """
    for name, text, longest in (("note", note, _LONGEST_NOTE), ("by", by, _LONGEST_NAME)):
        if not isinstance(text, str) or not text.strip() or len(text) > longest:
            raise InvalidValue(
                f"resolve_conflict {name}: found {str(text)[:80]!r}, expected a text of 1 to "
                f"{longest} characters that says {'what was done' if name == 'note' else 'who'}"
            )
        check_id(f"resolve_conflict {name}", text)
    record = yield from effects.resolve_conflict(key, (yield from effects.now()), by, note)
    if record is None:
        raise InvalidValue(
            f"resolve_conflict: found no conflict {str(key)[:64]!r} in the store, expected the "
            "`key` of one of pay.conflicts()"
        )
    return record


def read_health(config: PaymentConfig) -> Flow[Health]:
    """Return what says whether payments go on by themselves. Raises StoreError."""
    moment = yield from effects.now()
    accounts = tuple(config.accounts)
    waiting = yield from effects.due(moment, 1, accounts)
    refunds = yield from effects.due_refunds(moment, 1, accounts)
    unreported = yield from effects.unreported_conflicts(_SAMPLE, accounts)
    unresolved = yield from effects.conflicts(None, _SAMPLE)
    oldest: list[Attempt] = []
    for state in _OPEN:
        wanted = PaymentFilter(state=state, oldest_first=True)
        oldest += (yield from effects.find_page(wanted, 1)).attempts
    notified = yield from effects.recent(Source.NOTIFICATION, 1)
    answers: list[Observation | RefundObservation] = []
    for source in _ANSWERED:
        answers += yield from effects.recent(source, _SAMPLE)
    inquired = yield from effects.recent(Source.INQUIRY, 1)
    calls = [answer for answer in answers if answer.at > moment - _WINDOW]
    return Health(
        at=moment,
        longest_waiting=waiting[0] if waiting else None,
        refund_due_at=refunds[0].next_call_at if refunds else None,
        oldest_open=min(oldest, key=_creation, default=None),
        last_notification=notified[0].at if notified else None,
        last_reconcile=(yield from effects.noted(LAST_ROUND)),
        last_failed_hook=(yield from effects.noted(FAILED_HOOK)),
        clock_ahead=_clock_ahead([*answers, *inquired]),
        unreported_conflicts=len(unreported),
        open_conflicts=len(unresolved),
        calls=len(calls),
        refused=sum(answer.outcome in _REFUSALS for answer in calls),
    )


def _creation(attempt: Attempt) -> datetime:
    return attempt.created_at


def _clock_ahead(answers: Sequence[Observation | RefundObservation]) -> timedelta | None:
    """Return our clock minus Alipay+'s at its last answer, None if there is none."""
    differences = [(answer.at, answer.at - answer.said_at) for answer in answers if answer.said_at]
    return max(differences)[1] if differences else None
