"""Bringing an open attempt nearer to its end: send pay again, inquire, or cancel.

Whoever calls (the page's poll, `reconcile`, a buyer who wants a new code), it goes through here,
and only who wins the turn talks to Alipay+.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import NotSent, OutcomeUnknown
from aplus_adapters.payments.attempt import Attempt, News, Observation, State
from aplus_adapters.payments.effects import get, now, schedule
from aplus_adapters.payments.exchange import exchange
from aplus_adapters.payments.observe import observe_cancel, observe_inquiry, observe_pay
from aplus_adapters.payments.retry import Retry
from aplus_adapters.payments.settle import settle
from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse

if TYPE_CHECKING:
    from datetime import timedelta

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.protocol.account import Account

__all__ = ["close", "follow_up"]

log = logging.getLogger("aplus_adapters")

_ONCE = Retry(pauses=())  # the next turn is the retry


def follow_up(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Take the turn if it is time, do the next step, and give the attempt as it is then.

    Before expiry an attempt without an answer is sent again, byte for byte, and one with a code is
    inquired about. After expiry it is inquired about and, still open, cancelled. When Alipay+
    cannot be reached the attempt stays as it is and the next turn comes soon.
    """
    moment = yield from now()
    if attempt.next_call_at is None or attempt.next_call_at > moment:
        return attempt
    return (yield from _step(setup, attempt, closing=moment >= attempt.expires_at))


def close(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Take the turn at once and close the attempt: inquire, then cancel if it is still open.

    The attempt is closed only when the answer's state is final: otherwise ask again later.
    """
    return (yield from _step(setup, attempt, closing=True))


def _step(setup: Setup, attempt: Attempt, *, closing: bool) -> Flow[Attempt]:
    request_id = attempt.payment_request_id
    moment = yield from now()
    turn = moment + setup.rules.turn
    if not (yield from schedule(request_id, attempt.next_call_at, turn)):
        return (yield from get(request_id)) or attempt
    attempt = evolve(attempt, next_call_at=turn)
    account = setup.account(attempt.client_id)
    pause = setup.rules.inquiry
    try:
        if attempt.state is State.CREATED and not closing:
            pause = setup.rules.retry_pay
            return (yield from _send_pay(setup, account, attempt))
        attempt = yield from _inquire(setup, account, attempt, closing=closing)
        if closing and not attempt.state.is_final:
            attempt = yield from _cancel(setup, account, attempt)
    except (NotSent, OutcomeUnknown) as error:
        return (yield from _later(attempt, pause, error))
    return attempt


def _send_pay(setup: Setup, account: Account, attempt: Attempt) -> Flow[Attempt]:
    rules = setup.rules
    response = yield from exchange(
        account,
        PayRequest.path,
        attempt.request_body,
        PayResponse,
        retry=rules.pay,
        timeout=rules.timeout,
    )
    moment = yield from now()
    observation = observe_pay(response, moment, account.client_id)
    wait = rules.first_inquiry if observation.news is News.CODE_ISSUED else rules.retry_pay
    return (yield from _settle(attempt, observation, wait))


def _inquire(setup: Setup, account: Account, attempt: Attempt, *, closing: bool) -> Flow[Attempt]:
    request_id = attempt.payment_request_id
    response = yield from exchange(
        account,
        InquiryRequest.path,
        InquiryRequest(payment_request_id=request_id).encode(),
        InquiryResponse,
        retry=_ONCE,
        timeout=setup.rules.timeout,
    )
    if response.payment_request_id not in (None, request_id):
        raise OutcomeUnknown(f"inquiry of {request_id}: found an answer about another payment")
    moment = yield from now()
    observation = observe_inquiry(response, moment, account.client_id)
    if observation is None:
        raise OutcomeUnknown(f"inquiry of {request_id}: found result {response.result}")
    if observation.news is News.ABSENT and not closing:
        # A code was just issued or asked for: one that Alipay+ does not know yet is not gone.
        observation = evolve(observation, news=News.IN_PROCESS)
    if closing and observation.news is News.IN_PROCESS:
        return attempt
    return (yield from _settle(attempt, observation, setup.rules.inquiry))


def _cancel(setup: Setup, account: Account, attempt: Attempt) -> Flow[Attempt]:
    request_id = attempt.payment_request_id
    response = yield from exchange(
        account,
        CancelRequest.path,
        CancelRequest(payment_request_id=request_id).encode(),
        CancelResponse,
        retry=_ONCE,
        timeout=setup.rules.timeout,
    )
    moment = yield from now()
    observation = observe_cancel(response, moment, account.client_id)
    if observation is None:
        error = OutcomeUnknown(f"cancelling {request_id}: found result {response.result}")
        return (yield from _later(attempt, setup.rules.after_refusal, error))
    return (yield from _settle(attempt, observation, setup.rules.inquiry))


def _settle(attempt: Attempt, observation: Observation, wait: timedelta) -> Flow[Attempt]:
    """Record, with the next call after `wait`, or at expiry if that is sooner."""
    expiry = observation.expires_at or attempt.expires_at
    following = observation.at + wait
    if observation.at < expiry < following:
        following = expiry
    return (
        yield from settle(attempt.payment_request_id, evolve(observation, next_call_at=following))
    )


def _later(attempt: Attempt, pause: timedelta, error: NotSent | OutcomeUnknown) -> Flow[Attempt]:
    """Give the turn back for `pause` from now, and say why."""
    log.warning(
        "payment %s: %s; will be tried again",
        attempt.payment_request_id,
        error,
        extra={"payment_request_id": attempt.payment_request_id},
    )
    moment = yield from now()
    yield from schedule(attempt.payment_request_id, attempt.next_call_at, moment + pause)
    return (yield from get(attempt.payment_request_id)) or attempt
