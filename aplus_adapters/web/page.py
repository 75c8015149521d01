"""The page that shows an order code to a buyer: its design, its headers and its rendering."""

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
_REFRESH = 3  # seconds; loading included, the page shows "paid" within 4 s of the notification

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
        "Cache-Control": "no-store",
        # With no-referrer the page's own form would send the Origin "null", as any page can.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept, Accept-Language",
    }
)
"""The headers of the page: no inline script runs, and the page is neither cached nor leaked."""


@frozen(kw_only=True)
class PageDesign:
    """The shop's changes to the page, for `AplusPay(page=...)`.

    `texts` are the shop's own texts by language (`{"en": {"paid": "Thanks!"}}`). The keys are those
    of `web/languages/en.json`; English replaces a missing text. `css` follows our style sheet,
    whose variables are the colours, such as `:root { --accent: #c00 }`. `dark` is whether the page
    turns dark for a buyer who prefers that. `logo` is shown in the middle of the QR code: SVG
    markup or an address that starts with data:image/. `template` is Jinja2: it begins with
    `{% extends "page.html" %}` and replaces blocks (head, header, status, code, footer), or it is a
    whole page. `return_after` is the seconds after which a buyer who has paid is sent to the
    order's `return_url`; None: never. `events` sends changes by Server-Sent Events if the
    application is ASGI; otherwise the page polls.

    Raises ConfigurationError for a text that no page shows, an unusable logo, a `return_after`
    outside 0 to 3600 and a template that fails for an example. If a template fails later, for a
    real payment, the error is logged and the buyer sees our page.
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
        """Raise ConfigurationError here for what would fail later, at the first payment."""
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
                f"PageDesign return_after: found {self.return_after!r}, expected 0 to 3600 "
                "seconds, or None"
            )
        object.__setattr__(self, "_merged", merged)
        if self.template is not None:
            _render_examples(self)

    @property
    def all_texts(self) -> Mapping[str, Mapping[str, str]]:
        """Return all texts by language, ours and the shop's; every language has every text."""
        return self._merged


_DEFAULT = PageDesign()


def render_page(
    view: PageView, accept_language: str | None, design: PageDesign = _DEFAULT, events_url: str = ""
) -> bytes:
    """Return the view as an HTML document in UTF-8, in the language that the buyer prefers.

    Send it with PAGE_HEADERS. Without script the page reloads itself. Nothing in it is inline, so
    that a strict content security policy allows it. `accept_language` is the header as it arrived.
    `events_url` is the address of the Server-Sent Events; if it is empty, the page polls.

    Raises ConfigurationError if Jinja2 or segno is missing, InvalidValue if the code does not fit
    into a QR code.
    """
    language = choose_language(accept_language, design.all_texts)
    values = _values(view, language, design, events_url)
    try:
        html = render(design.template, values)
    except ConfigurationError as error:
        if design.template is None:
            raise
        log.exception(
            "%s; the buyer is shown the default page", error, extra={"event": "template_failed"}
        )
        html = render(None, values)
    # A shop's text may hold a lone surrogate, which UTF-8 cannot encode: the page must not fail.
    return html.encode("utf-8", "replace")


def explain_failure(reason: Reason, accept_language: str | None, design: PageDesign) -> str:
    """Return the reason of a failure as a sentence in the language that the buyer prefers."""
    language = choose_language(accept_language, design.all_texts)
    return translate_reason(reason, design.all_texts[language])


def _values(
    view: PageView, language: str, design: PageDesign, events_url: str
) -> dict[str, object]:
    """Return the variables of the template."""
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
    """Return the milliseconds until the code expires, None if it never does."""
    if view.expires_at is None:
        return None
    return max(0, (view.expires_at - view.now) // timedelta(milliseconds=1))


def _times(view: PageView) -> dict[str, int | None]:
    """Return the times of the template; `now` and `expires` are epoch ms of the server's clock.

    Without script the page reloads after `refresh` seconds, at the latest when the code expires.
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


def asset(name: str, design: PageDesign = _DEFAULT) -> tuple[bytes, str]:
    """Return the content and content type of `page.css` or `page.js`; KeyError for another name."""
    content_type = _ASSETS[name]
    added = (read("dark.css") if design.dark else "") + design.css if name == "page.css" else ""
    return (read(name) + added).encode("utf-8", "replace"), content_type


def _render_examples(design: PageDesign) -> None:
    """Render an example of every state, so that a wrong template fails at start-up."""
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
