"""The claim of an attempt: its holder calls Alipay+, records the answer and releases the claim."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.errors import OutcomeUnknown
from aplus_adapters.payments.effects import claim, now, release, reread
from aplus_adapters.payments.flows.gateway_call import R, exchange
from aplus_adapters.payments.flows.inquiry import inquire
from aplus_adapters.payments.flows.record import record_observation
from aplus_adapters.payments.model import State
from aplus_adapters.payments.observations import observe_cancel, observe_pay
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse
from aplus_adapters.protocol.results import look_up

if TYPE_CHECKING:
    from datetime import timedelta

    from aplus_adapters.errors import NotSent
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.gateway_call import Answered
    from aplus_adapters.payments.model import Attempt, Observation
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["ClaimHolder", "take_claim"]

log = logging.getLogger("aplus_adapters")


def take_claim(config: PaymentConfig, attempt: Attempt) -> Flow[Attempt | None]:
    """Claim an attempt for `Timing.claim`; return it as claimed, None if another worker has it.

    Returns None as well for an attempt of an account that this process does not have.
    """
    moment = yield from now()
    if attempt.client_id not in config.accounts or not config.is_free(attempt, moment):
        return None
    until = moment + config.timing.claim
    if not (yield from claim(attempt.payment_request_id, attempt.claim, until)):
        return None
    # This is what the store has written; to read it would cost a message more.
    return evolve(attempt, claim=attempt.claim + 1, claimed_until=until, next_call_at=until)


def _waits_for_a_person(attempt: Attempt) -> bool:
    """Return whether an attempt is disputed, and nothing is under way that may settle it."""
    is_open = not attempt.state.is_final and attempt.state is not State.CLOSING
    return is_open and attempt.disputed is not None


class ClaimHolder:
    """The worker that may call Alipay+ about `attempt`; `record` updates it."""

    def __init__(self, config: PaymentConfig, attempt: Attempt) -> None:
        self.timing, self.attempt = config.timing, attempt
        self._config = config

    @property
    def request_id(self) -> str:
        """Return the paymentRequestId of the attempt."""
        return self.attempt.payment_request_id

    @property
    def log_ids(self) -> dict[str, str]:
        """Return the ids for the `extra` of each log line."""
        return {"payment_request_id": self.request_id, "order_ref": self.attempt.order_ref}

    def send_pay(self) -> Flow[Observation]:
        """Send the stored pay request, byte for byte."""
        answered = yield from self._call(
            PayRequest.path, self.attempt.request_body, PayResponse, self.timing.pay
        )
        return observe_pay(answered, self.attempt, (yield from now()))

    def inquire(self) -> Flow[Observation]:
        """Inquire about the payment; raise OutcomeUnknown if the answer does not state it."""
        return inquire(self._config, self.attempt)

    def send_cancel(self) -> Flow[Observation]:
        """Send cancelPayment once; raise OutcomeUnknown if the answer does not decide."""
        # Not stored: it holds the id alone, and cancelPayment may be repeated in any state.
        body = CancelRequest(payment_request_id=self.request_id).encode()
        # Sent once: `Timing.cancel` plans the repeats.
        answered = yield from self._call(CancelRequest.path, body, CancelResponse, Retry(pauses=()))
        observation = observe_cancel(answered, self.attempt, (yield from now()))
        if observation is None:
            result = answered.message.result
            raise OutcomeUnknown(
                f"cancelling {self.request_id}: found result {result}, expected S: "
                f"{look_up(result).advice}"
            )
        return observation

    def record(self, observation: Observation, wait: timedelta | None) -> Flow[Attempt]:
        """Record an observation and plan the next call after `wait`, or at expiry if sooner.

        `wait` None keeps the claim. A disputed attempt is asked about after `after_conflict`
        instead, unless it is being closed: an earlier inquiry would bring the same answer.
        """
        if wait is not None:
            expiry = observation.expires_at or self.attempt.expires_at
            following = observation.at + wait
            # At its expiry the attempt has to be closed, however long the usual pause is.
            if observation.at < expiry < following:
                following = expiry
            observation = evolve(observation, next_call_at=following)
        after = yield from record_observation(self.request_id, observation)
        if wait is not None and _waits_for_a_person(after):
            after = yield from self.plan(after, self.timing.after_conflict)
        mine = self.attempt  # keep our own token: the stored claim may be another worker's by now
        self.attempt = evolve(after, claim=mine.claim, claimed_until=mine.claimed_until)
        return after

    def plan(self, attempt: Attempt, pause: timedelta) -> Flow[Attempt]:
        """Release the claim of a recorded attempt; the next call is due `pause` from now."""
        if attempt.state.is_final:
            return attempt
        pause = self.timing.after_conflict if _waits_for_a_person(attempt) else pause
        next_call_at = (yield from now()) + pause
        # Under the token that asked: a newer claim of another worker is left alone.
        yield from release(self.request_id, self.attempt.claim, next_call_at)
        return evolve(attempt, next_call_at=next_call_at)

    def give_back(self, pause: timedelta, error: NotSent | OutcomeUnknown) -> Flow[Attempt]:
        """Release the claim after an error; the next call is due `pause` from now."""
        log.warning(
            "payment %s: %s; will be tried again",
            self.request_id,
            error,
            extra={"event": "call_unanswered", **self.log_ids},
        )
        moment = yield from now()
        yield from release(self.request_id, self.attempt.claim, moment + pause)
        return (yield from reread(self.attempt))

    def _call(self, path: str, body: bytes, response: type[R], retry: Retry) -> Flow[Answered[R]]:
        """Call Alipay+; raise NotSent if the call could outlast the claim."""
        return exchange(
            self._config.account(self.attempt.client_id),
            path,
            body,
            response,
            retry=retry,
            timeout=self.timing.timeout,
            until=self.attempt.claimed_until,
            payment_request_id=self.request_id,
        )
