"""The state table: what each observation does to an attempt, and which refunds are admitted."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry, InvalidValue, UnknownPayment
from aplus_adapters.payments.attempt import (
    Attempt,
    Conflict,
    News,
    Observation,
    Refund,
    RefundState,
    State,
    Transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CONFLICT", "TABLE", "admit_refund", "advance"]

CONFLICT: Final = "conflict"
"""The observation contradicts a final state: stored and reported, never applied."""

_C, _P, _S, _F, _X = (
    State.CREATED,
    State.PENDING,
    State.SUCCEEDED,
    State.FAILED,
    State.CANCELLED,
)

# One row per news, one column per state. Failed and cancelled attempts show no code, so a late code
# or refusal is harmless there; a late success never is. After a successful cancellation a late
# notification loses (protocol, "notifyPayment").
_ROWS: dict[News, tuple[State | str, ...]] = {
    #                  CREATED  PENDING  SUCCEEDED  FAILED    CANCELLED
    News.CODE_ISSUED: (_P,      _P,      _S,        _F,       _X),
    News.REFUSED:     (_F,      _P,      _S,        _F,       _X),
    News.IN_PROCESS:  (_C,      _P,      _S,        _F,       _X),
    News.SUCCEEDED:   (_S,      _S,      _S,        CONFLICT, CONFLICT),
    News.FAILED:      (_F,      _F,      CONFLICT,  _F,       _X),
    News.CANCELLED:   (_X,      _X,      CONFLICT,  _F,       _X),
    News.ABSENT:      (_F,      _F,      CONFLICT,  _F,       _X),
    News.REFUNDED:    (CONFLICT, CONFLICT, _S,      CONFLICT, CONFLICT),
    News.REFUND_REFUSED: (_C,   _P,      _S,        _F,       _X),
}  # fmt: skip
_REFUND_STATES = {
    News.REFUNDED: RefundState.SUCCEEDED,
    News.REFUND_REFUSED: RefundState.FAILED,
}

TABLE: Mapping[tuple[State, News], State | str] = MappingProxyType(
    {
        (state, news): outcome
        for news, row in _ROWS.items()
        for state, outcome in zip((_C, _P, _S, _F, _X), row, strict=True)
    }
)
"""(state, news) to the next state, or CONFLICT."""


def advance(attempt: Attempt, observation: Observation, refund: Refund | None = None) -> Transition:
    """Say what an observation does to an attempt; the only place where states change.

    Amount, currency and payment id are compared first: what differs from the stored attempt never
    settles it, whatever its state. `refund` is the stored refund that the observation tells of, if
    it tells of one. Raises UnknownPayment if the observation came for another account than the
    attempt's, or tells of a refund that is not there.
    """
    if observation.client_id != attempt.client_id:
        raise UnknownPayment(
            f"payment {attempt.payment_request_id}: belongs to another account than the "
            f"{observation.source}'s; check which keys and client ids belong together"
        )
    if observation.refund_request_id is not None:
        return _advance_refund(attempt, observation, refund)
    outcome = TABLE[attempt.state, observation.news]
    reason = _mismatch(attempt, observation)
    if reason is None and outcome == CONFLICT:
        reason = f"{observation.news} by {observation.source} although it is {attempt.state}"
    if reason is not None:
        conflict = Conflict(attempt=attempt, observation=observation, reason=reason)
        return Transition(
            before=attempt,
            after=_reschedule(attempt, observation),
            observation=observation,
            conflict=conflict,
        )
    after = _apply(attempt, State(outcome), observation)
    return Transition(before=attempt, after=after, observation=observation)


def _mismatch(attempt: Attempt, observation: Observation) -> str | None:
    said, ours = observation.amount, attempt.amount
    if said is not None and said != ours:
        return f"{observation.source} says {said}, the attempt is for {ours}"
    if said is None and observation.news is News.SUCCEEDED:
        return f"{observation.source} says paid without an amount to compare with {ours}"
    if (
        observation.payment_id is not None
        and attempt.payment_id is not None
        and observation.payment_id != attempt.payment_id
    ):
        return f"{observation.source} says paymentId {observation.payment_id}, not the stored one"
    return None


def _apply(attempt: Attempt, state: State, observation: Observation) -> Attempt:
    if state.is_final and attempt.state is state:
        return attempt
    moved = state is not attempt.state
    return evolve(
        attempt,
        state=state,
        next_call_at=None if state.is_final else observation.next_call_at or attempt.next_call_at,
        changed_at=observation.at if moved else attempt.changed_at,
        payment_id=attempt.payment_id or observation.payment_id,
        order_code=observation.order_code or attempt.order_code,
        expires_at=observation.expires_at or attempt.expires_at,
        result=observation.result if moved else attempt.result,
        payment_time=observation.payment_time or attempt.payment_time,
        wallet=observation.wallet or attempt.wallet,
    )


def _reschedule(attempt: Attempt, observation: Observation) -> Attempt:
    if attempt.state.is_final or observation.next_call_at is None:
        return attempt
    return evolve(attempt, next_call_at=observation.next_call_at)


def _advance_refund(
    attempt: Attempt, observation: Observation, refund: Refund | None
) -> Transition:
    if refund is None or refund.payment_request_id != attempt.payment_request_id:
        raise UnknownPayment(
            f"refund {observation.refund_request_id}: found no such refund of payment "
            f"{attempt.payment_request_id}"
        )
    state = _REFUND_STATES[observation.news]
    reason = None
    if observation.amount not in (None, refund.amount):
        reason = f"refund says {observation.amount}, it was to be {refund.amount}"
    elif TABLE[attempt.state, observation.news] == CONFLICT:
        reason = f"{observation.news} although the payment is {attempt.state}"
    elif refund.state not in (RefundState.CREATED, state):
        reason = f"{observation.news} although the refund is {refund.state}"
    conflict = None
    after = refund
    if reason is not None:
        conflict = Conflict(attempt=attempt, observation=observation, reason=reason)
    elif not refund.state.is_final:
        after = evolve(
            refund,
            state=state,
            next_call_at=None,
            changed_at=observation.at,
            refund_id=observation.refund_id,
            result=observation.result,
        )
    return Transition(
        before=attempt,
        after=attempt,
        observation=observation,
        conflict=conflict,
        refund_before=refund,
        refund=after,
    )


def admit_refund(attempt: Attempt, stored: Iterable[Refund], wanted: Refund) -> Refund | None:
    """Give the stored refund with the wanted one's id, or None if the wanted one may be added.

    `stored` are the payment's refunds, read under the payment's lock. Raises InconsistentRetry for
    an id that was used with other content, InvalidValue unless the payment is paid in the same
    currency and what did not fail stays within what was paid. Source: protocol, "Sibling calls".
    """
    stored = tuple(stored)
    for refund in stored:
        if refund.refund_request_id == wanted.refund_request_id:
            if refund.request_body != wanted.request_body:
                raise InconsistentRetry(
                    f"refund {wanted.refund_request_id}: already used with other content, expected "
                    "a new refund_request_id for another refund; nothing was sent"
                )
            return refund
    if attempt.state is not State.SUCCEEDED:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found a payment that is {attempt.state}, "
            "expected one that is paid; nothing was sent"
        )
    if wanted.amount.currency != attempt.amount.currency:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found {wanted.amount}, expected the "
            f"payment's currency {attempt.amount.currency}; nothing was sent"
        )
    spent = sum(one.amount.value for one in stored if one.state is not RefundState.FAILED)
    if spent + wanted.amount.value > attempt.amount.value:
        left = evolve(attempt.amount, value=attempt.amount.value - spent)
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found {wanted.amount}, expected at most "
            f"{left}, what is left of {attempt.amount}; nothing was sent"
        )
    return None
