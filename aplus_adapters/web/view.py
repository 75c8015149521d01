"""The view of an attempt that a visitor may see: the page and the JSON are made from it."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from aplus_adapters.payments.model import Attempt, State
from aplus_adapters.payments.observations import ORDER_NOT_EXIST
from aplus_adapters.protocol.results import Reason, look_up

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount

__all__ = ["PageState", "PageView", "opens_wallet", "page_state", "view_of"]


class PageState(StrEnum):
    """The state of a payment as a buyer sees it."""

    WAITING = "waiting"
    RETRYING = "retrying"
    CHECKING = "checking"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    RETURNED = "returned"  # paid during the cancellation, which returns the money
    REFUNDED = "refunded"  # paid, and all of it was refunded
    CONFLICT = "conflict"  # Alipay+ reports a payment that our records exclude: a person decides

    @property
    def is_over(self) -> bool:
        """Return whether the page may stop asking for the status."""
        return self not in (PageState.WAITING, PageState.RETRYING, PageState.CHECKING)

    @property
    def has_receipt(self) -> bool:
        """Return whether money was paid and our records agree, so that a receipt is true."""
        return self in (PageState.PAID, PageState.REFUNDED)


@frozen(kw_only=True)
class PageView:
    """Everything that the page shows. Times are aware; addresses may be relative to the page's own.

    `code_text` is the text of the QR code, None once the code must not be scanned. `now` is the
    server's time. `expires_at` is the end of the code, None if it never expires. `assets_url` has
    no trailing slash. `new_code_url` is the address to which the form for another code is posted,
    None if there may be no other code. `wallet_url` opens the wallet on a phone; the page offers it
    only if it is https (or the simulator's). `save_url` is a picture of the code, to be saved.
    `code_picture` is the address of a picture that Alipay+ sent, if it sent no text to draw.
    `may_be_returned` is True where the attempt was cancelled, which gives back what was paid.
    `reason` is the reason of a failure that a buyer may know. `poll_seconds` is the first pause
    between two requests for the status. `paid_at`, `payment_id` (Alipay+'s number), `wallet` and
    `refunded` (what went back, None if nothing) are for the receipt, None before it is paid.
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
    code_picture: str | None = None
    may_be_returned: bool = False
    poll_seconds: float = 2.0
    save_url: str | None = None
    paid_at: datetime | None = None
    payment_id: str | None = None
    wallet: str | None = None
    refunded: Amount | None = None


_ALLOWS_NEW_CODE = (
    PageState.FAILED,
    PageState.EXPIRED,
    PageState.CANCELLED,
    PageState.RETURNED,
    PageState.REFUNDED,
)
_CLOSED = (PageState.EXPIRED, PageState.CANCELLED)
_LARGEST_FIRST = ("BIGIMAGE", "MIDDLEIMAGE", "IMAGE", "SMALLIMAGE")
_CLOCK_TOLERANCE = timedelta(seconds=5)  # the clocks of several machines differ
_SIMULATED = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?/")
_CLOSED_BY_TIME = ("ORDER_IS_CLOSED", ORDER_NOT_EXIST)


def page_state(attempt: Attempt, now: datetime) -> PageState:
    """Return the state to show; `now` is aware. The code of an expired attempt is never shown.

    An attempt that was changed in the future counts as expired: this machine's clock is behind the
    others and cannot show when the code expires.
    """
    expired = now >= attempt.expires_at or attempt.changed_at - now > _CLOCK_TOLERANCE
    if attempt.disputed is not None:
        return PageState.REFUNDED if attempt.is_refunded else PageState.CONFLICT
    match attempt.state:
        case State.SUCCEEDED:
            return PageState.REFUNDED if attempt.is_refunded else PageState.PAID
        case State.CANCELLED if attempt.refunded:  # the money of a conflict went back by our refund
            return PageState.REFUNDED
        case State.CANCELLED | State.FAILED if attempt.success_reported:
            return PageState.RETURNED
        case State.CLOSING:
            return PageState.CHECKING
        case State.FAILED:
            code = attempt.result.result_code if attempt.result else ""
            return PageState.EXPIRED if code in _CLOSED_BY_TIME else PageState.FAILED
        case State.CANCELLED:
            is_late = attempt.changed_at >= attempt.expires_at
            return PageState.EXPIRED if is_late else PageState.CANCELLED
        case State.PENDING:
            is_over = expired or attempt.is_doubted
            return PageState.CHECKING if is_over else PageState.WAITING
        case State.CREATED:
            return PageState.CHECKING if expired else PageState.RETRYING


def view_of(attempt: Attempt, now: datetime, shop_name: str | None) -> PageView:
    """Return the view of an attempt; its links are relative, so that they fit any mount."""
    state = page_state(attempt, now)
    request = attempt.request
    issued = attempt.order_code.text if attempt.order_code else None
    code = issued if state is PageState.WAITING else None
    merchant = request.order.merchant
    if shop_name is None and merchant is not None:
        shop_name = merchant.merchant_display_name or merchant.merchant_name
    request_id = attempt.payment_request_id
    return PageView(
        state=state,
        payment_request_id=request_id,
        order_ref=attempt.order_ref,
        description=request.order.order_description,
        shop_name=shop_name,
        amount=attempt.amount,
        code_text=code,
        expires_at=attempt.expires_at,
        now=now,
        status_url=f"{request_id}/status",
        assets_url="../assets",
        new_code_url=f"{request_id}/new" if state in _ALLOWS_NEW_CODE else None,
        return_url=_return_url(attempt, request.payment_redirect_url),
        wallet_url=code if code and opens_wallet(code) else None,
        reason=look_up(attempt.result).reason
        if state is PageState.FAILED and attempt.result
        else None,
        code_picture=_picture(attempt) if state is PageState.WAITING and not code else None,
        may_be_returned=attempt.state is State.CANCELLED and state in _CLOSED,
        save_url=f"{request_id}/code.svg" if code else None,
        **(_receipt(attempt) if state.has_receipt else {}),
    )


def _picture(attempt: Attempt) -> str | None:
    """Return the largest picture of a code that came without its text, None if there is none."""
    images = dict(attempt.order_code.images) if attempt.order_code else {}
    found = (images[kind] for kind in _LARGEST_FIRST if kind in images)
    return next((url for url in found if url.startswith("https://")), None)


def _receipt(attempt: Attempt) -> dict[str, Any]:
    """Return the view's values that only a receipt has."""
    at, paid = attempt.payment_time, attempt.paid_amount
    learned_at = attempt.changed_at if attempt.state is State.SUCCEEDED else None
    return {
        "paid_at": at.moment if at else learned_at,
        "payment_id": attempt.payment_id,
        "wallet": attempt.wallet,
        "refunded": evolve(paid, value=attempt.refunded) if paid and attempt.refunded else None,
    }


def opens_wallet(address: str) -> bool:
    """Return whether an address may open a wallet: https, or http to the simulator on this machine.

    Source: protocol, "The page with the code": codes of Alipay+ are https addresses.
    """
    return address.startswith("https://") or bool(_SIMULATED.match(address))


def _return_url(attempt: Attempt, url: str | None) -> str | None:
    """Return the shop's own return address; None if it is the payment's page, the default."""
    return None if url is None or url.endswith(f"/{attempt.payment_request_id}") else url
