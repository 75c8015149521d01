"""The page that shows an order code to a buyer: its design, its headers and its rendering."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.payments.order_checks import check_return_url
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.web.brand import Brand
from aplus_adapters.web.pictures import picture_address
from aplus_adapters.web.qr import render_qr_svg
from aplus_adapters.web.template import read, render
from aplus_adapters.web.texts import (
    choose_language,
    format_amount,
    format_time,
    merge_texts,
    translate_reason,
)
from aplus_adapters.web.view import PageState, PageView, opens_wallet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aplus_adapters.protocol.results import Reason

log = logging.getLogger("aplus_adapters")

__all__ = [
    "PAGE_HEADERS",
    "PageDesign",
    "asset",
    "code_host",
    "draw_code",
    "explain_failure",
    "render_error",
    "render_page",
]

_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "button.css": "text/css; charset=utf-8",
}
# What a Content-Security-Policy takes as a host, without a path.
_ANCESTOR = re.compile(r"'self'|https?://(?:\*\.)?[A-Za-z0-9.-]+(?::[0-9]{1,5}|:\*)?")
_PICTURE = re.compile(r"(https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?)/")
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRY_AGAIN = 5  # seconds; a page whose shop is in trouble recovers by itself
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

    `brand` is Alipay+'s mark in the code, the words beside it and the accepted wallets. `logo` is
    the shop's own, shown above its name: SVG markup or an address that starts with data:image/.
    `texts` are the shop's own texts by language (`{"en": {"paid": "Thanks!"}}`). The keys are those
    of `web/languages/en.json`; English replaces a missing text. `css` follows our style sheet,
    whose variables are the colours, such as `:root { --accent: #c00 }`. `dark` is whether the page
    turns dark for a buyer who prefers that. `template` is Jinja2: it begins with
    `{% extends "page.html" %}` and replaces blocks (head, header, status, code, footer), or it is a
    whole page. `return_after` is the seconds after which a buyer who has paid is sent to the
    order's `return_url`; None: never. `events` sends changes by Server-Sent Events if the
    application is ASGI; otherwise the page polls.

    `shop_url` is the way back on a page that tells an error: a path or a whole address.
    `time_zone` is the zone of the times on a receipt, such as `ZoneInfo("Asia/Tokyo")`; None: the
    one in which Alipay+ sent the time. `frame_ancestors` are the sites whose pages may show ours in
    a frame: origins such as `https://shop.example`, or `'self'` with its quotes.

    Raises ConfigurationError for a text that no page shows, an unusable logo or address, a
    `return_after` outside 0 to 3600 and a template that fails for an example. If a template fails
    later, for a real payment, the error is logged and the buyer sees our page.
    """

    brand: Brand = field(factory=Brand)
    logo: str | None = field(default=None, repr=False)
    texts: Mapping[str, Mapping[str, str]] = field(factory=dict)
    css: str = ""
    dark: bool = True
    template: str | None = field(default=None, repr=False)
    return_after: float | None = 5.0
    events: bool = False
    shop_url: str = "/"
    time_zone: tzinfo | None = None
    frame_ancestors: Sequence[str] = ()
    logo_address: str | None = field(init=False, repr=False, eq=False)
    _merged: Mapping[str, Mapping[str, str]] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Raise ConfigurationError here for what would fail later, at the first payment."""
        try:
            logo = None if self.logo is None else picture_address("logo", self.logo)
            merged = merge_texts(self.texts)
            check_return_url(self.shop_url, "shop_url", "")
        except InvalidValue as error:
            raise ConfigurationError(f"PageDesign: {error}") from None
        if self.return_after is not None and not (
            isinstance(self.return_after, int | float) and 0 <= self.return_after <= 3600
        ):
            raise _wrong("return_after", self.return_after, "0 to 3600 seconds, or None")
        if not isinstance(self.brand, Brand):
            raise _wrong("brand", self.brand, "a Brand; write Brand(mark=...)")
        if self.time_zone is not None and not isinstance(self.time_zone, tzinfo):
            raise _wrong("time_zone", self.time_zone, 'a tzinfo; write ZoneInfo("Asia/Tokyo")')
        ancestors = self.frame_ancestors
        if isinstance(ancestors, str) or not all(map(_is_ancestor, ancestors)):
            raise _wrong(
                "frame_ancestors", ancestors, "a list of origins such as 'https://shop.example'"
            )
        object.__setattr__(self, "logo_address", logo)
        object.__setattr__(self, "_merged", merged)
        if self.template is not None:
            if not isinstance(self.template, str) or "{" not in self.template:
                raise _wrong(
                    "template",
                    self.template,
                    "the text of a Jinja template; for a file write Path(...).read_text()",
                )
            _render_examples(self)

    @property
    def all_texts(self) -> Mapping[str, Mapping[str, str]]:
        """Return all texts by language, ours and the shop's; every language has every text."""
        return self._merged

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of the page, which say who may show it in a frame."""
        allowed = " ".join(self.frame_ancestors) or "'none'"
        return tuple(
            (name, value.replace("frame-ancestors 'none'", f"frame-ancestors {allowed}"))
            for name, value in PAGE_HEADERS.items()
        )


def _is_ancestor(origin: object) -> bool:
    return isinstance(origin, str) and _ANCESTOR.fullmatch(origin) is not None


def _wrong(name: str, value: object, expected: str) -> ConfigurationError:
    return ConfigurationError(f"PageDesign {name}: found {value!r:.80}, expected {expected}")


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
    wallet_url = view.wallet_url if opens_wallet(view.wallet_url or "") else None
    qr = draw_code(view, texts["qr"], design)
    return dict(
        view=view,
        state=view.state.value,
        over=view.state.is_over,
        headline=texts[view.state.value],
        more=_more(view, texts),
        amount=format_amount(view.amount, texts),
        qr=qr,
        picture=None if code_host(view) is None else view.code_picture,
        wallet_url=wallet_url,
        receipt=_receipt(view, texts, design.time_zone),
        return_after=design.return_after if paid and view.return_url else None,
        events_url="" if view.state.is_over else events_url,
        embeddable=bool(design.frame_ancestors),
        **_of_design(language, design),
        **_times(view),
    )


def _more(view: PageView, texts: Mapping[str, str]) -> str | None:
    """Return the sentence below the headline."""
    if view.reason is not None:
        return translate_reason(view.reason, texts)
    if view.may_be_returned:
        return texts["returned_more"]
    return texts.get(f"{view.state.value}_more")


def code_host(view: PageView) -> str | None:
    """Return the origin from which the page loads the code's picture, None if it draws the code."""
    match = _PICTURE.match(view.code_picture or "")
    return match[1] if match else None


def _of_design(language: str, design: PageDesign) -> dict[str, object]:
    """Return the variables that every page has, whatever it shows."""
    return {
        "texts": design.all_texts[language],
        "language": language,
        "direction": "rtl" if language.partition("-")[0] in _RIGHT_TO_LEFT else "ltr",
        "scheme": "light dark" if design.dark else "light",
        "brand": design.brand,
        "logo": design.logo_address,
    }


def draw_code(view: PageView, label: str, design: PageDesign) -> str | None:
    """Return the picture of the code as SVG, None if the code must not be scanned any more."""
    if view.state is not PageState.WAITING or _time_left(view) == 0 or not view.code_text:
        return None
    brand = design.brand
    return render_qr_svg(view.code_text, label=label, mark=brand.mark_address, area=brand.area)


def _receipt(
    view: PageView, texts: Mapping[str, str], zone: tzinfo | None
) -> list[tuple[str, str]]:
    """Return labels and values of the receipt's lines; none if there is no receipt."""
    if not view.state.has_receipt:
        return []
    paid_at = view.paid_at and format_time(
        view.paid_at.astimezone(zone) if zone else view.paid_at, texts
    )
    rows = (
        (texts["time"], paid_at),
        (texts["payment_number"], view.payment_id or view.payment_request_id),
        (texts["wallet"], view.wallet),
        (texts["refunded_amount"], view.refunded and format_amount(view.refunded, texts)),
    )
    return [(label, value) for label, value in rows if value]


def render_error(
    kind: str,
    detail: str,
    accept_language: str | None,
    design: PageDesign,
    *,
    assets_url: str,
    order_ref: str | None = None,
    repeats: str | None = None,
) -> bytes:
    """Return a page that tells a buyer of an error, in the language that the buyer prefers.

    `kind` is a key of the texts, such as `error_shop`; `detail` is one line for support. Its way
    back leads to `design.shop_url`. `repeats` is how the same is tried again: "get" by loading the
    page again after 5 s, "post" by a button, which sends `order_ref` if it is given.

    Raises ConfigurationError if Jinja2 is missing.
    """
    language = choose_language(accept_language, design.all_texts)
    values = _of_design(language, design) | {
        "kind": kind,
        "detail": detail,
        "assets_url": assets_url,
        "shop_url": design.shop_url,
        "order_ref": order_ref,
        "repeats": repeats,
        "again": _TRY_AGAIN,
    }
    return render(None, values, "error.html").encode("utf-8", "replace")


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
    """Return the content and content type of a file of the page; KeyError for another name."""
    content_type = _ASSETS[name]
    added = (read("dark.css") if design.dark else "") + design.css if name == "page.css" else ""
    return (_compact(read(name)) + added).encode("utf-8", "replace"), content_type


@cache
def _compact(text: str) -> str:
    """Return a style or script without its indentation and its lines of comment."""
    lines = (line.strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith(("//", "/*"))]
    return "\n".join((*kept, ""))


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
            save_url="example/code.svg",
            paid_at=now,
            payment_id="2026010100000000000000000000000000000",
            wallet="SOMEWALLET",
        )
        render(design.template, _values(example, "en", design, ""))
