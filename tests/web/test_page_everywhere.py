"""The page on every screen, on paper, in every language, in a frame, and without its shop."""

import base64
import os
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from aplus_adapters import Brand, PageDesign
from aplus_adapters.web.texts import TEXTS
from aplus_adapters.web.view import PageState
from support.browser import keep
from support.page_server import CODE, MARK, PAYMENT, serving

pytestmark = pytest.mark.browser

# The decoder reads black on nearly black, a phone does not: only real contrast counts.
BLACK_OR_WHITE = bytes(64) + b"\x80" * 128 + b"\xff" * 64
LONG = bool(os.environ.get("APLUS_LONG"))
BRAND = Brand(mark=MARK, wallets=["AlipayHK", "Kakao Pay", "Touch 'n Go eWallet", "GCash"])
SCREENS = (320, 768, 1280, 1920)
# What 4 mm of margin leave of a till's roll and of a sheet, in CSS pixels of a 96th of an inch.
PAPERS = {"58 mm": 189, "80 mm": 272, "A4": 763}
OVER = (PageState.EXPIRED, PageState.PAID, PageState.CONFLICT, PageState.REFUNDED)
KINDS = ("payment", "order", "changed", "often", "shop", "request")


@pytest.fixture
def shop(page_shop):
    page_shop.design = PageDesign(return_after=None, brand=BRAND)
    return page_shop


def views(page):
    """Show the page on every screen and paper, in light and dark, and name each view."""
    for theme in ("light", "dark"):
        for medium, widths in (("screen", SCREENS), ("print", PAPERS.values())):
            page.emulate_media(media=medium, color_scheme=theme, reduced_motion="reduce")
            for width in widths:
                page.set_viewport_size({"width": width, "height": 800})
                yield f"{theme} {medium} {width}"


def test_a_code_with_a_mark_of_15_percent_scans_on_every_screen_and_paper(visit, shop, scan):
    with visit() as page:
        expect(page.locator("svg.qr image")).to_have_count(1)
        read = {}
        for name in views(page):
            read[name] = scan(page, BLACK_OR_WHITE)
            keep(page, "mark", name)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert len(read) == 14
        assert {name: codes for name, codes in read.items() if codes != [CODE]} == {}


@pytest.mark.parametrize("state", [state for state in PageState if state is not PageState.WAITING])
def test_what_cannot_be_paid_shows_no_code_on_any_screen_or_paper(visit, shop, scan, state):
    shop.reset(state)
    with visit() as page:
        expect(page.locator(f"main[data-state={state}]")).to_be_visible()
        expect(page.locator("svg.qr")).to_have_count(0)
        for name in views(page):
            if state in OVER or name.endswith(" 320"):
                assert scan(page) == [], name
                keep(page, state, name)


@pytest.mark.parametrize("state", [PageState.WAITING, PageState.PAID])
def test_each_paper_needs_one_page(visit, shop, state):
    shop.becomes(state)
    with visit() as page:
        expect(page.locator("main")).to_have_class(state.value)
        for width, height in (("58mm", "210mm"), ("80mm", "210mm"), ("210mm", "297mm")):
            pdf = page.pdf(width=width, height=height, print_background=True)
            assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1, width
            page.emulate_media(media="print")
            expect(page.locator(".button").first).to_be_hidden()
            expect(page.locator(".amount")).to_be_visible()


def test_a_small_phone_shows_the_whole_code_without_scrolling_in_every_language(visit, shop, scan):
    phone = {"width": 320, "height": 568, "has_touch": True, "is_mobile": True}
    ends = {}
    for language in TEXTS:
        with visit(language=language, **phone) as page:
            expect(page.locator("html")).to_have_attribute("lang", language)
            code = page.locator("svg.qr").bounding_box()
            link = page.locator("#code a.button").bounding_box()
            ends[language] = round(code["y"] + code["height"])
            assert code["width"] >= 160, language
            assert link["y"] - ends[language] < 60, language  # beside the code
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, language
            keep(page, "phone", language)
            if language in ("en", "de", "ar"):
                assert scan(page, BLACK_OR_WHITE) == [CODE]
    assert {language: end for language, end in ends.items() if end > 568} == {}


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_phone_saves_its_own_code_as_a_picture_that_scans(visit, shop, scan, chromium, script):
    with visit(has_touch=True, is_mobile=True, java_script_enabled=script) as page:
        with page.expect_download() as download:
            page.locator("#save").click()
        name, data = download.value.suggested_filename, Path(download.value.path()).read_bytes()
        assert name == f"{PAYMENT}.{'png' if script else 'svg'}"
        assert data.startswith(b"\x89PNG" if script else b"<svg ")
    shown = chromium.new_page(viewport={"width": 500, "height": 500})
    kind = "png" if script else "svg+xml"
    address = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    shown.set_content(f'<img width="400" src="{address}">')
    assert scan(shown) == [CODE]
    shown.close()


@pytest.mark.parametrize(
    ("size", "least"),
    [((1920, 1080), 400), ((1080, 1920), 450), ((800, 480), 280), ((568, 320), 180)],
)
def test_a_tills_display_shows_a_large_code_and_all_of_the_brand(visit, shop, scan, size, least):
    width, height = size
    with visit(width=width, height=height) as page:
        keep(page, "till", width, height)
        assert page.locator("svg.qr").bounding_box()["width"] >= least
        code = page.locator("svg.qr").bounding_box()
        assert (code["y"] >= 0, code["y"] + code["height"] <= height) == (True, True)
        if height > 400:  # a till; a phone on its side may scroll for the rest
            assert page.evaluate("document.documentElement.scrollHeight") <= height
        assert scan(page, BLACK_OR_WHITE) == [CODE]
        expect(page.locator(".brand")).to_have_text("Alipay+ Partner")
        expect(page.get_by_role("list").get_by_role("listitem")).to_have_count(4)


def test_a_page_may_be_framed_where_the_shop_allows_it_and_tells_what_happens(shop, chromium, scan):
    page = chromium.new_page(viewport={"width": 700, "height": 700})
    page.add_init_script(
        "if (self === top) { window.heard = []; onmessage = (e) => heard.push(e.data.aplus) }"
    )
    page.goto(f"{shop.address}/frame")
    page.wait_for_timeout(500)
    assert scan(page) == []
    shop.design = PageDesign(frame_ancestors=["'self'", "https://shop.example"], return_after=0)
    page.goto(f"{shop.address}/frame")
    frame = page.frame_locator("iframe")
    expect(frame.locator("svg.qr")).to_be_visible()
    shop.becomes(PageState.PAID)
    expect(frame.locator("main[data-state=paid]")).to_be_visible(timeout=4000)
    page.wait_for_timeout(300)
    assert page.evaluate("heard") == ["waiting", "paid"]
    assert page.url == f"{shop.address}/frame"  # only the link leads back, and to the whole window
    frame.get_by_role("link").click()
    page.wait_for_url(f"{shop.address}/cart")
    page.close()


def test_a_page_whose_shop_is_gone_says_so_within_ten_seconds_and_recovers(chromium):
    page = chromium.new_page(viewport={"width": 320, "height": 568})
    silent = page.locator("#silent")
    with serving() as shop:
        port = shop.server_address[1]
        page.goto(f"{shop.address}/payments/{PAYMENT}")
        expect(silent).to_be_hidden()
    began = time.monotonic()
    expect(silent).to_be_visible(timeout=10_000)
    print(f"said after {time.monotonic() - began:.1f} s")
    expect(silent).to_contain_text("does not answer")
    expect(page.locator("svg.qr")).to_be_visible()  # it may still be paid
    with serving(port) as shop:
        expect(silent).to_be_hidden(timeout=8000)
        shop.becomes(PageState.PAID)
        expect(page.locator("main[data-state=paid]")).to_be_visible(timeout=8000)
    page.close()


def test_a_page_whose_shop_takes_its_question_and_does_not_answer_says_so(visit, shop):
    shop.poll_seconds = 0.2
    shop.hangs = True
    with visit() as page:
        expect(page.locator("#silent")).to_be_visible(timeout=10_000)
        expect(page.locator("svg.qr")).to_be_visible()


def test_a_receipt_is_printed_by_a_button_and_then_not_left(visit, shop):
    shop.design = PageDesign(return_after=1)
    shop.becomes(PageState.PAID)
    with visit(before="window.print = () => { window.printed = true }") as page:
        page.locator("#print").click()
        assert page.evaluate("window.printed") is True
        page.wait_for_timeout(1500)
        assert page.url.endswith(PAYMENT)
        for text in ("2026-11-23 12:01", "2026112319401080010018800000000001", "SOMEWALLET"):
            expect(page.locator("dl")).to_contain_text(text)


def test_the_documents_have_pictures_of_each_state_and_screen(visit, shop):
    """APLUS_SCREENSHOTS=docs/images makes them anew."""
    pictures = 0
    for state in PageState:
        shop.reset(state)
        shop.design = PageDesign(return_after=None, brand=BRAND)
        with visit(width=360, height=10, reduced_motion="reduce") as page:
            expect(page.locator(f"main[data-state={state}]")).to_be_visible()
            picture(page, state)
            pictures += 1
    shop.becomes(PageState.WAITING)
    shop.reset()
    shop.design = PageDesign(return_after=None, brand=BRAND)
    with visit(width=800, height=480, reduced_motion="reduce") as page:
        picture(page, "till")
    with visit(
        width=360, height=640, language="zh", color_scheme="dark", reduced_motion="reduce"
    ) as page:
        picture(page, "dark")
    with visit(width=360, height=660, has_touch=True, is_mobile=True) as page:
        keep(page, "phone")  # a picture of more than the screen is taken without the finger
    with visit(width=360, height=10, path="/error/payment") as page:
        picture(page, "error")
    assert pictures == len(PageState)


def picture(page, name):
    page.wait_for_timeout(100)
    keep(page, name, whole=True)


@pytest.fixture(scope="module")
def axe():
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.mark.parametrize("language", TEXTS)
def test_axe_finds_nothing_to_mend_in_any_state_and_language(visit, shop, axe, language):
    # Elements and colours are the same in every language: all of them are looked at in two, one for
    # each direction. APLUS_LONG looks at all of them in all.
    looks_at_all = LONG or language in ("en", "ar")
    options = {
        "rules": {"color-contrast": {"enabled": looks_at_all}},
        "resultTypes": ["violations"],
    }
    checked, violations = 0, {}
    pages = [*PageState, *(f"/error/{kind}" for kind in KINDS)]
    if not looks_at_all:
        pages = [PageState.WAITING, PageState.PAID, PageState.FAILED, "/error/shop"]
    with visit(language=language, reduced_motion="reduce", bypass_csp=True, before=axe) as page:
        for what in pages:
            is_error = what not in list(PageState)
            if not is_error:
                shop.becomes(what)
            page.goto(shop.address + (what if is_error else f"/payments/{PAYMENT}"))
            expect(page.locator("html")).to_have_attribute("lang", language)
            for theme in ("light", "dark") if looks_at_all else ("light",):
                page.emulate_media(color_scheme=theme)
                found = page.evaluate("(options) => axe.run(options)", options)
                checked += len(found["passes"])
                if found["violations"]:
                    violations[what, theme] = [item["id"] for item in found["violations"]]
    assert violations == {}
    assert checked > 15 * len(pages)
