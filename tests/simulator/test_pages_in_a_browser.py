"""A person at the desk and in the wallet, in a real browser, on a wide screen and on a phone."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.browser import keep, take_picture

from .conftest import settled

pytestmark = [pytest.mark.browser, pytest.mark.process]
PICTURES = Path(__file__).parent.parent.parent / "docs" / "images"


def picture(page, name):
    """Keep a picture for people, and for the documentation if APLUS_DOC_IMAGES asks for it."""
    keep(page, name)
    if os.environ.get("APLUS_DOC_IMAGES"):
        (PICTURES / f"{name}.png").write_bytes(take_picture(page))


@pytest.fixture
def page(chromium, both):
    page = chromium.new_page(viewport={"width": 1000, "height": 760}, base_url=both[0].address)
    problems = []
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.close()
    assert problems == []  # such as what the policy of the pages refuses


def test_an_order_appears_is_paid_refunded_and_laid_open_without_loading_the_page(
    page,
    both,
    start,
):
    page.goto("/")
    expect(page.get_by_role("heading", name="Desk")).to_be_visible()
    attempt, _ = start(ref="B-1001")
    page.get_by_role("link", name="B-1001").click()  # it came by itself
    expect(page.locator(".amount")).to_have_text("42.00 USD")
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.locator("strong")).to_have_text("PAID")
    settled(both, attempt)
    expect(page.get_by_text("acknowledged")).to_be_visible()
    page.get_by_label("Refund in USD").fill("12.00")
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_text("refund desk-1")).to_be_visible()
    picture(page, "desk-order")
    page.get_by_role("link", name="notifyPayment").click()
    expect(page.locator(".verification.good")).to_have_count(2)
    expect(page.locator("pre").filter(has_text="POST /aplus/notify")).to_have_count(2)
    picture(page, "desk-message")
    page.goto("/")
    page.get_by_label("State").select_option("PAID")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="B-1001")).to_be_visible()
    page.get_by_label("Order").fill("nothing")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No order is like that.")).to_be_visible()
    page.goto("/")
    picture(page, "desk")


def test_a_fault_button_makes_the_next_notification_come_twice(page, both, start):
    attempt, order = start(ref="B-1002")
    page.goto(f"/orders/{order['token']}")
    page.get_by_label("Fault").select_option("notification: twice")
    page.get_by_role("button", name="Order it").click()
    expect(page.get_by_text("Ordered faults: twice for notify")).to_be_visible()
    page.get_by_role("button", name="Pay", exact=True).click()
    settled(both, attempt)
    settled(both, attempt)
    expect(page.get_by_text("acknowledged")).to_have_count(2)
    assert both[2].changes == [("B-1002", "succeeded")]


def test_a_phone_of_320_pixels_scans_and_refuses(page, both, start):
    page.set_viewport_size({"width": 320, "height": 640})
    attempt, _ = start(ref="B-1003")
    page.goto("/wallet")
    page.get_by_label("Link or digits of a code").fill(attempt.order_code.text)
    page.get_by_role("button", name="Open").click()
    expect(page.locator(".amount")).to_have_text("42.00 USD")
    expect(page.get_by_text("Harbour Cinema")).to_be_visible()
    picture(page, "wallet")
    page.get_by_role("button", name="Refuse").click()
    expect(page.locator("strong")).to_have_text("You refused the payment.")
    for path in ("/", "/faults", "/wallet", page.url):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
    page.goto("/")
    page.get_by_role("link", name="B-1003").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    picture(page, "desk-phone")


def test_the_wallet_shows_by_itself_that_the_code_has_expired(page, both, start):
    attempt, order = start(ref="B-1004")
    page.goto(f"/codes/{order['token']}")
    expect(page.get_by_role("button", name="Pay", exact=True)).to_be_visible()
    both[0].decide(attempt.payment_request_id, "expire")
    expect(page.locator("strong")).to_have_text("The code has expired.")


def test_without_a_script_the_pages_pay_and_load_themselves_again(chromium, both, start):
    context = chromium.new_context(java_script_enabled=False, base_url=both[0].address)
    page = context.new_page()
    _, order = start(ref="B-1005")
    page.goto(f"/codes/{order['token']}")
    assert 'http-equiv="refresh"' in page.content()
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.locator("strong")).to_have_text("Paid.")
    context.close()
