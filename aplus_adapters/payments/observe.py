"""From a verified message to an observation: what it says of the payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.payments.attempt import News, Observation, OrderCode, Source

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.attempt import Refund
    from aplus_adapters.protocol.messages.cancel import CancelResponse
    from aplus_adapters.protocol.messages.inquiry import InquiryResponse
    from aplus_adapters.protocol.messages.notification import PaymentNotification
    from aplus_adapters.protocol.messages.pay import OrderCodeForm, PayResponse
    from aplus_adapters.protocol.messages.refund import RefundResponse

__all__ = [
    "ORDER_NOT_EXIST",
    "observe_cancel",
    "observe_inquiry",
    "observe_notification",
    "observe_pay",
    "observe_refund",
]

ORDER_NOT_EXIST = "ORDER_NOT_EXIST"
_FINAL = {"S": News.SUCCEEDED, "F": News.FAILED}


def observe_pay(response: PayResponse, at: datetime, client_id: str) -> Observation:
    """Read the answer to pay: an order code, or a refusal.

    The normal outcome is U with PAYMENT_IN_PROCESS; S with a code is a created code as well, and
    anything but F without a code says nothing yet. Source: the seed page.
    """
    form = response.order_code_form
    if response.result.result_status == "F":
        news = News.REFUSED
    else:
        news = News.CODE_ISSUED if form is not None else News.IN_PROCESS
    return Observation(
        source=Source.PAY,
        news=news,
        at=at,
        client_id=client_id,
        result=response.result,
        payment_id=response.payment_id,
        amount=response.payment_amount,
        order_code=None if form is None or news is News.REFUSED else _order_code(form),
        expires_at=form.expire_time.moment if form and form.expire_time else None,
    )


def observe_notification(
    notification: PaymentNotification, at: datetime, client_id: str
) -> Observation:
    """Read a notification: S and F are final, anything else says nothing (it should not come)."""
    return Observation(
        source=Source.NOTIFICATION,
        news=_FINAL.get(notification.payment_result.result_status, News.IN_PROCESS),
        at=at,
        client_id=client_id,
        result=notification.payment_result,
        payment_id=notification.payment_id,
        amount=notification.payment_amount,
        payment_time=notification.payment_time,
        wallet=notification.wallet_brand_name,
    )


def observe_inquiry(response: InquiryResponse, at: datetime, client_id: str) -> Observation | None:
    """Read the answer to an inquiry; None if the call itself failed and says nothing.

    `result` is the call, `payment_result` the payment (protocol, "Sibling calls").
    """
    if response.result.result_code == ORDER_NOT_EXIST:
        news, result = News.ABSENT, response.result
    elif response.result.result_status == "S" and response.payment_result is not None:
        result = response.payment_result
        news = _FINAL.get(result.result_status, News.IN_PROCESS)
    else:
        return None
    return Observation(
        source=Source.INQUIRY,
        news=news,
        at=at,
        client_id=client_id,
        result=result,
        payment_id=response.payment_id,
        amount=response.payment_amount,
        payment_time=response.payment_time,
        wallet=response.wallet_brand_name,
    )


def observe_cancel(response: CancelResponse, at: datetime, client_id: str) -> Observation | None:
    """Read the answer to a cancellation; None if it failed: only S closes the payment."""
    if response.result.result_code == ORDER_NOT_EXIST:
        news = News.ABSENT
    elif response.result.result_status == "S":
        news = News.CANCELLED
    else:
        return None
    return Observation(
        source=Source.CANCEL, news=news, at=at, client_id=client_id, result=response.result
    )


def observe_refund(response: RefundResponse, refund: Refund, at: datetime) -> Observation | None:
    """Read the answer to a refund; None for U, which says nothing yet."""
    status = response.result.result_status
    if status not in ("S", "F"):
        return None
    return Observation(
        source=Source.REFUND,
        news=News.REFUNDED if status == "S" else News.REFUND_REFUSED,
        at=at,
        client_id=refund.client_id,
        result=response.result,
        amount=response.refund_amount,
        refund_request_id=refund.refund_request_id,
        refund_id=response.refund_id,
    )


def _order_code(form: OrderCodeForm) -> OrderCode:
    return OrderCode(
        text=form.value("TEXT"),
        images=tuple(
            (detail.display_type, detail.code_value)
            for detail in form.code_details
            if detail.display_type != "TEXT"
        ),
    )
