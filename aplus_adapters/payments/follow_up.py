"""Bringing an open attempt nearer to its end: send pay again, inquire, or cancel.

Whoever calls (the page's poll, `reconcile`, a buyer who wants a new code), it goes through here,
and only who wins the turn talks to Alipay+.
"""

from __future__ import annotations

import logging
from datetime import timedelta
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
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.protocol.account import Account

__all__ = ["close", "follow_up", "step", "take_turn"]

log = logging.getLogger("aplus_adapters")

_ONCE = Retry(pauses=())  # the next turn is the retry
_ENDS = (News.SUCCEEDED, News.FAILED, News.CANCELLED, News.ABSENT)


def follow_up(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Take the turn if it is time, do the next step, and give the attempt as it is then.

    Before expiry an attempt without an answer is sent again, byte for byte, and one with a code is
    inquired about. After expiry it is inquired about and, still open, cancelled. When Alipay+
    cannot be reached the attempt stays as it is and the next turn comes soon.
    """
    moment = yield from now()
    if attempt.next_call_at is None or attempt.next_call_at > moment:
        return attempt
    mine = yield from take_turn(setup, attempt)
    if mine is None:
        return (yield from get(attempt.payment_request_id)) or attempt
    return (yield from step(setup, mine))


def close(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Take the turn at once and close the attempt: inquire, then cancel if it is still open.

    The attempt is closed only when the answer's state is final: otherwise ask again later.
    """
    mine = yield from take_turn(setup, attempt)
    if mine is None:
        return (yield from get(attempt.payment_request_id)) or attempt
    return (yield from step(setup, mine, closing=True))


def take_turn(setup: Setup, attempt: Attempt) -> Flow[Attempt | None]:
    """Win the right to call Alipay+ about an attempt for `Rules.turn`; None if another has it."""
    moment = yield from now()
    turn = moment + setup.rules.turn
    if not (yield from schedule(attempt.payment_request_id, attempt.next_call_at, turn)):
        return None
    return evolve(attempt, next_call_at=turn)


def step(setup: Setup, attempt: Attempt, *, closing: bool = False) -> Flow[Attempt]:
    """Do the next thing about an attempt whose turn was taken; `closing` ends it before expiry."""
    moment = yield from now()
    closing = closing or moment >= attempt.expires_at
    account = setup.account(attempt.client_id)
    pause = setup.rules.inquiry
    try:
        if attempt.state is State.CREATED and not closing:
            pause = setup.rules.retry_pay
            return (yield from _send_pay(setup, account, attempt))
        attempt, is_open = yield from _inquire(setup, account, attempt, closing=closing)
        if closing and is_open:
            pause = _cancel_pause(setup, attempt, moment)
            attempt = yield from _cancel(setup, account, attempt)
    except (NotSent, OutcomeUnknown) as error:
        return (yield from _later(attempt, pause, error))
    return attempt


def _cancel_pause(setup: Setup, attempt: Attempt, moment: datetime) -> timedelta:
    """Give the wait before the next cancellation by the time since expiry; at its end, an alarm."""
    waited = (moment - attempt.expires_at).total_seconds()
    for pause in setup.rules.cancel:
        waited -= pause
        if waited < 0:
            return timedelta(seconds=pause)
    log.error(
        "payment %s: has expired and could not be closed since %s; it may still be paid",
        attempt.payment_request_id,
        attempt.expires_at.isoformat(),
        extra={"payment_request_id": attempt.payment_request_id},
    )
    return setup.rules.after_refusal


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
    return (yield from _settle(setup, attempt, observation, wait))


def _inquire(
    setup: Setup, account: Account, attempt: Attempt, *, closing: bool
) -> Flow[tuple[Attempt, bool]]:
    """Ask what became of it; give the attempt, and whether Alipay+ says that it is still open.

    What Alipay+ calls paid is not open, even if it contradicts what is stored: it is a conflict for
    a person to decide, and never cancelled behind the buyer's back.
    """
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
    is_open = observation.news is News.IN_PROCESS
    if closing and is_open:
        return attempt, True
    return (yield from _settle(setup, attempt, observation, setup.rules.inquiry)), is_open


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
        raise OutcomeUnknown(f"cancelling {request_id}: found result {response.result}")
    return (yield from _settle(setup, attempt, observation, setup.rules.inquiry))


def _settle(
    setup: Setup, attempt: Attempt, observation: Observation, wait: timedelta
) -> Flow[Attempt]:
    """Record, with the next call after `wait`, or at expiry if that is sooner.

    News that should have ended the attempt and did not is a conflict: asking soon would bring the
    same again, so the next call comes late.
    """
    expiry = observation.expires_at or attempt.expires_at
    following = observation.at + wait
    if observation.at < expiry < following:
        following = expiry
    observation = evolve(observation, next_call_at=following)
    after = yield from settle(attempt.payment_request_id, observation)
    if observation.news in _ENDS and not after.state.is_final:
        later = observation.at + setup.rules.after_conflict
        yield from schedule(after.payment_request_id, after.next_call_at, later)
        after = evolve(after, next_call_at=later)
    return after


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
