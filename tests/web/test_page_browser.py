"""The page in Chromium: the code scans where it may be scanned, and nowhere else."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from aplus_adapters.web.page import PageDesign
from aplus_adapters.web.view import PageState
from support.browser import keep
from support.page_server import CODE, LOCALES

pytestmark = pytest.mark.browser

# The decoder reads black on nearly black, a phone does not: only real contrast counts.
BLACK_OR_WHITE = bytes(64) + b"\x80" * 128 + b"\xff" * 64


@pytest.fixture
def shop(page_shop):
    return page_shop


def status_requests(shop):
    return [path for path in shop.asked if path.endswith("/status")]


def shown_state(page, state):
    return expect(page.locator(f"main[data-state={state}]"))


def box_of(page, selector):
    """Return where an element is; a page without a script reloads itself now and then."""
    for _ in range(100):
        if box := page.locator(selector).bounding_box():
            return box
        page.wait_for_timeout(50)
    raise AssertionError(f"{selector} is not shown")


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_code_scans_and_the_page_fits(visit, scan, theme, script, language):
    with visit(
        language=language, color_scheme=theme, java_script_enabled=script, reduced_motion="reduce"
    ) as page:
        expect(page.locator("html")).to_have_attribute("lang", language)
        for width in (320, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert scan(page, BLACK_OR_WHITE) == [CODE]
            keep(page, "waiting", language, theme, width, "script" if script else "no script")
            box = box_of(page, "main")
            assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)


def test_paid_is_shown_by_script_within_four_seconds(visit, scan, shop):
    with visit() as page:
        expect(page.locator("svg.qr")).to_be_visible()
        shop.becomes(PageState.PAID)
        shown_state(page, "paid").to_be_visible(timeout=4000)
        expect(page.locator("svg.mark")).to_be_visible()
        expect(page.get_by_role("link")).to_have_attribute("href", f"{shop.address}/cart")
        assert scan(page) == []


def test_paid_is_shown_without_script(visit, scan, shop):
    with visit(java_script_enabled=False) as page:
        shop.becomes(PageState.PAID)
        shown_state(page, "paid").to_be_visible(timeout=4000)
        assert scan(page) == []


def test_the_code_goes_at_expiry_even_if_the_shop_does_not_answer(visit, scan, shop):
    shop.reset(seconds=5)  # a cold browser takes seconds for its first screenshot
    shop.broken = True
    with visit() as page:
        assert scan(page) == [CODE]
        expect(page.locator("svg.qr")).to_have_count(0, timeout=5500)
        said = page.get_by_role("status")
        expect(said).to_contain_text("This code has expired")
        expect(said).to_contain_text("We are checking whether a payment arrived.")
        expect(page.locator("#busy")).to_be_visible()
        assert scan(page) == []


def test_the_buyers_clock_does_no_harm(visit):
    with visit(before="Date.now = () => 1.95e12") as page:  # October 2031
        expect(page.locator("time")).to_have_text(re.compile(r"^(9:5\d|10:00)$"))
        expect(page.locator("svg.qr")).to_be_visible()


def test_a_computer_that_slept_learns_the_time_from_the_next_answer(visit, shop):
    with visit() as page:
        shop.expires_at = datetime.now(UTC) + timedelta(seconds=100)
        expect(page.locator("time")).to_have_text(re.compile(r"^1:3\d$"), timeout=4000)


def test_a_hidden_tab_asks_nothing_and_asks_at_once_when_it_is_seen_again(visit, shop):
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with visit() as page:
        page.evaluate(hide, arg=True)
        page.wait_for_timeout(3000)
        assert status_requests(shop) == []
        with page.expect_response(re.compile("/status$"), timeout=1000):
            page.evaluate(hide, arg=False)


def asked_within(page, shop, milliseconds):
    shop.asked.clear()
    page.wait_for_timeout(milliseconds)
    return len(shop.asked)


def test_questions_get_rarer_with_time(visit, shop):
    shop.reset(seconds=3600)
    shop.poll_seconds = 0.1
    with visit() as page:
        early = asked_within(page, shop, 2000)
        page.evaluate(
            "const now = performance.now; performance.now = () => now.call(performance) + 1.2e6"
        )
        late = asked_within(page, shop, 2000)
    assert early >= 8
    assert 2 <= late <= 5


def test_questions_get_rarer_while_the_shop_does_not_answer(visit, shop):
    shop.poll_seconds = 0.1
    shop.broken = True
    with visit() as page:
        assert 2 <= asked_within(page, shop, 3000) <= 7


def test_a_page_whose_events_are_kept_back_on_the_way_asks_again(visit, shop):
    shop.events_url = "0123456789abcdef/events"
    with visit() as page:
        with page.expect_request(re.compile("/events$"), timeout=5000):
            pass
        shop.becomes(PageState.PAID)
        shown_state(page, "paid").to_be_visible(timeout=9000)
        assert sum(path.endswith("/events") for path in shop.asked) == 1


def test_a_page_that_disagrees_with_the_status_does_not_reload_for_ever(visit, shop):
    shop.poll_seconds = 0.05
    shop.told = PageState.PAID
    with visit() as page:
        page.wait_for_timeout(4000)
        loads = [path for path in shop.asked if path.endswith("abcdef")]
    assert 4 <= len(loads) <= 12


def test_a_new_code_is_one_click_away(visit, scan, shop):
    shop.reset(PageState.EXPIRED)
    with visit() as page:
        page.get_by_role("button").click()
        expect(page.locator("svg.qr")).to_be_visible()
        assert "POST /payments/0123456789abcdef/new" in shop.asked
        assert scan(page) == [CODE]


def test_a_phone_offers_the_wallet_and_a_desktop_does_not(visit):
    with visit(has_touch=True, is_mobile=True) as page:
        expect(page.locator("#code a.button")).to_be_visible()
    with visit(width=1280) as page:
        expect(page.locator("svg.qr")).to_be_visible()
        expect(page.locator("#code a.button")).to_be_hidden()


def test_arabic_runs_from_right_to_left(visit):
    with visit(language="ar") as page:
        expect(page.locator("html")).to_have_attribute("dir", "rtl")
        expect(page.locator(".amount")).to_have_text("12,800 JPY")


@pytest.mark.parametrize("size", [(800, 480), (1024, 600), (1920, 1080), (1080, 1920)])
def test_a_tills_display_shows_all_of_it_at_once(visit, scan, size):
    width, height = size
    with visit(width=width) as page:
        page.set_viewport_size({"width": width, "height": height})
        keep(page, "till", width, height)
        assert page.evaluate("document.documentElement.scrollHeight") <= height
        assert scan(page, BLACK_OR_WHITE) == [CODE]
        for found in (".amount", "svg.qr", "#headline", "time"):
            box = box_of(page, found)
            assert (box["y"] >= 0, box["y"] + box["height"] <= height) == (True, True)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_after_paying_the_buyer_is_sent_back_to_the_shop(visit, shop, script):
    shop.design = PageDesign(return_after=1)
    shop.becomes(PageState.PAID)
    with visit(java_script_enabled=script) as page:
        page.wait_for_url(f"{shop.address}/cart", timeout=4000)


def test_a_shop_without_dark_colours_is_light_at_night(visit, shop):
    shop.design = PageDesign(dark=False, css=":root { --card: #fffaf5 }")
    with visit(color_scheme="dark") as page:
        expect(page.locator("main")).to_have_css("background-color", "rgb(255, 250, 245)")
        expect(page.locator("#headline")).to_have_css("color", "rgb(24, 32, 47)")


def test_a_shops_own_colours_and_words_are_shown(visit, shop):
    shop.design = PageDesign(css=":root { --card: #123456 }", texts={"en": {"waiting": "Scan me"}})
    with visit() as page:
        expect(page.get_by_role("heading")).to_have_text("Scan me")
        expect(page.locator("main")).to_have_css("background-color", "rgb(18, 52, 86)")
