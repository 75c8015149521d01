"""The page that shows an order code to a buyer: one view in, one HTML document out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.web.qr import render_qr_svg
from aplus_adapters.web.texts import TEXTS, choose_language, format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

    from aplus_adapters.protocol.amounts import Amount

__all__ = ["PAGE_HEADERS", "PageState", "PageView", "asset", "render_page"]

_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFRESH = 4  # seconds

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

    `code_text` is what the QR code says, only while it may be scanned. `now` is the server's clock
    and `expires_at` the end of the code, None if it has none. `assets_url` has no trailing slash.
    `new_code_url` is where the form for another code is posted, None if there is none to be had.
    `wallet_url` opens the wallet on a phone and is offered only if it is https. `message` is a
    result's text that is fit for a buyer. `poll_seconds` is the first pause between two questions
    for the status.
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
    message: str | None
    poll_seconds: float = 2.0


def render_page(view: PageView, accept_language: str | None) -> bytes:
    """Render the view as an HTML document in UTF-8, in the language that the buyer prefers.

    It works without script (it refreshes itself then), and holds nothing inline that a strict
    content security policy would have to allow. Send it with PAGE_HEADERS.

    `accept_language` is the header as it came. Raises ConfigurationError if Jinja2 or segno is
    missing, InvalidValue if the code does not fit into a QR code.
    """
    language = choose_language(accept_language)
    texts = TEXTS[language]
    shows_code = view.state is PageState.WAITING and _time_left(view) != 0
    wallet_url = view.wallet_url if (view.wallet_url or "").startswith("https://") else None
    html = _template().render(
        view=view,
        state=view.state.value,
        over=view.state.is_over,
        texts=texts,
        language=language,
        direction="rtl" if language == "ar" else "ltr",
        headline=texts[view.state.value],
        more=texts.get(f"{view.state.value}_more"),
        amount=format_amount(view.amount, language),
        qr=render_qr_svg(view.code_text, label=texts["qr"])
        if shows_code and view.code_text
        else None,
        wallet_url=wallet_url,
        **_times(view),
    )
    # A lone surrogate in a shop's text must not cost the buyer the page.
    return html.encode("utf-8", "replace")


def _time_left(view: PageView) -> int | None:
    """Give the milliseconds until the code expires, None if it does not."""
    if view.expires_at is None:
        return None
    return max(0, (view.expires_at - view.now) // timedelta(milliseconds=1))


def _times(view: PageView) -> dict[str, int | None]:
    """Give the template's times: `now` and `expires` are epoch milliseconds of the server's clock.

    Without script the page asks again after `refresh` seconds: at the latest when the code ends.
    """
    milliseconds = _time_left(view)
    seconds = None if milliseconds is None else -(-milliseconds // 1000)
    now = (view.now - _EPOCH) // timedelta(milliseconds=1)
    return {
        "now": now,
        "expires": None if milliseconds is None else now + milliseconds,
        "seconds": seconds,
        "refresh": min(_REFRESH, seconds or _REFRESH),
        "poll": round(view.poll_seconds * 1000),
    }


def asset(name: str) -> tuple[bytes, str] | None:
    """Give content and content type of `page.css` or `page.js`, None for any other name."""
    return (_read(name).encode(), _ASSETS[name]) if name in _ASSETS else None


@cache
def _read(name: str) -> str:
    return files("aplus_adapters.web").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    try:
        from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigurationError(
            "order-code page: Jinja2 is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(_read("page.html"))
