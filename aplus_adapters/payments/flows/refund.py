"""Refund a payment: stored before it is sent, and done once per refundRequestId."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import (
    HookError,
    InvalidValue,
    NotSent,
    OutcomeUnknown,
    StoreError,
    UnknownPayment,
)
from aplus_adapters.payments.effects import (
    add_refund,
    claim_refund,
    get,
    now,
    refunds,
    release_refund,
)
from aplus_adapters.payments.flows.gateway_call import exchange
from aplus_adapters.payments.flows.inquiry import inquire_once
from aplus_adapters.payments.flows.record import record_refund
from aplus_adapters.payments.model import Refund, RefundOutcome
from aplus_adapters.payments.observations import (
    may_be_carried_out,
    observe_refund,
    observe_transaction,
)
from aplus_adapters.payments.order_checks import check_id
from aplus_adapters.payments.refund_states import committed
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.refund import RefundRequest, RefundResponse

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.gateway_call import Answered
    from aplus_adapters.payments.model import Attempt, RefundObservation
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["follow_up_refund", "refund"]

log = logging.getLogger("aplus_adapters")


def refund(
    config: PaymentConfig,
    payment_request_id: str,
    *,
    refund_request_id: str,
    amount: Amount | None = None,
    reason: str | None = None,
) -> Flow[Refund]:
    """Refund `amount` of what was paid (None: what is left); return the stored refund.

    `refund_request_id` is the shop's own id of this refund, at most 64 characters. A second call
    with the same id returns the same refund. If Alipay+ sends no usable answer, or the answer
    cannot be stored, the refund comes back CREATED: nothing is lost, `reconcile` sends the same
    bytes until there is an answer. The money of a conflict (`Attempt.disputed`) can be refunded.

    Raises UnknownPayment, InvalidValue for an attempt that is not paid or a sum above what was
    paid, InconsistentRetry for an id used with other content, ConfigurationError for an account
    that is not among ours, and StoreError. Each is raised before anything is sent. Source:
    protocol, "Sibling calls".
    """
    check_id("refund_request_id", refund_request_id)
    if reason is not None:
        check_id("refund reason", reason)
    attempt = yield from get(payment_request_id)
    if attempt is None:
        raise UnknownPayment(
            f"refund of {payment_request_id[:64]!r}: found no such payment in the store"
        )
    if attempt.client_id not in config.accounts:
        known = yield from refunds(payment_request_id)
        if all(one.refund_request_id != refund_request_id for one in known):
            config.account(attempt.client_id)  # what nobody can send would wait for ever
    if amount is None:
        amount = yield from _left(attempt, refund_request_id)
    request = RefundRequest(
        payment_request_id=payment_request_id,
        refund_request_id=refund_request_id,
        refund_amount=amount,
        refund_reason=reason,
    )
    moment = yield from now()
    # Durable before it is sent, so that a repeat after a crash is the same refund.
    stored = yield from add_refund(
        Refund(
            refund_request_id=refund_request_id,
            payment_request_id=payment_request_id,
            client_id=attempt.client_id,
            amount=request.refund_amount,
            reason=reason,
            request_body=request.encode(),
            created_at=moment,
            next_call_at=moment,
            changed_at=moment,
        )
    )
    try:
        return (yield from follow_up_refund(config, stored))
    # Money may have gone back: an exception would invite a second refund with a new id.
    except (StoreError, HookError) as error:
        log.exception(
            "refund %s of payment %s: what Alipay+ said could not be stored: %s; it is asked again "
            "by reconcile, see to the hook or the store",
            refund_request_id,
            payment_request_id,
            error,
            extra={"event": "refund_not_stored", "payment_request_id": payment_request_id},
        )
    return stored


def _left(attempt: Attempt, refund_request_id: str) -> Flow[Amount]:
    """Return the amount that is not refunded yet, or this refund's own if it is stored already."""
    stored = yield from refunds(attempt.payment_request_id)
    paid = attempt.paid_amount or attempt.amount
    for refund in stored:
        if refund.refund_request_id == refund_request_id:
            return refund.amount
    left = paid.value - committed(stored, paid.currency)
    if left <= 0:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found nothing left of {paid}, "
            "expected something; look at its refunds with `aplus show`"
        )
    return Amount(paid.currency, left)


def follow_up_refund(config: PaymentConfig, stored: Refund) -> Flow[Refund]:
    """Claim the refund if it is due, send it, and return the stored refund.

    Raises StoreError and HookError if an answer cannot be recorded.
    """
    moment = yield from now()
    if not config.is_due(stored, moment):
        return stored
    until = moment + config.timing.refund_claim
    request_id = stored.refund_request_id
    if not (yield from claim_refund(request_id, stored.claim, until)):
        # Another worker is sending it; what that one has stored counts.
        return (yield from _as_stored(stored))
    mine = evolve(stored, claim=stored.claim + 1, claimed_until=until, next_call_at=until)
    try:
        observation = yield from _ask(config, mine)
    except (NotSent, OutcomeUnknown) as error:
        log.warning(
            "refund %s of payment %s: %s; will be tried again",
            request_id,
            mine.payment_request_id,
            error,
            extra={"event": "refund_unanswered", "payment_request_id": mine.payment_request_id},
        )
        moment = yield from now()
        next_call_at = moment + config.timing.refund_pause
        yield from release_refund(request_id, mine.claim, next_call_at)
        return (yield from _as_stored(stored))
    refund = yield from record_refund(mine.payment_request_id, observation)
    if not refund.state.is_final:  # the answer contradicts what was asked for: a person must look
        next_call_at = observation.at + config.timing.after_conflict
        yield from release_refund(request_id, mine.claim, next_call_at)
    return refund


def _ask(config: PaymentConfig, mine: Refund) -> Flow[RefundObservation]:
    """Send the refund; raise OutcomeUnknown unless the answer is certain.

    An F to a repeat does not say whether the first send succeeded, so the payment's transactions
    are inquired about. An F is a refusal only if it answers the single send of a claim and the
    inquiry does not list the refund, or as one that failed. Claims are at least a minute apart, so
    that no send of an earlier claim is still under way.
    """
    answered: Answered[RefundResponse] = yield from exchange(
        config.account(mine.client_id),
        RefundRequest.path,
        mine.request_body,
        RefundResponse,
        retry=config.timing.refund,
        timeout=config.timing.timeout,
        until=mine.claimed_until,
        payment_request_id=mine.payment_request_id,
    )
    observation = observe_refund(answered, mine, (yield from now()))
    result = answered.message.result
    if observation is None:
        raise OutcomeUnknown(f"refund {mine.refund_request_id}: found result {result}")
    if observation.outcome is RefundOutcome.REFUNDED or (mine.claim == 1 and answered.sends == 1):
        return observation
    inquiry = yield from inquire_once(
        config, mine.client_id, mine.payment_request_id, until=mine.claimed_until
    )
    success = observe_transaction(inquiry, mine, (yield from now()))
    if success is not None:
        return success
    is_under_way = may_be_carried_out(inquiry, mine)
    if is_under_way or answered.sends > 1 or inquiry.message.result.result_status != "S":
        raise OutcomeUnknown(
            f"refund {mine.refund_request_id}: found result {result} to a repeat, which does not "
            "say what became of the first request"
        )
    return observation


def _as_stored(known: Refund) -> Flow[Refund]:
    stored = yield from refunds(known.payment_request_id)
    by_id = {refund.refund_request_id: refund for refund in stored}
    return by_id.get(known.refund_request_id, known)
