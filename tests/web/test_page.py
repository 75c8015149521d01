"""The page as a document: what it says, what it never lets through, how large it is."""

import sys
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.results import CODES, Reason
from aplus_adapters.web import template
from aplus_adapters.web.page import PAGE_HEADERS, asset, render_page
from aplus_adapters.web.routing import ROUTES, find_route
from aplus_adapters.web.texts import TEXTS, choose_language, format_amount, merge_texts
from aplus_adapters.web.view import PageState
from support.pages import CODE, NOW, VIEW

NOW_MS = int(NOW.timestamp()) * 1000
ASKING = [PageState.WAITING, PageState.RETRYING, PageState.CHECKING]
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \u202e\ud800'


class Document(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, html: bytes):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html.decode())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def shown(state=PageState.WAITING, language="en", **changes) -> Document:
    return Document(render_page(evolve(VIEW, state=state, **changes), language))


def test_a_waiting_page_shows_code_amount_order_and_time_left():
    document = shown()
    assert [svg["class"] for svg in document.all("svg")] == ["qr"]
    for text in ("USD 1,234.50", "Two tickets", "ORDER-1", "Corner Shop", "9:05"):
        assert text in document.text


@pytest.mark.parametrize("state", [state for state in PageState if state is not PageState.WAITING])
def test_only_a_waiting_page_shows_the_code(state):
    html = render_page(evolve(VIEW, state=state), "en")
    assert b'class="qr"' not in html
    assert CODE.encode() not in html


def test_a_code_that_is_over_is_not_shown_even_if_the_view_still_says_waiting():
    assert shown(now=VIEW.expires_at).all("svg") == []


@pytest.mark.parametrize("state", PageState)
def test_a_page_asks_until_the_payment_is_over_and_then_no_more(state):
    document = shown(state)
    asks = state in ASKING
    (main,) = document.all("main")
    assert ("data-status" in main) is asks
    assert ("data-return" in main) is (state is PageState.PAID)
    assert bool(document.all("script")) is (asks or state.has_receipt)
    refreshes = [meta["content"] for meta in document.all("meta") if "http-equiv" in meta]
    leaves = [f"5.0;url={VIEW.return_url}"] if state is PageState.PAID else []
    assert refreshes == (["3"] if asks else leaves)
    assert state.is_over is not asks


@pytest.mark.parametrize(("left", "refresh"), [(60, "3"), (2.5, "3"), (1.5, "2"), (0.2, "1")])
def test_without_script_the_page_asks_again_when_the_code_ends(left, refresh):
    document = shown(expires_at=NOW + timedelta(seconds=left))
    assert [m["content"] for m in document.all("meta") if "http-equiv" in m] == [refresh]


def test_the_script_is_given_the_clock_of_the_server():
    (main,) = shown(poll_seconds=1.5).all("main")
    assert (main["data-now"], main["data-expires"]) == (str(NOW_MS), str(NOW_MS + 545_000))
    assert (main["data-poll"], main["data-status"]) == ("1500", VIEW.status_url)


def test_a_code_that_does_not_expire_has_no_countdown():
    document = shown(expires_at=None)
    assert document.all("svg")
    assert document.all("time") == []
    assert "data-expires" not in document.all("main")[0]


@pytest.mark.parametrize("state", [PageState.FAILED, PageState.EXPIRED, PageState.CANCELLED])
def test_a_payment_that_came_to_nothing_offers_a_new_code(state):
    document = shown(state)
    assert document.all("form") == [{"method": "post", "action": VIEW.new_code_url}]
    assert shown(state, new_code_url=None).all("form") == []


@pytest.mark.parametrize("state", [*ASKING, PageState.PAID])
def test_no_other_page_offers_one(state):
    assert shown(state).all("form") == []


def test_a_paid_page_shows_a_tick_the_amount_and_the_way_back():
    document = shown(PageState.PAID)
    assert [svg["class"] for svg in document.all("svg")] == ["mark"]
    assert "USD 1,234.50" in document.text
    assert VIEW.return_url in [link.get("href") for link in document.all("a")]


def test_a_failed_page_gives_the_reason_in_one_sentence():
    text = shown(PageState.FAILED, reason=Reason.BALANCE).text
    assert TEXTS["en"]["because_balance"] in text
    assert TEXTS["en"]["failed_more"] not in text
    assert TEXTS["en"]["failed_more"] in shown(PageState.FAILED).text


@pytest.mark.parametrize("language", TEXTS)
def test_every_reason_of_a_refusal_is_told_in_every_language(language):
    texts = TEXTS[language]
    reasons = {row.reason for row in CODES.values()} - {None}
    assert reasons == set(Reason)
    for reason in reasons:
        page = shown(PageState.FAILED, language, reason=reason)
        shown_keys = [
            key for key, text in texts.items() if text in page.text and key.startswith("because_")
        ]
        assert shown_keys == [f"because_{reason}"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://codes.example/1", "", None])
def test_only_an_https_address_opens_the_wallet(url):
    assert [link["href"] for link in shown(wallet_url=url, return_url=None).all("a")] == []
    assert [link["href"] for link in shown(return_url=None).all("a")] == [CODE]


@pytest.mark.parametrize("host", ["127.0.0.1:5001", "localhost:5001", "[::1]", "localhost"])
def test_the_simulators_address_on_this_machine_opens_its_wallet(host):
    url = f"http://{host}/codes/281"
    assert [link["href"] for link in shown(wallet_url=url, return_url=None).all("a")] == [url]
    beyond = f"http://{host}.evil.example/codes/281"
    assert shown(wallet_url=beyond, return_url=None).all("a") == []


@pytest.mark.parametrize("state", PageState)
def test_hostile_text_stays_text(state):
    fields = ("order_ref", "description", "shop_name", "payment_request_id")
    addresses = ("status_url", "assets_url", "new_code_url", "return_url")
    html = render_page(
        evolve(VIEW, state=state, **dict.fromkeys(fields + addresses, HOSTILE)), "en"
    )
    document = Document(html)
    assert document.all("img") == []
    assert all(script["src"].endswith("/page.js") for script in document.all("script"))
    assert "<script>alert(1)</script>" in document.text
    assert "{{ 7*7 }}" in document.text


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("state", PageState)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(state, language):
    document = shown(state, language, reason=Reason.REFUSED)
    for tag, attributes in document.elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag in ("script", "link"):
            address = attributes.get("src") or attributes["href"]
            assert address.startswith(("../assets/", "data:,"))
    assert all("src" in script for script in document.all("script"))


@pytest.mark.parametrize("state", PageState)
def test_a_change_is_announced_once_and_politely(state):
    document = shown(state)
    live = [found for _, found in document.elements if "aria-live" in found]
    assert [found["aria-live"] for found in live] == ["polite"]
    assert len(document.all("h1")) == 1


@pytest.mark.parametrize("language", TEXTS)
def test_a_page_is_at_most_20_kilobytes_with_its_style_and_script(language):
    assets = sum(len(asset(name)[0]) for name in ("page.css", "page.js"))
    assert (
        assets + max(len(render_page(evolve(VIEW, state=state), language)) for state in PageState)
        <= 20_000
    )


@pytest.mark.parametrize("language", TEXTS)
def test_the_page_says_which_language_it_speaks_and_which_way(language):
    (html,) = shown(language=language).all("html")
    assert html == {"lang": language, "dir": "rtl" if language == "ar" else "ltr"}


def test_the_headers_allow_nothing_inline_and_no_storing():
    policy = PAGE_HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert PAGE_HEADERS["Cache-Control"] == "no-store"
    assert PAGE_HEADERS["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "kind"), [("page.css", "text/css"), ("page.js", "text/javascript")]
)
def test_style_and_script_are_served(name, kind):
    content, content_type = asset(name)
    assert content
    assert content_type == f"{kind}; charset=utf-8"


@pytest.mark.parametrize("name", ["page.html", "../page.py", "", "/etc/passwd", "page.css\0"])
def test_nothing_else_is_served(name):
    assert find_route(ROUTES, f"/assets/{name}") is None
    assert find_route(ROUTES, "/assets/page.css") is not None
    with pytest.raises(KeyError):
        asset(name)


def test_a_missing_jinja_says_what_to_install(monkeypatch):
    template._compile.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'aplus_adapters\[page\]'"):
        render_page(VIEW, None)


def test_the_code_does_not_get_into_logs():
    assert CODE not in repr(VIEW)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("sv", "en"),
        ("tl-PH, en;q=0.5", "fil"),
        ("in", "id"),
        ("zh-Hans-CN, en;q=0.5", "zh"),
        ("zh-TW", "zh-Hant"),
        ("zh-hk,en;q=0.9", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant", "zh-Hant"),
        ("zh-Hant-TW", "zh-Hant"),
        ("ZH-HANT-HK-x-shop", "zh-Hant"),
        ("zh-Hans-TW", "zh"),
        ("zh-Hans-HK, zh-TW;q=0.9", "zh"),
        ("zh-SG", "zh"),
        ("zh-CN, zh-TW;q=0.9", "zh"),
        ("sv-FI, zh-TW;q=0.4, en;q=0.2", "zh-Hant"),
        ("zh-TW;q=0.5, ja;q=0.6", "ja"),
        ("en-GB-oxendict", "en"),
        ("x-zh", "en"),
        ("JA", "ja"),
        ("en;q=0.3, ko;q=0.7", "ko"),
        ("en ; q=0.3 ,\tar ;Q=0.9", "ar"),
        ("sv, ar;q=0.2", "ar"),
        ("ja, ko", "ja"),
        ("zh;q=0", "en"),
        ("zh;q=1.5", "en"),
        ("zh;q=nan", "en"),
        ("zh;q=1.", "zh"),
        ("*", "en"),
        ("zh_CN", "en"),
        ("," * 5000 + "zh", "en"),
    ],
)
def test_the_buyers_first_language_that_we_speak_is_chosen(header, language):
    assert choose_language(header) == language


@settings(deadline=None)
@given(st.text() | st.text("zhenjaQq=;,.01-* \t", max_size=60))
def test_any_header_gives_a_language(header):
    assert choose_language(header, merge_texts({"pt-BR": {}, "zh-TW": {}}))
    assert choose_language(header) in TEXTS


@pytest.mark.parametrize("language", ["en", "zh", "zh-Hant", "ja", "ko"])
@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Amount("JPY", 1234567), "JPY 1,234,567"),
        (Amount("KWD", 1234567), "KWD 1,234.567"),
        (Amount("USD", 1234567), "USD 12,345.67"),
        (Amount("USD", 5), "USD 0.05"),
        (Amount("USD", 0), "USD 0.00"),
        (Amount("USD", 999_999_999_999_999_999), "USD 9,999,999,999,999,999.99"),
    ],
)
def test_amounts_are_written_with_their_code_and_their_own_decimals(amount, text, language):
    assert format_amount(amount, TEXTS[language]) == text
    code, _, number = text.partition(" ")
    assert format_amount(amount, TEXTS["ar"]) == f"{number} {code}"
