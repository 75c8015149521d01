"""What a visitor is told about an attempt: as a page and as JSON, from the same view."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from aplus_adapters.payments.model import Attempt, State
from aplus_adapters.payments.observations import ORDER_NOT_EXIST
from aplus_adapters.protocol.results import look_up
from aplus_adapters.web.page import PageState, PageView

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["page_state", "status_json", "view_of"]

_PAYABLE_ANEW = (
    PageState.FAILED,
    PageState.EXPIRED,
    PageState.CANCELLED,
    PageState.RETURNED,
    PageState.REFUNDED,
)
_CLOCKS_AGREE = timedelta(seconds=5)  # by which clocks of several machines may differ
_CLOSED_BY_TIME = ("ORDER_IS_CLOSED", ORDER_NOT_EXIST)


def page_state(attempt: Attempt, now: datetime) -> PageState:
    """Return what to show; `now` is aware. An expired attempt's code is never shown.

    Neither is that of an attempt which was changed in the future: then this machine's clock is
    behind those of others, and does not know when the code expires.
    """
    expired = now >= attempt.expires_at or attempt.changed_at - now > _CLOCKS_AGREE
    if attempt.disputed is not None:
        return PageState.REFUNDED if attempt.is_refunded else PageState.CONFLICT
    match attempt.state:
        case State.SUCCEEDED:
            return PageState.REFUNDED if attempt.is_refunded else PageState.PAID
        case State.CANCELLED | State.FAILED if attempt.success_reported:
            return PageState.RETURNED
        case State.CLOSING:
            return PageState.CHECKING
        case State.FAILED:
            code = attempt.result.result_code if attempt.result else ""
            return PageState.EXPIRED if code in _CLOSED_BY_TIME else PageState.FAILED
        case State.CANCELLED:
            late = attempt.changed_at >= attempt.expires_at
            return PageState.EXPIRED if late else PageState.CANCELLED
        case State.PENDING:
            return PageState.CHECKING if expired else PageState.WAITING
        case State.CREATED:
            return PageState.CHECKING if expired else PageState.RETRYING


def view_of(attempt: Attempt, now: datetime, shop_name: str | None) -> PageView:
    """Return everything that the page shows; links are relative to it, so that no mount matters."""
    state = page_state(attempt, now)
    request = attempt.request
    code = attempt.order_code.text if attempt.order_code else None
    shown = code if state is PageState.WAITING else None
    merchant = request.order.merchant
    if shop_name is None and merchant is not None:
        shop_name = merchant.merchant_display_name or merchant.merchant_name
    over = state in _PAYABLE_ANEW
    request_id = attempt.payment_request_id
    return PageView(
        state=state,
        payment_request_id=request_id,
        order_ref=attempt.order_ref,
        description=request.order.order_description,
        shop_name=shop_name,
        amount=attempt.amount,
        code_text=shown,
        expires_at=attempt.expires_at,
        now=now,
        status_url=f"{request_id}/status",
        assets_url="../assets",
        new_code_url=f"{request_id}/new" if over else None,
        return_url=_return_url(attempt, request.payment_redirect_url),
        wallet_url=shown if shown and shown.startswith("https://") else None,
        message=look_up(attempt.result).buyer_message
        if state is PageState.FAILED and attempt.result
        else None,
    )


def status_json(view: PageView, attempt: Attempt) -> dict[str, Any]:
    """Return what a till or a single-page app needs; absent things are null."""
    return {
        "paymentRequestId": view.payment_request_id,
        "orderRef": view.order_ref,
        "state": view.state.value,
        "amount": view.amount.to_wire(),
        "description": view.description,
        "code": view.code_text,
        "codeImages": dict(attempt.order_code.images)
        if attempt.order_code and view.code_text
        else {},
        "expiresAt": attempt.expires_at.astimezone(UTC).isoformat(),
        "serverTime": view.now.astimezone(UTC).isoformat(),
        "message": view.message,
        "paidAt": attempt.payment_time.text if attempt.payment_time else None,
    }


def _return_url(attempt: Attempt, url: str | None) -> str | None:
    """Return the shop's own address to go back to; not the page itself."""
    return None if url is None or url.endswith(f"/{attempt.payment_request_id}") else url
