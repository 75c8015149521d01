"""Inquire about a payment, which changes nothing at Alipay+."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.errors import OutcomeUnknown
from aplus_adapters.payments.effects import now, refunds
from aplus_adapters.payments.flows.gateway_call import Answered, exchange
from aplus_adapters.payments.observations import observe_inquiry
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.results import look_up

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt, Observation
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["inquire", "inquire_once"]


def inquire_once(
    config: PaymentConfig, client_id: str, payment_request_id: str, *, until: datetime | None
) -> Flow[Answered[InquiryResponse]]:
    """Send one inquiry, if it ends before `until`, and return the verified answer.

    It is not repeated: whoever holds the next claim asks again. Raises OutcomeUnknown for an answer
    about another payment, and what `exchange` raises.
    """
    answered = yield from exchange(
        config.account(client_id),
        InquiryRequest.path,
        InquiryRequest(payment_request_id=payment_request_id).encode(),
        InquiryResponse,
        retry=Retry(pauses=()),
        timeout=config.timing.inquiry_timeout,
        until=until,
        payment_request_id=payment_request_id,
    )
    # The signature does not cover our question: an answer to another one verifies as well.
    if answered.message.payment_request_id not in (None, payment_request_id):
        raise OutcomeUnknown(
            f"inquiry of {payment_request_id}: found an answer about another payment, expected "
            "one about this"
        )
    return answered


def inquire(config: PaymentConfig, attempt: Attempt) -> Flow[Observation]:
    """Return what Alipay+ says of a claimed attempt; raise OutcomeUnknown if it says nothing."""
    request_id = attempt.payment_request_id
    answered = yield from inquire_once(
        config, attempt.client_id, request_id, until=attempt.claimed_until
    )
    # A refund of ours may be among them: of disputed money, also of what came meanwhile.
    ours = (yield from refunds(request_id)) if answered.message.transactions else ()
    observation = observe_inquiry(answered, attempt, (yield from now()), ours)
    if observation is None:
        result = answered.message.result
        raise OutcomeUnknown(
            f"inquiry of {request_id}: found result {result}: {look_up(result).advice}"
        )
    return observation
