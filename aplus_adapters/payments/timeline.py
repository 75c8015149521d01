"""A payment's timeline for an operator: every observation, and what it changed."""

from __future__ import annotations

import operator
from datetime import UTC
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from aplus_adapters.errors import UnknownPayment
from aplus_adapters.payments import effects
from aplus_adapters.payments.model import (
    Observation,
    RefundObservation,
    RefundState,
    RefundTransition,
    State,
)
from aplus_adapters.payments.states import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt, Refund

__all__ = ["Event", "read_timeline", "timeline"]


@frozen(kw_only=True)
class Event:
    """One line of the timeline: the time, the source, what it says, and the state after it."""

    at: datetime
    source: str
    text: str
    state: str
    is_conflict: bool = False


def timeline(
    attempt: Attempt,
    observations: Sequence[Observation | RefundObservation],
    refunds: Sequence[Refund],
) -> list[Event]:
    """Return the events of an attempt in order, by running its history through the state table.

    `observations` and `refunds` are what the store has for the attempt.
    """
    first = Event(
        at=attempt.created_at,
        source="shop",
        text=f"pay {attempt.amount} for order {attempt.order_ref}",
        state=str(State.CREATED),
    )
    asked = [
        Event(
            at=refund.created_at,
            source="shop",
            text=f"refund {refund.amount} as {refund.refund_request_id}",
            state=str(RefundState.CREATED),
        )
        for refund in refunds
    ]
    # A refund is asked for by a clock of its own: of what it may have been before, that counts by
    # which the attempt becomes what it is.
    for is_before in (operator.le, operator.lt, _never):
        events, end = _replay(attempt, observations, refunds, is_before)
        if end.state is attempt.state:
            break
    # The requests for refunds come from a list of their own; the time finds their place.
    return sorted([first, *asked, *events], key=lambda event: event.at)


def _never(_asked_at: datetime, _heard_at: datetime) -> bool:
    return False


def _replay(
    attempt: Attempt,
    observations: Sequence[Observation | RefundObservation],
    refunds: Sequence[Refund],
    is_before: Callable[[datetime, datetime], bool],
) -> tuple[list[Event], Attempt]:
    """Return the events of the observations, and the attempt as it is after them."""
    events: list[Event] = []
    # The history keeps no states: the observations go through the state table once more. It keeps
    # no code either, and need not: where one was stored, nothing before it had been decided.
    present = evolve(
        attempt,
        state=State.CREATED,
        payment_id=None,
        result=None,
        next_call_at=attempt.created_at,
        claim=0,
        success_reported=False,
        disputed=None,
        refunded=0,
    )
    by_then = {refund.refund_request_id: _as_it_began(refund) for refund in refunds}
    for observation in observations:
        # The token of that time lets the table see what another worker had overtaken.
        claim = observation.claim or 0
        if isinstance(observation, Observation):
            present = evolve(present, claim=max(present.claim, claim))
        elif observation.refund_request_id in by_then:
            refund = by_then[observation.refund_request_id]
            refund = evolve(refund, claim=max(refund.claim, claim))
            by_then[refund.refund_request_id] = refund
        known = [
            one
            for one in by_then.values()
            if isinstance(observation, RefundObservation)
            or is_before(one.created_at, observation.at)
        ]
        transition = advance(present, observation, known)
        present = transition.after
        state: State | RefundState = present.state
        if isinstance(transition, RefundTransition):
            by_then[transition.refund.refund_request_id] = transition.refund
            state = transition.refund.state
        conflict = transition.conflict
        events.append(
            Event(
                at=observation.at,
                source=str(observation.source),
                text=_text(observation),
                state=str(state) if conflict is None else f"CONFLICT: {conflict.reason}",
                is_conflict=conflict is not None,
            )
        )
    return events, present


def read_timeline(payment_request_id: str) -> Flow[list[Event]]:
    """Return the events of a stored payment, in order. Raises UnknownPayment, StoreError."""
    attempt = yield from effects.get(payment_request_id)
    if attempt is None:
        raise UnknownPayment(
            f"timeline of {payment_request_id[:64]!r}: found no such payment in the store, "
            "expected a paymentRequestId; `latest` finds the one of an order"
        )
    observations = yield from effects.history(payment_request_id)
    return timeline(attempt, observations, (yield from effects.refunds(payment_request_id)))


def _as_it_began(refund: Refund) -> Refund:
    return evolve(refund, state=RefundState.CREATED, next_call_at=refund.created_at, claim=0)


def _text(observation: Observation | RefundObservation) -> str:
    parts = [str(observation.outcome)]
    if observation.amount is not None:
        parts.append(str(observation.amount))
    if isinstance(observation, RefundObservation):
        parts.append(f"as {observation.refund_request_id}")
    if observation.result is not None:
        parts.append(f"({observation.result.result_code})")
    if isinstance(observation, Observation) and observation.wallet is not None:
        parts.append(f"by {observation.wallet}")
    if isinstance(observation, Observation) and observation.first_at is not None:
        first = observation.first_at.astimezone(UTC)
        parts.append(f"({observation.count} times since {first:%Y-%m-%d %H:%M:%S}Z)")
    return " ".join(parts)
