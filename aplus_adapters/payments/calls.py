"""One call each for pay, inquiry, cancellation and refund, for programs without store and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.errors import InvalidValue, Rejected
from aplus_adapters.payments.effects import now
from aplus_adapters.payments.flows.gateway_call import R, exchange
from aplus_adapters.protocol.messages.pay import PayRequest, check_expiry
from aplus_adapters.protocol.results import look_up

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.policy import Retry
    from aplus_adapters.protocol.account import Account
    from aplus_adapters.protocol.messages.cancel import CancelRequest
    from aplus_adapters.protocol.messages.inquiry import InquiryRequest
    from aplus_adapters.protocol.messages.refund import RefundRequest

__all__ = ["call"]


def call(
    account: Account,
    request: PayRequest | InquiryRequest | CancelRequest | RefundRequest,
    response: type[R],
    *,
    retry: Retry,
    timeout: float,
) -> Flow[R]:
    """Send a request until a verified answer says something, and give that answer.

    Raises Rejected for a verified F (never repeated), NotSent or OutcomeUnknown when `retry` is
    used up, InvalidValue before anything is sent.
    """
    if isinstance(request, PayRequest):
        check_expiry(request.payment_expiry_time, (yield from now()))
        _check_settlement(account, request)
    answered = yield from exchange(
        account, request.path, request.encode(), response, retry=retry, timeout=timeout
    )
    answer = answered.message
    if answer.result.result_status == "F":
        known = look_up(answer.result)
        raise Rejected(
            f"{request.path}: {answer.result}: {known.meaning} To do: {known.advice}",
            result=answer.result,
        )
    return answer


def _check_settlement(account: Account, request: PayRequest) -> None:
    """Refuse a payment without the strategy that its settlement needs (seed page)."""
    wanted, paid = account.settlement_currency, request.payment_amount.currency
    if wanted and wanted != paid and request.settlement_strategy is None:
        raise InvalidValue(
            f"PayRequest.settlementStrategy: missing, required as the account settles in {wanted} "
            f"and the payment is in {paid}; pass SettlementStrategy(settlement_currency={wanted!r})"
        )
