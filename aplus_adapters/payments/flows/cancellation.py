"""Closing an attempt: inquire, decide durably to cancel, and send cancelPayment until it is over.

How an attempt is closed is the table of protocol, "Time": by a final result, or by a cancelPayment
that is answered S and that was made durable as CLOSING before it was sent.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import NotSent, OutcomeUnknown
from aplus_adapters.payments.effects import now
from aplus_adapters.payments.model import Attempt, Observation, Outcome, Source, State

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.claim import ClaimHolder

__all__ = ["cancel", "close_claimed"]

log = logging.getLogger("aplus_adapters")

_ENDS = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED, Outcome.RETURNED)


def close_claimed(holder: ClaimHolder, *, wanted: bool) -> Flow[Attempt]:
    """Inquire; unless that brings the end, decide durably to cancel, then cancel.

    `wanted` closes even before expiry. Otherwise the code has to have expired by Alipay+'s clock as
    far as its answer tells, or by ours where no answer comes: a clock of ours that goes wrong does
    not take a code from a buyer who looks at it.
    """
    timing, expires_at = holder.timing, holder.attempt.expires_at
    moment = yield from now()
    try:
        observation = yield from holder.inquire()
    except (NotSent, OutcomeUnknown) as error:
        if not wanted and moment < expires_at + timing.grace:
            return (yield from holder.give_back(timing.inquiry, error))
        log.warning(
            "payment %s: %s; it is cancelled", holder.request_id, error, extra=holder.log_ids
        )
    else:
        if observation.outcome in _ENDS:
            return (yield from holder.record(observation, timing.inquiry))
        time_left = _time_left(holder.attempt, observation)
        if not wanted and time_left > timedelta(0):
            observation = evolve(observation, expires_at=observation.at + time_left)
            return (yield from holder.record(observation, timing.inquiry))
    attempt = yield from _intend(holder, wanted=wanted)
    if attempt.state is not State.CLOSING or attempt.claim != holder.attempt.claim:
        return attempt
    return (yield from cancel(holder))


def cancel(holder: ClaimHolder) -> Flow[Attempt]:
    """Send cancelPayment for a closing attempt, and record what it brings.

    What could not be cancelled is inquired about: its end may have come otherwise. That Alipay+
    does not know a code which was shown counts only if the inquiry says so as well: one answer
    alone may come from a part of Alipay+ that lags behind.
    """
    pause = _next_pause(holder, (yield from now()))
    try:
        cancelled = yield from _cancelled(holder)
        is_doubtful = (
            cancelled is not None
            and cancelled.outcome is Outcome.ABSENT
            and holder.attempt.order_code is not None
        )
        if cancelled is not None and not is_doubtful:
            yield from holder.record(cancelled, None)
        if holder.attempt.state.is_final:
            return holder.attempt
        observation = yield from holder.inquire()
    except (NotSent, OutcomeUnknown) as error:
        return (yield from holder.give_back(pause, error))
    if cancelled is not None and is_doubtful:
        log.info(
            "payment %s: cancelPayment does not know it", holder.request_id, extra=holder.log_ids
        )
        if observation.outcome is Outcome.ABSENT:
            observation = cancelled
    return (yield from holder.record(observation, pause))


def _cancelled(holder: ClaimHolder) -> Flow[Observation | None]:
    """Send cancelPayment, if need be twice; return what it says, None if that is nothing.

    What Alipay+ does not know, and never gave a code for, is sent to it first: then there is
    something to cancel, and a copy of the request that is still on its way finds it cancelled.
    """
    try:
        observation = yield from holder.send_cancel()
        moment = yield from now()
        is_unknown = observation.outcome is Outcome.ABSENT and holder.attempt.order_code is None
        if is_unknown and moment < holder.attempt.expires_at:
            yield from holder.record((yield from holder.send_pay()), None)
            if holder.attempt.state.is_final:
                return None
            observation = yield from holder.send_cancel()
    except (NotSent, OutcomeUnknown) as error:
        log.warning(
            "payment %s: %s; it is asked about", holder.request_id, error, extra=holder.log_ids
        )
        return None
    return observation


def _intend(holder: ClaimHolder, *, wanted: bool) -> Flow[Attempt]:
    """Make the decision to cancel durable; return the attempt as it is stored then."""
    moment = yield from now()
    log.info(
        "payment %s: is closed, %s",
        holder.request_id,
        "as it is not wanted any more" if wanted else "as it has expired",
        extra=holder.log_ids,
    )
    decision = Observation(
        source=Source.SHOP,
        outcome=Outcome.CLOSING,
        at=moment,
        client_id=holder.attempt.client_id,
        claim=holder.attempt.claim,
    )
    return (yield from holder.record(decision, None))


def _next_pause(holder: ClaimHolder, moment: datetime) -> timedelta:
    """Return the wait before the next cancellation; when it took too long, raise the alarm."""
    waited = (moment - holder.attempt.changed_at).total_seconds()
    for pause in holder.timing.cancel:
        waited -= pause
        if waited < 0:
            return timedelta(seconds=pause)
    log.error(
        "payment %s: could not be closed since %s; it may still be paid. It is tried every %s; "
        "look for the payment at Alipay+, and ask its support why cancelPayment fails",
        holder.request_id,
        holder.attempt.changed_at.isoformat(),
        holder.timing.after_refusal,
        extra=holder.log_ids,
    )
    return holder.timing.after_refusal


def _time_left(attempt: Attempt, observation: Observation) -> timedelta:
    """Return how long the code can still be paid by Alipay+'s clock; 0 without a code."""
    code, said_at = attempt.order_code, observation.said_at
    if code is None or code.expires_at is None or said_at is None:
        return timedelta(0)
    return code.expires_at - said_at
