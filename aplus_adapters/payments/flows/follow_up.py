"""Advance an open attempt: resend, inquire or cancel.

The page's poll, `reconcile`, a buyer who wants a new code and a shop that cancels an order all use
this. Only the holder of the attempt's claim calls Alipay+.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aplus_adapters.errors import HookError, NotSent, OutcomeUnknown, StoreError
from aplus_adapters.payments.effects import latest, now, reread, sleep
from aplus_adapters.payments.flows.cancellation import cancel, close_claimed, decision_to_close
from aplus_adapters.payments.flows.claim import ClaimHolder, take_claim
from aplus_adapters.payments.flows.record import record_observation
from aplus_adapters.payments.model import Attempt, Outcome, State

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["close", "close_order", "follow_up", "step", "step_or_stored"]

log = logging.getLogger("aplus_adapters")

_PAUSE = 0.25  # seconds between two looks at a claim that another worker holds
_TRIES = 5  # the claim may go to others between our look and our decision


def follow_up(config: PaymentConfig, attempt: Attempt) -> Flow[Attempt]:
    """Claim the attempt if it is due, do the next step, and return the stored attempt.

    Before expiry an attempt without an answer is sent again, byte for byte, and one with a code is
    inquired about. After expiry it is inquired about, and closed if it is still open. An error
    after the call to Alipay+ is not raised: the stored attempt is returned, and a later call goes
    on with it.
    """
    moment = yield from now()
    if not config.is_due(attempt, moment):
        return attempt
    return (yield from _claimed_step(config, attempt, closing=False))


def close(config: PaymentConfig, attempt: Attempt, *, wanted: bool = True) -> Flow[Attempt]:
    """Close the attempt: inquire, then cancel.

    While another worker holds its claim, this waits for as long as an inquiry may take. Then only
    the decision is stored, and `reconcile` cancels.

    `wanted` False closes it only if it has expired. The attempt is closed only if the returned
    state is final; otherwise call again later. An attempt that is being closed, can be cancelled no
    more or is disputed is tried again only when it is due, however often this is called.

    Raises StoreError or HookError if the decision could not be stored: nobody cancels it then.
    """
    moment = yield from now()
    if (_has_begun(attempt) or not wanted) and not config.is_due(attempt, moment):
        return attempt
    return (yield from _claimed_step(config, attempt, closing=wanted))


def close_order(config: PaymentConfig, order_ref: str) -> Flow[Attempt | None]:
    """Close the order's open attempt, so that nobody pays an order that the shop has cancelled.

    Returns the attempt that occupies the order, otherwise its newest, None if it never had one.
    SUCCEEDED means that it was paid before. An attempt that comes back open is still being closed
    by `reconcile`. Raises StoreError and HookError as `close` does; it may be called again.
    """
    attempt = yield from latest(order_ref)
    if attempt is None or attempt.state.is_final:
        return attempt
    attempt = yield from close(config, attempt)
    for _ in range(_TRIES):
        if attempt.occupies_order and (attempt.state.is_final or _has_begun(attempt)):
            break
        # Late money of an older attempt may occupy the order now, or somebody has begun another.
        try:
            following = yield from latest(order_ref)
        except StoreError:  # Alipay+ was called: return what is known
            break
        if following is None or following.payment_request_id == attempt.payment_request_id:
            break
        is_open = not following.state.is_final
        attempt = (yield from close(config, following)) if is_open else following
    return attempt


def _claimed_step(config: PaymentConfig, attempt: Attempt, *, closing: bool) -> Flow[Attempt]:
    mine = yield from take_claim(config, attempt)
    if mine is not None:
        return (yield from step_or_stored(config, mine, closing=closing))
    attempt = yield from reread(attempt)
    if not closing or attempt.client_id not in config.accounts:
        return attempt
    waited = 0.0
    # What the other worker hears counts: the payment may have been paid.
    while waited < config.timing.inquiry_timeout and _can_be_closed(attempt):
        yield from sleep(_PAUSE)
        waited += _PAUSE
        attempt = yield from reread(attempt)
        mine = yield from take_claim(config, attempt)
        if mine is not None:
            return (yield from step_or_stored(config, mine, closing=True))
    return (yield from _decide(attempt))


def _can_be_closed(attempt: Attempt) -> bool:
    """Return whether an attempt is open and nobody has decided about it yet."""
    return not (_has_begun(attempt) or attempt.state.is_final)


def _has_begun(attempt: Attempt) -> bool:
    """Return whether to close it was decided before, or is for a person to decide."""
    is_closing = attempt.state is State.CLOSING or attempt.is_doubted
    return is_closing or attempt.disputed is not None


def _decide(attempt: Attempt) -> Flow[Attempt]:
    """Store the decision to close an attempt whose claim another worker does not give back.

    `reconcile` cancels it then. Otherwise the end of that claim would forget the decision, and the
    code could be paid until it expires.
    """
    for _ in range(_TRIES):
        if not _can_be_closed(attempt):
            break
        # If the claim has changed since it was read, nothing happens.
        decision = decision_to_close(attempt, (yield from now()))
        attempt = yield from record_observation(attempt.payment_request_id, decision)
    return attempt


def step_or_stored(config: PaymentConfig, mine: Attempt, *, closing: bool = False) -> Flow[Attempt]:
    """Do what `step` does, but return the stored attempt if the store or a hook fails.

    Alipay+ was called: an error would tell the caller that nothing had happened. But it is raised
    if `closing` was not decided: otherwise the caller would believe that somebody closes it.
    """
    try:
        return (yield from step(config, mine, closing=closing))
    except (StoreError, HookError) as error:
        failure = error
        log.exception(
            "payment %s: what Alipay+ said could not be stored: %s; it is asked again until it can "
            "be, see to the hook or the store",
            mine.payment_request_id,
            error,
            extra={"event": "answer_not_stored", "payment_request_id": mine.payment_request_id},
        )
    try:
        stored = yield from reread(mine)
    except StoreError:
        stored = mine  # without the store this is all that is known
    if closing and _can_be_closed(stored):
        raise failure
    return stored


def step(config: PaymentConfig, mine: Attempt, *, closing: bool = False) -> Flow[Attempt]:
    """Advance an attempt whose claim is held; `closing` closes it even before expiry.

    Raises StoreError and HookError if an answer cannot be recorded.
    """
    holder = ClaimHolder(config, mine)
    moment = yield from now()
    if mine.disputed is not None and mine.state is not State.CLOSING:
        # A person decides: the buyer may have paid, so it is not cancelled.
        return (yield from _ask(holder))
    if mine.state is State.CLOSING:  # the decision is durable: repeat it until S
        return (yield from cancel(holder))
    if closing or moment >= mine.expires_at:
        return (yield from close_claimed(holder, wanted=closing))
    if mine.state is State.CREATED:
        return (yield from _resend(holder))
    return (yield from _ask(holder))


def _resend(holder: ClaimHolder) -> Flow[Attempt]:
    """Send the stored pay request again and record the answer."""
    timing = holder.timing
    try:
        observation = yield from holder.send_pay()
    except (NotSent, OutcomeUnknown) as error:
        return (yield from holder.give_back(timing.retry_pay, error))
    is_open = observation.outcome is Outcome.IN_PROCESS  # no code yet, so pay is repeated soon
    return (
        yield from holder.record(observation, timing.retry_pay if is_open else timing.first_inquiry)
    )


def _ask(holder: ClaimHolder) -> Flow[Attempt]:
    """Inquire and record the answer."""
    timing = holder.timing
    is_disputed = holder.attempt.disputed is not None
    pause = timing.after_conflict if is_disputed else timing.inquiry
    try:
        observation = yield from holder.inquire()
    except (NotSent, OutcomeUnknown) as error:
        return (yield from holder.give_back(pause, error))
    return (yield from holder.record(observation, pause))
