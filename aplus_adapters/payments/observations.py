"""Turn verified messages into observations: what each says of the payment."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.payments.model import (
    CANCEL_WINDOW_EXCEED,
    Observation,
    OrderCode,
    Outcome,
    RefundObservation,
    RefundOutcome,
    RefundState,
    Source,
    State,
)
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.inquiry import UnreadTransaction
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from aplus_adapters.payments.flows.gateway_call import Answered
    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.protocol.messages.cancel import CancelResponse
    from aplus_adapters.protocol.messages.inquiry import InquiryResponse, Transaction
    from aplus_adapters.protocol.messages.notification import PaymentNotification
    from aplus_adapters.protocol.messages.pay import OrderCodeForm, PayResponse
    from aplus_adapters.protocol.messages.refund import RefundResponse
    from aplus_adapters.protocol.messages.result import Result

__all__ = [
    "ORDER_NOT_EXIST",
    "may_be_carried_out",
    "observe_cancel",
    "observe_inquiry",
    "observe_notification",
    "observe_pay",
    "observe_refund",
    "observe_transaction",
]

ORDER_NOT_EXIST = "ORDER_NOT_EXIST"
# A code lives for 3 minutes; with a faulty time such as the year 9999 it would never expire.
_FARTHEST = timedelta(days=1)
_FINAL = {"S": Outcome.SUCCEEDED, "F": Outcome.FAILED}  # U decides nothing

log = logging.getLogger("aplus_adapters")


def observe_pay(answered: Answered[PayResponse], attempt: Attempt, at: datetime) -> Observation:
    """Read the answer to pay: an order code, or a refusal.

    The normal result is U with PAYMENT_IN_PROCESS and a code. S with a code counts as well; without
    a code anything but F says nothing yet. The life of the code is measured by Alipay+'s clock
    alone (expireTime minus Response-Time), then counted from `at` by ours. Source: the seed page.
    """
    response, said_at = answered.message, answered.said_at
    observation = Observation(
        source=Source.PAY,
        outcome=Outcome.IN_PROCESS,
        at=at,
        client_id=attempt.client_id,
        result=response.result,
        payment_id=response.payment_id,
        amount=response.payment_amount,
        said_at=said_at,
        claim=attempt.claim,
    )
    if response.result.result_status == "F":
        return evolve(observation, outcome=Outcome.REFUSED)
    form = response.order_code_form
    if form is None or not form.code_details:
        return observation
    expires_at = _expiry(form, said_at)
    return evolve(
        observation,
        outcome=Outcome.CODE_ISSUED,
        order_code=_order_code(form, expires_at),
        # Both times are Alipay+'s own, so a wrong clock of ours changes no code's life.
        expires_at=at + (expires_at - said_at),
    )


def observe_notification(
    notification: PaymentNotification, at: datetime, client_id: str
) -> Observation:
    """Read a notification: S and F are final, anything else says nothing (it should not come)."""
    return Observation(
        source=Source.NOTIFICATION,
        outcome=_payment_outcome(notification.payment_result),
        at=at,
        client_id=client_id,
        result=notification.payment_result,
        payment_id=notification.payment_id,
        amount=notification.payment_amount,
        payment_time=notification.payment_time,
        wallet=notification.wallet_brand_name,
    )


def observe_inquiry(
    answered: Answered[InquiryResponse],
    attempt: Attempt,
    at: datetime,
    ours: Sequence[Refund] = (),
) -> Observation | None:
    """Read the answer to an inquiry; None if the call itself failed and says nothing.

    `result` is the call, `payment_result` the payment (protocol, "Sibling calls"). A payment whose
    refunds, made elsewhere, add up to its amount was returned. If they may do so, as one of them is
    under way or cannot be read, the observation has no amount: what is left is not clear. Nor is it
    if the answer has no amount of the payment: the stored one may not be what was paid. `ours`
    are our own refunds; while one of them is listed that we have not settled, it says nothing.
    """
    response = answered.message
    result = response.result
    # Not known, or not known yet: the pay request may still be on its way.
    if result.result_code == ORDER_NOT_EXIST:
        outcome = Outcome.ABSENT
    elif result.result_status == "S" and response.payment_result is not None:
        result = response.payment_result
        outcome = _payment_outcome(result)
    else:
        return None
    amount, given_back = response.payment_amount, None
    if outcome is Outcome.SUCCEEDED and attempt.state is not State.SUCCEEDED:
        states = {refund.refund_request_id: refund.state for refund in ours}
        listed = response.transactions or ()
        done = [one for one in listed if _is_done(one)]
        if any(_state_of(one, states) is RefundState.CREATED for one in done):
            return None  # it may all have been given back
        paid = amount or attempt.amount
        back = _given_back(done, paid)
        # One that Alipay+ had refused to us was carried out all the same.
        unknown = [one for one in done if _state_of(one, states) is not RefundState.SUCCEEDED]
        given_back = _given_back(unknown, paid)
        # Alipay+ still says S. Told "paid", the shop would deliver what was given back.
        if amount is not None and back is not None and back.value >= paid.value:
            outcome = Outcome.RETURNED
        elif _may_be_all(listed, paid):
            amount = given_back = None
    return Observation(
        source=Source.INQUIRY,
        outcome=outcome,
        at=at,
        client_id=attempt.client_id,
        result=result,
        payment_id=response.payment_id,
        amount=amount,
        payment_time=response.payment_time,
        wallet=response.wallet_brand_name,
        given_back=given_back,
        said_at=answered.said_at,
        claim=attempt.claim,
    )


def observe_cancel(
    answered: Answered[CancelResponse], attempt: Attempt, at: datetime
) -> Observation | None:
    """Read the answer to a cancellation; None if it says nothing: only S closes the payment.

    CANCEL_WINDOW_EXCEED is the one refusal that stays: a cancellation that is still on its way
    would be refused as well.
    """
    result = answered.message.result
    if result.result_status == "S":
        outcome = Outcome.CANCELLED
    elif result.result_code == ORDER_NOT_EXIST:
        outcome = Outcome.ABSENT
    elif result.result_status == "F" and result.result_code == CANCEL_WINDOW_EXCEED:
        outcome = Outcome.CANCEL_REFUSED
    else:
        return None
    return Observation(
        source=Source.CANCEL,
        outcome=outcome,
        at=at,
        client_id=attempt.client_id,
        result=result,
        said_at=answered.said_at,
        claim=attempt.claim,
    )


def observe_refund(
    answered: Answered[RefundResponse], refund: Refund, at: datetime
) -> RefundObservation | None:
    """Read the answer to a refund; None for U, which says nothing yet."""
    response = answered.message
    status = response.result.result_status
    if status not in ("S", "F"):
        return None
    return RefundObservation(
        source=Source.REFUND,
        outcome=RefundOutcome.REFUNDED if status == "S" else RefundOutcome.REFUND_REFUSED,
        at=at,
        client_id=refund.client_id,
        result=response.result,
        amount=response.refund_amount,
        said_at=answered.said_at,
        claim=refund.claim,
        refund_request_id=refund.refund_request_id,
        refund_id=response.refund_id,
    )


def observe_transaction(
    answered: Answered[InquiryResponse], refund: Refund, at: datetime
) -> RefundObservation | None:
    """Read what an inquiry's transactions say of a refund; None if it is not among them."""
    # Alipay+ notifies us of no refund: the only other word on one is in an inquiry.
    for transaction in answered.message.transactions or ():
        if transaction.transaction_request_id == refund.refund_request_id and _is_done(transaction):
            return RefundObservation(
                source=Source.INQUIRY,
                outcome=RefundOutcome.REFUNDED,
                at=at,
                client_id=refund.client_id,
                result=transaction.transaction_result,
                amount=transaction.transaction_amount,
                said_at=answered.said_at,
                claim=refund.claim,
                refund_request_id=refund.refund_request_id,
                refund_id=transaction.transaction_id,
            )
    return None


def may_be_carried_out(answered: Answered[InquiryResponse], refund: Refund) -> bool:
    """Return whether an inquiry lists a refund as one that has not failed, or may list it."""
    return any(
        isinstance(one, UnreadTransaction)
        or (one.transaction_request_id == refund.refund_request_id and not _has_failed(one))
        for one in answered.message.transactions or ()
    )


def _expiry(form: OrderCodeForm, said_at: datetime) -> datetime:
    """Return when the code expires by Alipay+'s clock; ignore a time over a day away."""
    expires_at = form.expire_time.moment if form.expire_time else said_at + DEFAULT_EXPIRY
    if abs(expires_at - said_at) <= _FARTHEST:
        return expires_at
    log.warning(
        "orderCodeForm.expireTime: found %s, expected 3 minutes at most",
        form.expire_time,
        extra={"event": "expiry_implausible"},
    )
    return said_at + DEFAULT_EXPIRY


def _payment_outcome(result: Result) -> Outcome:
    # An inquiry may say so in paymentResult, where it is not a payment that failed.
    if result.result_code == ORDER_NOT_EXIST:
        return Outcome.ABSENT
    return _FINAL.get(result.result_status, Outcome.IN_PROCESS)


def _state_of(transaction: Transaction, states: Mapping[str, RefundState]) -> RefundState | None:
    """Return the state of our refund that a transaction is, None if it was made elsewhere."""
    return states.get(transaction.transaction_request_id or "")


def _given_back(refunds: Iterable[Transaction], paid: Amount) -> Amount | None:
    """Return the sum of the refunds in the payment's currency, at most `paid`; None if none are."""
    amounts = [
        refund.transaction_amount.value
        for refund in refunds
        if refund.transaction_amount is not None
        and refund.transaction_amount.currency == paid.currency
    ]
    return Amount(paid.currency, min(sum(amounts), paid.value)) if amounts else None


def _may_be_all(listed: Iterable[Transaction], paid: Amount) -> bool:
    """Return whether refunds that have not failed, known or not, may add up to what was paid."""
    refunds = [
        one
        for one in listed
        if isinstance(one, UnreadTransaction)
        or (one.transaction_type == "REFUND" and (_is_done(one) or not _has_failed(one)))
    ]
    back = _given_back(refunds, paid)
    is_unclear = any(one.transaction_amount is None for one in refunds)
    return is_unclear or (back is not None and back.value >= paid.value)


def _is_done(transaction: Transaction) -> bool:
    """Return whether a transaction is a refund that succeeded."""
    if transaction.transaction_type != "REFUND":
        return False
    if transaction.transaction_status is not None:
        return transaction.transaction_status == "SUCCESS"
    result = transaction.transaction_result
    return result is not None and result.result_status == "S"


def _has_failed(transaction: Transaction) -> bool:
    result = transaction.transaction_result
    is_refused = result is not None and result.result_status == "F"
    return is_refused or transaction.transaction_status in ("FAIL", "FAILED")


def _order_code(form: OrderCodeForm, expires_at: datetime) -> OrderCode:
    return OrderCode(
        # By their type, as the details come in any order.
        text=form.value("TEXT"),
        images=tuple(
            (detail.display_type, detail.code_value)
            for detail in form.code_details
            if detail.display_type != "TEXT"
        ),
        expires_at=expires_at,
    )
