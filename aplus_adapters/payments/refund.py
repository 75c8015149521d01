"""Giving money back: durable before it is sent, once however often it is asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import InvalidValue, NotSent, OutcomeUnknown, UnknownPayment
from aplus_adapters.payments.attempt import Refund, RefundState
from aplus_adapters.payments.effects import add_refund, call_store, get, now
from aplus_adapters.payments.exchange import exchange
from aplus_adapters.payments.observe import observe_refund
from aplus_adapters.payments.settle import settle_refund
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.refund import RefundRequest, RefundResponse

if TYPE_CHECKING:
    from aplus_adapters.payments.attempt import Attempt, Observation
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.setup import Setup

__all__ = ["follow_up_refund", "refund"]

log = logging.getLogger("aplus_adapters")


def refund(
    setup: Setup,
    payment_request_id: str,
    *,
    refund_request_id: str,
    amount: Amount | None = None,
    reason: str | None = None,
) -> Flow[Refund]:
    """Give back `amount` of a paid attempt (None: what is left), and give the refund as it is then.

    `refund_request_id` is the shop's own id of this refund, at most 64 characters: asking again
    with the same id gives the same refund. If Alipay+ gives no usable answer the refund comes back
    CREATED: nothing is lost, `reconcile` sends the same bytes again until there is an answer.

    Raises UnknownPayment; InvalidValue for an attempt that is not paid or a sum above what was
    paid, InconsistentRetry for an id used with other content, before anything is sent; HookError,
    StoreError. Source: protocol, "Sibling calls".
    """
    attempt = yield from get(payment_request_id)
    if attempt is None:
        raise UnknownPayment(
            f"refund of {payment_request_id[:64]!r}: found no such payment in the store"
        )
    if amount is None:
        amount = yield from _left(attempt, refund_request_id)
    request = RefundRequest(
        payment_request_id=payment_request_id,
        refund_request_id=refund_request_id,
        refund_amount=amount,
        refund_reason=reason,
    )
    moment = yield from now()
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
    return (yield from follow_up_refund(setup, stored))


def _left(attempt: Attempt, refund_request_id: str) -> Flow[Amount]:
    """Give what was not given back yet; what this very refund is about if it is there already."""
    stored: list[Refund] = yield from call_store("refunds", attempt.payment_request_id)
    left = attempt.amount.value
    for one in stored:
        if one.refund_request_id == refund_request_id:
            return one.amount
        if one.state is not RefundState.FAILED:
            left -= one.amount.value
    if left <= 0:
        raise InvalidValue(
            f"refund of {attempt.payment_request_id}: found nothing left of {attempt.amount}, "
            "expected something; look at its refunds with `aplus show`"
        )
    return Amount(attempt.amount.currency, left)


def follow_up_refund(setup: Setup, found: Refund) -> Flow[Refund]:
    """Take the turn if it is time, send the refund, and give it as it is then."""
    moment = yield from now()
    if found.next_call_at is None or found.next_call_at > moment:
        return found
    rules = setup.rules
    turn = moment + rules.turn
    request_id = found.refund_request_id
    if not (yield from call_store("schedule_refund", request_id, found.next_call_at, turn)):
        return (yield from _again(found))
    try:
        observation = yield from _send(setup, found)
    except (NotSent, OutcomeUnknown) as error:
        log.warning("refund %s: %s; will be tried again", request_id, error)
        moment = yield from now()
        later = moment + rules.after_refusal
        yield from call_store("schedule_refund", request_id, turn, later)
        return evolve(found, next_call_at=later)
    refund = yield from settle_refund(found.payment_request_id, observation)
    if not refund.state.is_final:  # the answer contradicts what was asked for: a person must look
        later = observation.at + rules.after_conflict
        yield from call_store("schedule_refund", request_id, refund.next_call_at, later)
    return refund


def _send(setup: Setup, found: Refund) -> Flow[Observation]:
    response = yield from exchange(
        setup.account(found.client_id),
        RefundRequest.path,
        found.request_body,
        RefundResponse,
        retry=setup.rules.refund,
        timeout=setup.rules.timeout,
    )
    observation = observe_refund(response, found, (yield from now()))
    if observation is None:
        raise OutcomeUnknown(f"refund {found.refund_request_id}: found result {response.result}")
    return observation


def _again(found: Refund) -> Flow[Refund]:
    stored = yield from call_store("refunds", found.payment_request_id)
    by_id: dict[str, Refund] = {one.refund_request_id: one for one in stored}
    return by_id.get(found.refund_request_id, found)
