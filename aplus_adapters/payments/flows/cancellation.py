"""Close an attempt: inquire, store the decision to cancel, and send cancelPayment until it ends.

An attempt is closed by a final result, or by a cancelPayment that is answered S. CLOSING is stored
before cancelPayment is sent. Source: protocol, "Time".
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

__all__ = ["cancel", "close_claimed", "decision_to_close"]

log = logging.getLogger("aplus_adapters")

_ENDS = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED, Outcome.RETURNED)


def close_claimed(holder: ClaimHolder, *, wanted: bool) -> Flow[Attempt]:
    """Inquire; if the payment is still open, store the decision to cancel, then cancel.

    `wanted` closes even before expiry. Otherwise the code must have expired: by Alipay+'s clock if
    an answer comes, by ours if none comes. So a wrong clock of ours closes no code that a buyer can
    still pay.
    """
    timing, expires_at = holder.timing, holder.attempt.expires_at
    moment = yield from now()
    # cancelPayment also takes back what is paid already, so we ask before we send it.
    try:
        observation = yield from holder.inquire()
    except (NotSent, OutcomeUnknown) as error:
        # Without an answer only our own clock speaks, so it gets some tolerance.
        if not wanted and moment < expires_at + timing.grace:
            return (yield from holder.give_back(timing.inquiry, error))
        log.warning(
            "payment %s: %s; cancelPayment is sent, as it may be open",
            holder.request_id,
            error,
            extra={"event": "inquiry_unanswered", **holder.log_ids},
        )
    else:
        time_left = _time_left(holder.attempt, observation)
        is_open = not wanted and time_left > timedelta(0)
        if observation.outcome in _ENDS:
            # If it contradicts a success that was reported, a person has to look at it.
            is_doubtful = holder.attempt.success_reported
            pause = timing.after_conflict if is_doubtful else timing.inquiry
            after = yield from holder.record(observation, None)
            # An end that contradicts what is stored ends nothing: the code may still be paid.
            if is_open or not _can_be_cancelled(holder, after):
                return (yield from holder.plan(after, pause))
        elif is_open:
            # Our clock is ahead: count what is left by Alipay+'s clock instead.
            observation = evolve(observation, expires_at=observation.at + time_left)
            return (yield from holder.record(observation, timing.inquiry))
    attempt = yield from _intend(holder, wanted=wanted)
    # The store decides: a success may have come first, or another worker has the claim.
    if attempt.state is not State.CLOSING or attempt.claim != holder.attempt.claim:
        return attempt
    return (yield from cancel(holder))


def _can_be_cancelled(holder: ClaimHolder, attempt: Attempt) -> bool:
    """Return whether an attempt is open, ours to call about, and not for a person to decide."""
    is_decided = attempt.state.is_final or attempt.disputed is not None or attempt.is_doubted
    return attempt.claim == holder.attempt.claim and not is_decided


def cancel(holder: ClaimHolder) -> Flow[Attempt]:
    """Send cancelPayment for a closing attempt, and record the answer.

    If the attempt was not cancelled, inquire: it may have ended in another way. If a code was shown
    and cancelPayment does not know the payment, the inquiry must say the same. One such answer
    alone may come from a part of Alipay+ that lags behind.
    """
    pause = _next_pause(holder, (yield from now()))
    doubtful, is_refused = None, False
    try:
        cancelled = yield from _cancelled(holder)
        if cancelled is not None:
            is_refused = cancelled.outcome is Outcome.CANCEL_REFUSED
            is_unknown = cancelled.outcome is Outcome.ABSENT
            if is_unknown and holder.attempt.order_code is not None:
                doubtful = cancelled
            else:
                # None keeps the claim for the inquiry that may follow.
                yield from holder.record(cancelled, None)
        if holder.attempt.state.is_final:
            return holder.attempt
        if is_refused:
            pause = max(pause, holder.timing.after_refusal)
        observation = yield from holder.inquire()
    except (NotSent, OutcomeUnknown) as error:
        attempt = yield from holder.give_back(pause, error)
    else:
        if doubtful is not None:
            log.info(
                "payment %s: cancelPayment does not know it",
                holder.request_id,
                extra={"event": "cancel_unknown", **holder.log_ids},
            )
            if observation.outcome is Outcome.ABSENT:
                observation = doubtful
        attempt = yield from holder.record(observation, pause)
    if is_refused and not attempt.state.is_final:
        _say_refused(holder, attempt, pause)
    return attempt


def _cancelled(holder: ClaimHolder) -> Flow[Observation | None]:
    """Send cancelPayment, at most twice; return what it says, None if that is nothing.

    If Alipay+ does not know a payment that never had a code, the pay request is sent before the
    second cancelPayment. A delayed copy of that request then finds the payment cancelled.
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
    # It may have been cancelled although no answer came; the inquiry that follows tells.
    except (NotSent, OutcomeUnknown) as error:
        log.warning(
            "payment %s: %s; it is asked about",
            holder.request_id,
            error,
            extra={"event": "cancel_unanswered", **holder.log_ids},
        )
        return None
    return observation


def _intend(holder: ClaimHolder, *, wanted: bool) -> Flow[Attempt]:
    """Store the decision to cancel; return the stored attempt."""
    moment = yield from now()
    log.info(
        "payment %s: is closed, %s",
        holder.request_id,
        "as it is not wanted any more" if wanted else "as it has expired",
        extra={"event": "closing", **holder.log_ids},
    )
    # Stored before cancelPayment is sent: a success that comes meanwhile is not told as paid.
    decision = decision_to_close(holder.attempt, moment)
    return (yield from holder.record(decision, None))


def decision_to_close(attempt: Attempt, moment: datetime) -> Observation:
    """Return what the shop says of an attempt that it does not want any more."""
    return Observation(
        source=Source.SHOP,
        outcome=Outcome.CLOSING,
        at=moment,
        client_id=attempt.client_id,
        claim=attempt.claim,
    )


def _next_pause(holder: ClaimHolder, moment: datetime) -> timedelta:
    """Return the pause before the next cancellation; log an error if it took too long."""
    # Counted from the decision to close, so that a restart does not begin the pauses anew.
    waited = (moment - holder.attempt.changed_at).total_seconds()
    for pause in holder.timing.cancel:
        waited -= pause
        if waited < 0:
            return timedelta(seconds=pause)
    since = f"could not be closed since {holder.attempt.changed_at.isoformat()}"
    _cannot_close(holder, since, holder.timing.after_refusal)
    return holder.timing.after_refusal


def _say_refused(holder: ClaimHolder, attempt: Attempt, pause: timedelta) -> None:
    """Log that nobody can cancel it any more, and no inquiry has ended it."""
    reported = ", although a success was reported" if attempt.success_reported else ""
    what = f"can be cancelled no more{reported}"
    if attempt.disputed is None:
        _cannot_close(holder, f"{what}, and no inquiry says what became of it", pause)
    else:
        what = f"{what}, and {attempt.disputed} are disputed: see `aplus conflicts`"
        _cannot_close(holder, what, holder.timing.after_conflict)


def _cannot_close(holder: ClaimHolder, what: str, pause: timedelta) -> None:
    """Log that a person is needed."""
    log.error(
        "payment %s: %s; it may still be paid. It is asked about every %s; look for the payment at "
        "Alipay+, and ask its support why cancelPayment fails",
        holder.request_id,
        what,
        pause,
        extra={"event": "cannot_close", **holder.log_ids},
    )


def _time_left(attempt: Attempt, observation: Observation) -> timedelta:
    """Return how long the code can still be paid, by Alipay+'s clock; 0 without a code."""
    code, said_at = attempt.order_code, observation.said_at
    if code is None or code.expires_at is None or said_at is None:
        return timedelta(0)
    return code.expires_at - said_at
