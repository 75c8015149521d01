"""The state table: what each observation does to an attempt."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, overload

from attrs import evolve

from aplus_adapters.errors import (
    TooManyAttempts,
    UnknownPayment,
)
from aplus_adapters.payments.model import (
    DOUBTS,
    Attempt,
    Conflict,
    Observation,
    Outcome,
    Refund,
    RefundObservation,
    RefundTransition,
    Source,
    State,
    Transition,
)
from aplus_adapters.payments.refund_states import (
    advance_refund,
    committed,
    ended_if_refunded,
    refunded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = [
    "CONFLICT",
    "ORDER_IS_CLOSED",
    "TABLE",
    "advance",
    "needs_refunds",
    "too_many",
]

ORDER_IS_CLOSED: Final = "ORDER_IS_CLOSED"
"""The result code of a payment that was closed or cancelled."""

CONFLICT: Final = "conflict"
"""The observation contradicts a final state: stored and reported, never applied."""

_C, _P, _L, _S, _F, _X = (
    State.CREATED,
    State.PENDING,
    State.CLOSING,
    State.SUCCEEDED,
    State.FAILED,
    State.CANCELLED,
)

# One row per outcome, one column per state. Failed and cancelled attempts show no code, so a late
# code or refusal is harmless there; a late success never is. Once we are going to cancel, a success
# is kept but the attempt can only become cancelled, since the cancellation returns the money.
# Source: protocol, "Time", how a payment is closed.
_ROWS: dict[Outcome, tuple[State | str, ...]] = {
    #                     CREATED   PENDING   CLOSING   SUCCEEDED FAILED    CANCELLED
    Outcome.CODE_ISSUED:    (_P,       _P,       _L,       _S,       _F,       _X),
    Outcome.REFUSED:        (_F,       _P,       _F,       _S,       _F,       _X),
    Outcome.IN_PROCESS:     (_C,       _P,       _L,       _S,       _F,       _X),
    Outcome.SUCCEEDED:      (_S,       _S,       _L,       _S,       CONFLICT, CONFLICT),
    Outcome.FAILED:         (_F,       _F,       _F,       CONFLICT, _F,       _X),
    Outcome.CLOSING:        (_L,       _L,       _L,       _S,       _F,       _X),
    Outcome.CANCELLED:      (_X,       _X,       _X,       CONFLICT, _F,       _X),
    # No cancellation takes the money back any more: what Alipay+ reports decides again.
    Outcome.CANCEL_REFUSED: (_C,       _P,       _P,       _S,       _F,       _X),
    # Before we cancel, the pay request may still be on its way: absence closes nothing.
    Outcome.ABSENT:         (_C,       _P,       _F,       CONFLICT, _F,       _X),
    Outcome.RETURNED:       (_X,       _X,       _X,       CONFLICT, _F,       _X),
}  # fmt: skip
_NO_TIME = datetime.min.replace(tzinfo=UTC)
# Out of date if they come from an older claim: another worker may have acted since then.
_OVERTAKEN = (Outcome.ABSENT, Outcome.CLOSING, Outcome.CANCEL_REFUSED)

TABLE: Mapping[tuple[State, Outcome], State | str] = MappingProxyType(
    {
        (state, outcome): following
        for outcome, row in _ROWS.items()
        for state, following in zip((_C, _P, _L, _S, _F, _X), row, strict=True)
    }
)
"""(state, outcome) to the next state, or CONFLICT."""


def needs_refunds(attempt: Attempt, observation: Observation | RefundObservation) -> bool:
    """Return whether `advance` has to be given the payment's refunds for this observation."""
    return isinstance(observation, RefundObservation) or attempt.disputed is not None


@overload
def advance(
    attempt: Attempt, observation: Observation, refunds: Iterable[Refund] = ()
) -> Transition: ...
@overload
def advance(
    attempt: Attempt, observation: RefundObservation, refunds: Iterable[Refund]
) -> RefundTransition: ...
@overload
def advance(
    attempt: Attempt, observation: Observation | RefundObservation, refunds: Iterable[Refund]
) -> Transition: ...
def advance(
    attempt: Attempt,
    observation: Observation | RefundObservation,
    refunds: Iterable[Refund] = (),
) -> Transition:
    """Return what an observation does to an attempt; the only place where states change.

    Amount, currency and payment id are compared first. An observation that differs from the stored
    attempt never completes it. `refunds` are the stored refunds of the payment; they may be left
    out where `needs_refunds` is False. Raises UnknownPayment if the observation belongs to another
    account than the attempt, or is about a refund that is not stored.
    """
    # Valid keys of one account prove nothing about the payments of another.
    if observation.client_id != attempt.client_id:
        raise UnknownPayment(
            f"payment {attempt.payment_request_id}: belongs to another account than the "
            f"{observation.source}'s; check which keys and client ids belong together"
        )
    if isinstance(observation, RefundObservation):
        transition: Transition = advance_refund(attempt, observation, refunds)
    else:
        transition = _advance_payment(attempt, observation, tuple(refunds))
    after = transition.after
    is_open = transition.conflict is None and not after.state.is_final
    answer = _answer(observation) if is_open else None
    if after.last_answer != answer:
        transition = evolve(transition, after=evolve(after, last_answer=answer))
    return transition


def _answer(observation: Observation | RefundObservation) -> str | None:
    """Return a short name of an inquiry's answer, the same for each answer that says the same."""
    if observation.source is not Source.INQUIRY or isinstance(observation, RefundObservation):
        return None
    content = evolve(observation, at=_NO_TIME, said_at=None, claim=None, next_call_at=None)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:32]


def _advance_payment(
    attempt: Attempt, observation: Observation, refunds: tuple[Refund, ...]
) -> Transition:
    outcome = _effective(attempt, observation)
    following = TABLE[attempt.state, outcome]
    reason = _mismatch(attempt, observation)
    if reason is not None and outcome is Outcome.SUCCEEDED and attempt.is_doubted:
        reason += f", and it can be{DOUBTS[2]}"  # so that nothing returns the money any more
    if reason is None and not isinstance(following, State):
        reason = f"{observation.outcome} by {observation.source} although it is {attempt.state}"
    if reason is None and not attempt.state.is_final:
        reason = _doubt(attempt, observation, following, refunds)
    if reason is not None or isinstance(following, str):  # which has its reason, from above
        after = _disputed(attempt, observation, refunds)
        after = evolve(after, **_next_call(after, after.state, observation))
    else:
        after = _applied(attempt, following, outcome, observation, refunds)
        reason = _given_back_in_part(attempt, after, observation)
    conflict = reason and Conflict(attempt=after, observation=observation, reason=reason)
    return Transition(
        before=attempt, after=after, observation=observation, conflict=conflict or None
    )


def _effective(attempt: Attempt, observation: Observation) -> Outcome:
    """Return the outcome to apply to the stored attempt; IN_PROCESS if it decides nothing."""
    outcome = observation.outcome
    is_told = observation.source is Source.NOTIFICATION
    if outcome is Outcome.ABSENT and is_told and attempt.state is State.SUCCEEDED:
        return Outcome.FAILED  # however it is worded, it contradicts the success
    if outcome is Outcome.REFUSED and attempt.order_code is not None:
        return Outcome.IN_PROCESS  # an identical request was accepted before
    if outcome in _OVERTAKEN and observation.claim != attempt.claim:
        return Outcome.IN_PROCESS
    if outcome is Outcome.CLOSING and attempt.disputed is not None:
        return Outcome.IN_PROCESS  # the buyer may have paid, so a person decides
    if outcome is Outcome.ABSENT and not _is_gone(attempt, observation):
        return Outcome.IN_PROCESS
    was_closing = attempt.state is State.CLOSING or attempt.success_reported
    if outcome is Outcome.FAILED and was_closing and _is_closed(observation):
        return Outcome.CANCELLED  # our cancelPayment acted, though its answer may have been lost
    is_of_now = _is_of_now(attempt, observation)
    if outcome is Outcome.SUCCEEDED and attempt.is_doubted and not is_of_now:
        return Outcome.IN_PROCESS  # kept as reported
    return outcome


def _is_of_now(attempt: Attempt, observation: Observation) -> bool:
    """Return whether it answers a question that was asked under the present claim."""
    return observation.source is Source.INQUIRY and observation.claim == attempt.claim


def _is_closed(observation: Observation) -> bool:
    return observation.result is not None and observation.result.result_code == ORDER_IS_CLOSED


def _is_gone(attempt: Attempt, observation: Observation) -> bool:
    """Return whether absence means that the attempt's code can no longer be paid.

    Only an ABSENT from cancelPayment counts. An attempt without a code was shown to nobody, and a
    code that comes later is not shown. A code that was shown must have expired by Alipay+'s clock.
    After a reported success ABSENT does not count: a part of Alipay+ may lag behind.
    """
    if observation.source is not Source.CANCEL or attempt.success_reported:
        return False
    code = attempt.order_code
    if code is None:
        return True
    said_at, expires_at = observation.said_at, code.expires_at
    return said_at is not None and expires_at is not None and said_at >= expires_at


def _mismatch(attempt: Attempt, observation: Observation) -> str | None:
    said, ours = observation.amount, attempt.amount
    is_disputed_back = observation.outcome is Outcome.RETURNED and said == attempt.disputed
    if said is not None and said != ours and not is_disputed_back:
        return f"{observation.source} says {said}, the attempt is for {ours}"
    # Alipay+ wants the amount compared, and here is none to compare.
    if said is None and observation.outcome is Outcome.SUCCEEDED:
        return f"{observation.source} says paid without a clear amount to compare with {ours}"
    # Two wallets may scan one code; the second payment has an id of its own.
    if (
        observation.payment_id is not None
        and attempt.payment_id is not None
        and observation.payment_id != attempt.payment_id
    ):
        return f"{observation.source} says paymentId {observation.payment_id}, not the stored one"
    return None


def _doubt(
    attempt: Attempt,
    observation: Observation,
    following: State | str,
    refunds: tuple[Refund, ...],
) -> str | None:
    """Return why an open attempt may not end so, although nothing in the observation differs."""
    success, refunded_already, never = DOUBTS
    doubt = None
    # Once it is disputed, a person decides: it may end, and its money be refunded.
    if following is State.FAILED and attempt.success_reported and attempt.disputed is None:
        doubt = f"{success}, and it can be{never}" if attempt.is_doubted else success
    elif following is State.SUCCEEDED and refunds:
        going_back = committed(refunds, attempt.amount.currency)
        if going_back >= attempt.amount.value:
            back = evolve(attempt.amount, value=going_back)
            doubt = f"{refunded_already}{back} were made or are under way"
    return None if doubt is None else f"{observation.outcome} by {observation.source}{doubt}"


def _disputed(attempt: Attempt, observation: Observation, refunds: tuple[Refund, ...]) -> Attempt:
    """Return the attempt with the amount of a success that contradicts its state."""
    known, said = attempt.disputed, observation.amount
    is_reported = attempt.is_doubted and attempt.success_reported and known is None
    if is_reported and observation.outcome is Outcome.FAILED:
        return evolve(attempt, disputed=attempt.amount)  # and no cancellation returns it
    # What a second wallet paid for a paid attempt, Alipay+ itself returns.
    if observation.outcome is not Outcome.SUCCEEDED or attempt.state is State.SUCCEEDED:
        return attempt
    # The cancellation returns it; without one it was our refund of other money that cancelled.
    if attempt.state is State.CANCELLED and known is None:
        return evolve(attempt, success_reported=True)
    amount = said if said is not None and said.value else attempt.amount
    given_back = refunded(refunds, amount.currency)
    if known is not None and known.currency == amount.currency:
        # To hear of less returns nothing; but Alipay+ corrects itself when it is asked.
        is_correction = _is_of_now(attempt, observation) and amount == said
        least = given_back if is_correction else known.value
        amount = evolve(amount, value=max(least, amount.value))
    elif known is not None and given_back >= amount.value:
        return attempt  # told again after it was given back
    after = evolve(attempt, disputed=amount, refunded=given_back)
    is_left_open = known is None or attempt.state is State.CLOSING
    return after if is_left_open else ended_if_refunded(after, observation.at)


def _applied(
    attempt: Attempt,
    state: State,
    outcome: Outcome,
    observation: Observation,
    refunds: tuple[Refund, ...],
) -> Attempt:
    if attempt.state.is_final:
        # With the id stored, a second wallet's payment is told from a duplicate.
        if state is State.SUCCEEDED and attempt.payment_id is None:
            return evolve(attempt, payment_id=observation.payment_id)
        return attempt
    reported = attempt.success_reported or observation.outcome is Outcome.SUCCEEDED
    moved = state is not attempt.state
    return evolve(
        attempt,
        state=state,
        changed_at=observation.at if moved else attempt.changed_at,
        payment_id=attempt.payment_id or observation.payment_id,
        order_code=observation.order_code or attempt.order_code,
        expires_at=observation.expires_at or attempt.expires_at,
        result=observation.result if moved and observation.result else attempt.result,
        payment_time=observation.payment_time or attempt.payment_time,
        wallet=observation.wallet or attempt.wallet,
        success_reported=reported and state is not State.SUCCEEDED,
        refunded=refunded(refunds, attempt.amount.currency)
        if refunds and state is State.SUCCEEDED
        else attempt.refunded,
        # Paid for certain, or returned by the cancellation: nobody has to decide any more.
        disputed=None if state in (State.SUCCEEDED, State.CANCELLED) else attempt.disputed,
        **_next_call(attempt, state, observation),
    )


def _next_call(attempt: Attempt, state: State, observation: Observation) -> dict[str, Any]:
    """Return the changes that plan the next call and release the claim of the observer."""
    if state.is_final:
        return {"next_call_at": None, "claimed_until": None}
    # Only the holder of the claim plans the next call; without a plan it keeps its claim.
    if observation.next_call_at is None or observation.claim != attempt.claim:
        return {}
    return {"next_call_at": observation.next_call_at, "claimed_until": None}


def _given_back_in_part(before: Attempt, after: Attempt, observation: Observation) -> str | None:
    """Return the conflict's reason if a payment became paid after a refund of a part elsewhere."""
    if observation.given_back is None or observation.outcome is not Outcome.SUCCEEDED:
        return None
    if before.state.is_final or after.state is not State.SUCCEEDED:
        return None
    return f"paid {after.amount}, of which {observation.given_back} were given back elsewhere"


def too_many(order_ref: str, most: int) -> TooManyAttempts:
    """Return the error for an order that used up its attempts of an hour."""
    return TooManyAttempts(
        f"order {order_ref}: found {most} payment attempts within an hour, which are all that it "
        "may have; see by `aplus show` why they end, or raise Timing.attempts_per_hour"
    )
