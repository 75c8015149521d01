"""Bringing an open attempt nearer to its end: send pay again, inquire, or close it.

Whoever calls (the page's poll, `reconcile`, a buyer who wants a new code), it goes through here,
and only who holds the attempt's claim talks to Alipay+. How an attempt is closed is the table of
protocol, "Time": by a final result, or by a cancelPayment that is answered S and that was made
durable as CLOSING before it was sent.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import HookError, NotSent, OutcomeUnknown, StoreError
from aplus_adapters.payments.effects import claim, get, now, release
from aplus_adapters.payments.flows.gateway_call import R, exchange
from aplus_adapters.payments.flows.record import settle
from aplus_adapters.payments.model import Attempt, News, Observation, Source, State
from aplus_adapters.payments.observations import observe_cancel, observe_inquiry, observe_pay
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse
from aplus_adapters.protocol.results import look_up

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.gateway_call import Answered
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.protocol.account import Account

__all__ = ["close", "follow_up", "inquired", "step", "step_or_stored", "take_claim"]

log = logging.getLogger("aplus_adapters")

_ONCE = Retry(pauses=())  # the next claim is the retry
_ENDS = (News.SUCCEEDED, News.FAILED, News.CANCELLED, News.RETURNED)


def follow_up(setup: Setup, attempt: Attempt) -> Flow[Attempt]:
    """Claim the attempt if it is time, do the next step, and return the attempt as it is then.

    Before expiry an attempt without an answer is sent again, byte for byte, and one with a code is
    inquired about. After expiry it is inquired about and, still open, closed. Whatever goes wrong
    once Alipay+ was called, the stored attempt is returned and a later call goes on with it.
    """
    moment = yield from now()
    if not setup.is_due(attempt, moment):
        return attempt
    return (yield from _claimed_step(setup, attempt, closing=False))


def close(setup: Setup, attempt: Attempt, *, wanted: bool = True) -> Flow[Attempt]:
    """Close the attempt, unless another worker holds its claim: inquire, then cancel.

    `wanted` False closes it only if it has expired. The attempt is closed only when the answer's
    state is final: otherwise ask again later. What is being closed already, or was asked about
    after its expiry, is tried again only after its pause, however often this is called.
    """
    moment = yield from now()
    has_begun = attempt.state is State.CLOSING or attempt.disputed is not None
    if (has_begun or not wanted) and not setup.is_due(attempt, moment):
        return attempt
    return (yield from _claimed_step(setup, attempt, closing=wanted))


def _claimed_step(setup: Setup, attempt: Attempt, *, closing: bool) -> Flow[Attempt]:
    mine = yield from take_claim(setup, attempt)
    if mine is None:
        return (yield from get(attempt.payment_request_id)) or attempt
    return (yield from step_or_stored(setup, mine, closing=closing))


def take_claim(setup: Setup, attempt: Attempt) -> Flow[Attempt | None]:
    """Win the right to call Alipay+ about an attempt for `Rules.claim`; None if another has it.

    What belongs to an account that this process does not have is left to those who do.
    """
    moment = yield from now()
    if attempt.client_id not in setup.accounts or not setup.is_free(attempt, moment):
        return None
    until = moment + setup.rules.claim
    if not (yield from claim(attempt.payment_request_id, attempt.claim, until)):
        return None
    return evolve(attempt, claim=attempt.claim + 1, claimed_until=until, next_call_at=until)


def step_or_stored(setup: Setup, mine: Attempt, *, closing: bool = False) -> Flow[Attempt]:
    """Do what `step` does; return the stored attempt where store or hook fail after the call.

    What Alipay+ said is asked for again: an error here must not look as if nothing had happened.
    """
    try:
        return (yield from step(setup, mine, closing=closing))
    except (StoreError, HookError) as error:
        log.exception(
            "payment %s: what Alipay+ said could not be stored: %s; it is asked again until it can "
            "be, see to the hook or the store",
            mine.payment_request_id,
            error,
            extra={"payment_request_id": mine.payment_request_id},
        )
    try:
        return (yield from get(mine.payment_request_id)) or mine
    except StoreError:
        return mine


def step(setup: Setup, mine: Attempt, *, closing: bool = False) -> Flow[Attempt]:
    """Do the next thing about an attempt whose claim is held; `closing` ends it before expiry.

    Raises StoreError and HookError if an answer cannot be recorded.
    """
    work = _Step(setup, mine, setup.account(mine.client_id))
    moment = yield from now()
    if mine.disputed is not None and mine.state is not State.CLOSING:
        return (yield from work.ask())  # a person decides; never cancelled behind the buyer's back
    if mine.state is State.CREATED and not closing and moment < mine.expires_at:
        return (yield from work.pay())
    if mine.state is State.CLOSING:
        return (yield from work.cancel())
    return (yield from work.close(wanted=closing))


class _Step:
    """One worker's calls about one attempt under one claim."""

    def __init__(self, setup: Setup, mine: Attempt, account: Account) -> None:
        self._setup, self._rules, self._account = setup, setup.rules, account
        self._attempt, self._id = mine, mine.payment_request_id

    def pay(self) -> Flow[Attempt]:
        """Send the stored request, for its code."""
        try:
            observation = yield from self._send_pay()
        except (NotSent, OutcomeUnknown) as error:
            return (yield from self._later(self._rules.retry_pay, error))
        wait = self._rules.first_inquiry
        if observation.news is News.IN_PROCESS:
            wait = self._rules.retry_pay
        return (yield from self._record(observation, wait))

    def ask(self) -> Flow[Attempt]:
        """Inquire, and record what it brings."""
        try:
            observation = yield from self._inquire()
        except (NotSent, OutcomeUnknown) as error:
            return (yield from self._later(self._rules.inquiry, error))
        wait = self._rules.inquiry
        if self._attempt.disputed is not None:
            wait = self._rules.after_conflict
        return (yield from self._record(observation, wait))

    def close(self, *, wanted: bool) -> Flow[Attempt]:
        """Inquire; unless that brings the end, decide durably to cancel, then cancel.

        `wanted` closes even before expiry. Otherwise the code has to have expired by Alipay+'s
        clock as far as its answer tells, or by ours where no answer comes: a clock of ours that
        goes wrong does not take a code from a buyer who looks at it.
        """
        moment = yield from now()
        if not wanted and moment < self._attempt.expires_at:
            return (yield from self.ask())
        try:
            observation = yield from self._inquire()
        except (NotSent, OutcomeUnknown) as error:
            if not wanted and moment < self._attempt.expires_at + self._rules.grace:
                return (yield from self._later(self._rules.inquiry, error))
            log.warning("payment %s: %s; it is cancelled", self._id, error, extra=self._ids())
        else:
            lives_for = _lives_for(self._attempt, observation)
            if observation.news in _ENDS:
                return (yield from self._record(observation, self._rules.inquiry))
            if not wanted and lives_for > timedelta(0):
                observation = evolve(observation, expires_at=observation.at + lives_for)
                return (yield from self._record(observation, self._rules.inquiry))
        attempt = yield from self._intend(wanted=wanted)
        if attempt.state is not State.CLOSING or attempt.claim != self._attempt.claim:
            return attempt
        self._attempt = attempt
        return (yield from self.cancel())

    def cancel(self) -> Flow[Attempt]:
        """Send cancelPayment for a closing attempt, and record what it brings.

        What could not be cancelled is inquired about: its end may have come otherwise. That
        Alipay+ does not know a code which was shown counts only if the inquiry says so as well: one
        answer alone may come from a part of Alipay+ that lags behind.
        """
        pause = self._cancel_pause((yield from now()))
        try:
            cancelled = yield from self._cancelled()
            if cancelled is not None and not self._is_doubtful(cancelled):
                self._attempt = yield from self._record(cancelled, None)
            if self._attempt.state.is_final:
                return self._attempt
            observation = yield from self._inquire()
        except (NotSent, OutcomeUnknown) as error:
            return (yield from self._later(pause, error))
        if cancelled is not None and self._is_doubtful(cancelled):
            log.info("payment %s: cancelPayment does not know it", self._id, extra=self._ids())
            if observation.news is News.ABSENT:
                observation = cancelled
        return (yield from self._record(observation, pause))

    def _is_doubtful(self, cancelled: Observation) -> bool:
        return cancelled.news is News.ABSENT and self._attempt.order_code is not None

    def _cancelled(self) -> Flow[Observation | None]:
        """Send cancelPayment, if need be twice; return what it says, None if that is nothing.

        What Alipay+ does not know, and never gave a code for, is sent to it first: then there is
        something to cancel, and a copy of the request that is still on its way finds it cancelled.
        """
        try:
            observation = yield from self._send_cancel()
            moment = yield from now()
            is_unknown = observation.news is News.ABSENT and self._attempt.order_code is None
            if is_unknown and moment < self._attempt.expires_at:
                self._attempt = yield from self._record((yield from self._send_pay()), None)
                if self._attempt.state.is_final:
                    return None
                observation = yield from self._send_cancel()
        except (NotSent, OutcomeUnknown) as error:
            log.warning("payment %s: %s; it is asked about", self._id, error, extra=self._ids())
            return None
        return observation

    def _call(self, body: bytes, response: type[R], path: str, retry: Retry) -> Flow[Answered[R]]:
        """Call Alipay+, if the call ends within the claim: who is late leaves it to others."""
        rules = self._rules
        timeout = rules.inquiry_timeout if path == InquiryRequest.path else rules.timeout
        return (
            yield from exchange(
                self._account,
                path,
                body,
                response,
                retry=retry,
                timeout=timeout,
                until=self._attempt.claimed_until,
            )
        )

    def _inquire(self) -> Flow[Observation]:
        body = InquiryRequest(payment_request_id=self._id).encode()
        answered = yield from self._call(body, InquiryResponse, InquiryRequest.path, _ONCE)
        return inquired(answered, self._attempt, (yield from now()))

    def _intend(self, *, wanted: bool) -> Flow[Attempt]:
        moment = yield from now()
        observation = Observation(
            source=Source.SHOP,
            news=News.CLOSING,
            at=moment,
            client_id=self._attempt.client_id,
            claim=self._attempt.claim,
        )
        log.info(
            "payment %s: is closed, %s",
            self._id,
            "as it is not wanted any more" if wanted else "as it has expired",
            extra=self._ids(),
        )
        return (yield from settle(self._id, observation))

    def _send_pay(self) -> Flow[Observation]:
        body = self._attempt.request_body
        answered = yield from self._call(body, PayResponse, PayRequest.path, self._rules.pay)
        return observe_pay(answered, self._attempt, (yield from now()))

    def _send_cancel(self) -> Flow[Observation]:
        body = CancelRequest(payment_request_id=self._id).encode()
        answered = yield from self._call(body, CancelResponse, CancelRequest.path, _ONCE)
        observation = observe_cancel(answered, self._attempt, (yield from now()))
        if observation is None:
            told = answered.message.result
            raise OutcomeUnknown(
                f"cancelling {self._id}: found result {told}, expected S: {look_up(told).advice}"
            )
        return observation

    def _record(self, observation: Observation, wait: timedelta | None) -> Flow[Attempt]:
        """Record, with the next call after `wait`, or at expiry if that is sooner.

        None keeps the claim. News that should have ended the attempt and did not is a conflict:
        asking soon would bring the same again, so the next call comes late.
        """
        if wait is not None:
            expiry = observation.expires_at or self._attempt.expires_at
            following = observation.at + wait
            if observation.at < expiry < following:
                following = expiry
            observation = evolve(observation, next_call_at=following)
        after = yield from settle(self._id, observation)
        if after.disputed is not None and not after.state.is_final and wait is not None:
            later = observation.at + self._rules.after_conflict
            yield from release(self._id, observation.claim or 0, later)
            after = evolve(after, next_call_at=later)
        return after

    def _cancel_pause(self, moment: datetime) -> timedelta:
        """Return the wait before the next cancellation; when it took too long, raise the alarm."""
        waited = (moment - self._attempt.changed_at).total_seconds()
        for pause in self._rules.cancel:
            waited -= pause
            if waited < 0:
                return timedelta(seconds=pause)
        log.error(
            "payment %s: could not be closed since %s; it may still be paid. It is tried every %s; "
            "look for the payment at Alipay+, and ask its support why cancelPayment fails",
            self._id,
            self._attempt.changed_at.isoformat(),
            self._rules.after_refusal,
            extra=self._ids(),
        )
        return self._rules.after_refusal

    def _later(self, pause: timedelta, error: NotSent | OutcomeUnknown) -> Flow[Attempt]:
        """Give the claim back for `pause` from now, and say why."""
        log.warning("payment %s: %s; will be tried again", self._id, error, extra=self._ids())
        moment = yield from now()
        yield from release(self._id, self._attempt.claim, moment + pause)
        return (yield from get(self._id)) or self._attempt

    def _ids(self) -> dict[str, str]:
        return {"payment_request_id": self._id, "order_ref": self._attempt.order_ref}


def inquired(answered: Answered[InquiryResponse], attempt: Attempt, at: datetime) -> Observation:
    """Return what an inquiry says of an attempt; raise OutcomeUnknown for what says nothing."""
    response, request_id = answered.message, attempt.payment_request_id
    if response.payment_request_id not in (None, request_id):
        raise OutcomeUnknown(f"inquiry of {request_id}: found an answer about another payment")
    observation = observe_inquiry(answered, attempt, at)
    if observation is None:
        advice = look_up(response.result).advice
        raise OutcomeUnknown(f"inquiry of {request_id}: found result {response.result}: {advice}")
    return observation


def _lives_for(attempt: Attempt, observation: Observation) -> timedelta:
    """Return how long the code can still be paid by Alipay+'s clock; 0 without a code."""
    code, said_at = attempt.order_code, observation.said_at
    if code is None or code.expires_at is None or said_at is None:
        return timedelta(0)
    return code.expires_at - said_at
