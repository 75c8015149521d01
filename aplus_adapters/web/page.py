"""The page that shows an order code to a buyer: one view in, one HTML document out."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.web.qr import render_qr_svg
from aplus_adapters.web.texts import TEXTS, choose_language, format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount

__all__ = ["PAGE_HEADERS", "PageState", "PageView", "asset", "render_page"]

_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept, Accept-Language",
    }
)
"""The headers that go with the page: nothing inline runs, nothing is cached or leaked."""


class PageState(StrEnum):
    """What a buyer sees."""

    WAITING = "waiting"
    RETRYING = "retrying"
    CHECKING = "checking"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Tell whether the page need not ask any more."""
        return self not in (PageState.WAITING, PageState.RETRYING, PageState.CHECKING)


@frozen(kw_only=True)
class PageView:
    """All that the page shows. Times are aware; addresses may be relative to the page's own.

    `code_text` is what the QR code says, only while it may be scanned. `new_code_url` is where the
    form for another code is posted, None if there is none to be had. `message` is a result's text
    that is fit for a buyer.
    """

    state: PageState
    payment_request_id: str
    order_ref: str
    description: str
    shop_name: str | None
    amount: Amount
    code_text: str | None = field(repr=False)
    expires_at: datetime
    now: datetime
    status_url: str
    assets_url: str
    new_code_url: str | None
    return_url: str | None
    wallet_url: str | None = field(repr=False)
    message: str | None


def render_page(view: PageView, accept_language: str | None) -> bytes:
    """Give the HTML document in UTF-8; raises ConfigurationError if Jinja2 or segno is missing.

    It works without script (it refreshes itself then), and holds nothing inline that a strict
    content security policy would have to allow.
    """
    language = choose_language(accept_language)
    texts = TEXTS[language]
    html = _template().render(
        view=view,
        state=view.state.value,
        over=view.state.is_over,
        texts=texts,
        language=language,
        direction="rtl" if language == "ar" else "ltr",
        headline=texts[view.state.value],
        more=view.message if language == "en" and view.message else texts.get(f"{view.state}_more"),
        amount=format_amount(view.amount, language),
        qr=render_qr_svg(view.code_text) if view.code_text else None,
        seconds_left=max(0, int((view.expires_at - view.now).total_seconds())),
    )
    return str(html).encode()


def asset(name: str) -> tuple[bytes, str] | None:
    """Give content and content type of the page's style or script, None for any other name."""
    return (_read(name).encode(), _ASSETS[name]) if name in _ASSETS else None


@cache
def _read(name: str) -> str:
    return files("aplus_adapters.web").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    try:
        from jinja2 import Environment  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigurationError(
            "order-code page: Jinja2 is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html"))
