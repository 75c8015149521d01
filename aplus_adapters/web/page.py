"""Render the page that shows an order code to a buyer: one view, one HTML document."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.web.qr import check_logo, render_qr_svg
from aplus_adapters.web.template import read, render
from aplus_adapters.web.texts import choose_language, format_amount, merge_texts, translate_reason
from aplus_adapters.web.view import PageState, PageView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.protocol.results import Reason

log = logging.getLogger("aplus_adapters")

__all__ = [
    "PAGE_HEADERS",
    "PageDesign",
    "asset",
    "explain_failure",
    "render_page",
]

_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFRESH = 3  # seconds: with the loading, paid is shown at most 4 s after the notification

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
        "Cache-Control": "no-store",
        # With no-referrer the page's own form would come from the Origin "null", as anybody's may.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept, Accept-Language",
    }
)
"""The headers that go with the page: nothing inline runs, nothing is cached or leaked."""


@frozen(kw_only=True)
class PageDesign:
    """What a shop changes about the page; give it to `AplusPay(page=...)`.

    `texts` are the shop's own by language (`{"en": {"paid": "Merci!"}}`): the keys are those of
    `web/languages/en.json`; a new language may leave out what English shall say. `css` comes after
    our style sheet; the colours are its variables, such as `:root { --accent: #c00 }`. `dark` is
    whether the page has dark colours for those who like them. `logo` is
    put in the middle of the QR code: SVG markup or an address that starts with data:image/.
    `template` is Jinja2: `{% extends "page.html" %}` with blocks of its own (head, header, status,
    code, footer), or a whole page. `return_after` is how many seconds after paying the buyer is
    sent to the order's `return_url`, None never. `events` lets the page hear of news by Server-Sent
    Events where the application is ASGI; elsewhere it goes on asking.

    Raises ConfigurationError for a text that no page shows, a logo that is none, a pause below 0,
    and a template that cannot be rendered for an example. One that fails for a real payment all the
    same is named in the log, and the buyer sees our page.
    """

    texts: Mapping[str, Mapping[str, str]] = field(factory=dict)
    css: str = ""
    dark: bool = True
    logo: str | None = field(default=None, repr=False)
    template: str | None = field(default=None, repr=False)
    return_after: float | None = 5.0
    events: bool = False
    _merged: Mapping[str, Mapping[str, str]] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Raise ConfigurationError now for a design that would fail at the first payment."""
        try:
            if self.logo is not None:
                check_logo(self.logo)
            merged = merge_texts(self.texts)
        except InvalidValue as error:
            raise ConfigurationError(f"PageDesign: {error}") from None
        if self.return_after is not None and not (
            isinstance(self.return_after, int | float) and 0 <= self.return_after <= 3600
        ):
            raise ConfigurationError(
                f"PageDesign: return_after is {self.return_after!r}, expected 0 to 3600 seconds "
                "or None"
            )
        object.__setattr__(self, "_merged", merged)
        if self.template is not None:
            _try(self)

    @property
    def all_texts(self) -> Mapping[str, Mapping[str, str]]:
        """Return every language with every text, ours and the shop's."""
        return self._merged


_OURS = PageDesign()


def render_page(
    view: PageView, accept_language: str | None, design: PageDesign = _OURS, events_url: str = ""
) -> bytes:
    """Render the view as an HTML document in UTF-8, in the language that the buyer prefers.

    It works without script (it refreshes itself then), and holds nothing inline that a strict
    content security policy would have to allow. Send it with PAGE_HEADERS.

    `accept_language` is the header as it came, `events_url` where Server-Sent Events come from
    (empty: the page asks instead). Raises ConfigurationError if Jinja2 or segno is missing,
    InvalidValue if the code does not fit into a QR code.
    """
    language = choose_language(accept_language, design.all_texts)
    values = _values(view, language, design, events_url)
    try:
        html = render(design.template, values)
    except ConfigurationError as error:
        if design.template is None:
            raise
        log.exception("%s; the buyer is shown the page without it", error)
        html = render(None, values)
    # A lone surrogate in a shop's text must not cost the buyer the page.
    return html.encode("utf-8", "replace")


def explain_failure(reason: Reason, accept_language: str | None, design: PageDesign) -> str:
    """Return why a payment failed, as a sentence in the language that the buyer prefers."""
    language = choose_language(accept_language, design.all_texts)
    return translate_reason(reason, design.all_texts[language])


def _values(
    view: PageView, language: str, design: PageDesign, events_url: str
) -> dict[str, object]:
    """Return the values that a template may use."""
    texts = design.all_texts[language]
    paid = view.state is PageState.PAID
    shows_code = view.state is PageState.WAITING and _time_left(view) != 0
    wallet_url = view.wallet_url if (view.wallet_url or "").startswith("https://") else None
    return dict(
        view=view,
        state=view.state.value,
        over=view.state.is_over,
        texts=texts,
        language=language,
        direction="rtl" if language.partition("-")[0] in _RIGHT_TO_LEFT else "ltr",
        headline=texts[view.state.value],
        more=texts.get(f"{view.state.value}_more")
        if view.reason is None
        else translate_reason(view.reason, texts),
        amount=format_amount(view.amount, texts),
        qr=render_qr_svg(view.code_text, label=texts["qr"], logo=design.logo)
        if shows_code and view.code_text
        else None,
        wallet_url=wallet_url,
        scheme="light dark" if design.dark else "light",
        return_after=design.return_after if paid and view.return_url else None,
        events_url="" if view.state.is_over else events_url,
        **_times(view),
    )


def _time_left(view: PageView) -> int | None:
    """Return the milliseconds until the code expires, None if it does not."""
    if view.expires_at is None:
        return None
    return max(0, (view.expires_at - view.now) // timedelta(milliseconds=1))


def _times(view: PageView) -> dict[str, int | None]:
    """Return the template's times: `now` and `expires` are epoch milliseconds by the server.

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


def asset(name: str, design: PageDesign = _OURS) -> tuple[bytes, str]:
    """Return content and content type of `page.css` or `page.js`; KeyError for any other name."""
    kind = _ASSETS[name]
    own = (read("dark.css") if design.dark else "") + design.css if name == "page.css" else ""
    return (read(name) + own).encode("utf-8", "replace"), kind


def _try(design: PageDesign) -> None:
    """Render an example of every state, so that a broken template fails at start-up."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for state in PageState:
        example = PageView(
            state=state,
            payment_request_id="example",
            order_ref="A-1001",
            description="Example",
            shop_name="Shop",
            amount=Amount("USD", 4200),
            code_text="example",
            expires_at=now + timedelta(minutes=3),
            now=now,
            status_url="example/status",
            assets_url="../assets",
            new_code_url="example/new" if state.is_over else None,
            return_url="https://shop.example/",
            wallet_url=None,
            reason=None,
        )
        render(design.template, _values(example, "en", design, ""))
