"""What happens to a refund, and through it to its payment; which refunds are admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry, InvalidValue, UnknownPayment
from aplus_adapters.payments.model import (
    Attempt,
    Conflict,
    Refund,
    RefundObservation,
    RefundOutcome,
    RefundState,
    RefundTransition,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["admit_refund", "advance_refund", "committed", "ended_if_refunded", "refunded"]

_REFUND_STATES = {
    RefundOutcome.REFUNDED: RefundState.SUCCEEDED,
    RefundOutcome.REFUND_REFUSED: RefundState.FAILED,
}


def advance_refund(
    attempt: Attempt, observation: RefundObservation, refunds: Iterable[Refund]
) -> RefundTransition:
    """Return what an observation does to a refund, and to the payment's `refunded`.

    Raises UnknownPayment if the refund is not among `refunds`, those of this payment.
    """
    names = attempt.payment_request_id, observation.refund_request_id
    about = (one for one in refunds if (one.payment_request_id, one.refund_request_id) == names)
    refund = next(about, None)
    if refund is None:
        raise UnknownPayment(
            f"refund {observation.refund_request_id}: found no such refund of payment "
            f"{attempt.payment_request_id}"
        )
    state = _REFUND_STATES[observation.outcome]
    # An F of an older claim decides nothing: a later send may have succeeded.
    is_overtaken = state is RefundState.FAILED and observation.claim != refund.claim
    is_of_nothing = state is RefundState.SUCCEEDED and attempt.paid_amount is None
    reason = None
    if observation.amount not in (None, refund.amount):
        reason = f"refund says {observation.amount}, it was to be {refund.amount}"
    elif is_of_nothing:
        reason = f"{observation.outcome} although the payment is {attempt.state}"
    elif refund.state not in (RefundState.CREATED, state) and not is_overtaken:
        reason = f"{observation.outcome} although the refund is {refund.state}"
    conflict = None
    after, refund_after = attempt, refund
    if reason is not None:
        conflict = Conflict(attempt=attempt, observation=observation, reason=reason)
    # Carried out although nothing is paid any more: it must not be sent again for ever.
    is_certain = reason is None or (is_of_nothing and observation.amount in (None, refund.amount))
    if is_certain and not refund.state.is_final and not is_overtaken:
        refund_after = evolve(
            refund,
            state=state,
            next_call_at=None,
            claimed_until=None,
            changed_at=observation.at,
            refund_id=observation.refund_id,
            result=observation.result,
        )
        paid = attempt.paid_amount
        if state is RefundState.SUCCEEDED and paid and refund.amount.currency == paid.currency:
            more = evolve(attempt, refunded=attempt.refunded + refund.amount.value)
            after = ended_if_refunded(more, observation.at)
    return RefundTransition(
        before=attempt,
        after=after,
        observation=observation,
        conflict=conflict,
        refund_before=refund,
        refund=refund_after,
    )


def ended_if_refunded(after: Attempt, at: datetime) -> Attempt:
    """Return the attempt; an open one is cancelled if all its money was refunded."""
    if after.state.is_final or not after.is_refunded:
        return after
    return evolve(
        after,
        state=State.CANCELLED,
        changed_at=at,
        next_call_at=None,
        claimed_until=None,
    )


def committed(refunds: Iterable[Refund], currency: str) -> int:
    """Return the minor units that refunds in a currency may have given back, or will."""
    return sum(
        refund.amount.value
        for refund in refunds
        # One without an answer counts, too: it may have been carried out.
        if refund.state is not RefundState.FAILED and refund.amount.currency == currency
    )


def admit_refund(attempt: Attempt, stored: Iterable[Refund], wanted: Refund) -> Refund | None:
    """Return the stored refund with the wanted one's id, or None if the wanted one may be added.

    `stored` are the payment's refunds, read under the payment's lock. Raises InconsistentRetry for
    an id that was used with other content, InvalidValue unless money was paid (undisputed or not)
    in the same currency and what did not fail stays within it. Source: protocol, "Sibling calls".
    """
    stored = tuple(stored)
    for refund in stored:
        if refund.refund_request_id == wanted.refund_request_id:
            _check_same(refund, wanted)
            return refund
    paid = attempt.paid_amount
    if attempt.state is State.CLOSING:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found a payment that is being cancelled, "
            "which returns all of its money, expected none under way; nothing was sent"
        )
    if paid is None:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found a payment that is {attempt.state}, "
            "expected one that is paid; nothing was sent"
        )
    if wanted.amount.currency != paid.currency:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found {wanted.amount}, expected the "
            f"payment's currency {paid.currency}; nothing was sent"
        )
    # A refund of another payment is among them only because it has the wanted one's id.
    own = (item for item in stored if item.payment_request_id == attempt.payment_request_id)
    spent = committed(own, paid.currency)
    if spent + wanted.amount.value > paid.value:
        left = evolve(paid, value=max(0, paid.value - spent))
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found {wanted.amount}, expected at most "
            f"{left}, what is left of {paid}; nothing was sent"
        )
    return None


def _check_same(stored: Refund, wanted: Refund) -> None:
    """Raise InconsistentRetry unless the wanted refund is the stored one; a reason may be left out.

    A person who is told that it is another one might give the money back twice.
    """
    same = stored.payment_request_id, stored.amount
    if same != (wanted.payment_request_id, wanted.amount):
        raise InconsistentRetry(
            f"refund {wanted.refund_request_id}: already used with other content, for "
            f"{stored.amount} of payment {stored.payment_request_id}, expected a new "
            "refund_request_id for another refund; nothing was sent"
        )
    if wanted.reason not in (None, stored.reason):
        raise InconsistentRetry(
            f"refund {wanted.refund_request_id}: found another reason, expected the one that was "
            "sent, or none; this refund is known already, a new refund_request_id would give the "
            "money back twice; nothing was sent"
        )


def refunded(refunds: Iterable[Refund], currency: str) -> int:
    """Return the minor units that our refunds have given back in a currency."""
    done = [refund.amount for refund in refunds if refund.state is RefundState.SUCCEEDED]
    return sum(amount.value for amount in done if amount.currency == currency)
