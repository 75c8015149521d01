"""Build the one view of an attempt that a visitor sees as a page and as JSON."""

from __future__ import annotations

from datetime import UTC, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aplus_adapters.payments.model import Attempt, State
from aplus_adapters.payments.observations import ORDER_NOT_EXIST
from aplus_adapters.protocol.results import Reason, look_up

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount

__all__ = ["PageState", "PageView", "page_state", "status_json", "view_of"]


class PageState(StrEnum):
    """What a buyer sees."""

    WAITING = "waiting"
    RETRYING = "retrying"
    CHECKING = "checking"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    RETURNED = "returned"  # paid while it was cancelled: the money goes back
    REFUNDED = "refunded"  # paid, and all of it was given back
    CONFLICT = "conflict"  # Alipay+ says paid, we cannot say so: a person decides

    @property
    def is_over(self) -> bool:
        """Return whether the page can stop asking for the status."""
        return self not in (PageState.WAITING, PageState.RETRYING, PageState.CHECKING)


@frozen(kw_only=True)
class PageView:
    """All that the page shows. Times are aware; addresses may be relative to the page's own.

    `code_text` is what the QR code says, only while it may be scanned. `now` is the server's clock
    and `expires_at` the end of the code, None if it has none. `assets_url` has no trailing slash.
    `new_code_url` is where the form for another code is posted, None if there is none to be had.
    `wallet_url` opens the wallet on a phone and is offered only if it is https. `reason` is why the
    payment failed, as far as a buyer may know. `poll_seconds` is the first pause between two
    questions for the status.
    """

    state: PageState
    payment_request_id: str
    order_ref: str
    description: str
    shop_name: str | None
    amount: Amount
    code_text: str | None = field(repr=False)
    expires_at: datetime | None
    now: datetime
    status_url: str
    assets_url: str
    new_code_url: str | None
    return_url: str | None
    wallet_url: str | None = field(repr=False)
    reason: Reason | None
    poll_seconds: float = 2.0


_PAYABLE_ANEW = (
    PageState.FAILED,
    PageState.EXPIRED,
    PageState.CANCELLED,
    PageState.RETURNED,
    PageState.REFUNDED,
)
_CLOCKS_AGREE = timedelta(seconds=5)  # the clocks of several machines may differ so much
_CLOSED_BY_TIME = ("ORDER_IS_CLOSED", ORDER_NOT_EXIST)


def page_state(attempt: Attempt, now: datetime) -> PageState:
    """Return what to show; `now` is aware. An expired attempt's code is never shown.

    The code of an attempt that was changed in the future is not shown either: this machine's clock
    is behind the others, and does not know when the code expires.
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
        reason=look_up(attempt.result).reason
        if state is PageState.FAILED and attempt.result
        else None,
    )


def status_json(view: PageView, attempt: Attempt, message: str | None) -> dict[str, Any]:
    """Return what a till or a single-page app needs; absent things are null.

    `message` is the sentence for the view's `reason`, in the buyer's language.
    """
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
        "reason": view.reason,
        "message": message,
        "paidAt": attempt.payment_time.text if attempt.payment_time else None,
    }


def _return_url(attempt: Attempt, url: str | None) -> str | None:
    """Return the shop's address to go back to; None if it is the page itself."""
    return None if url is None or url.endswith(f"/{attempt.payment_request_id}") else url
