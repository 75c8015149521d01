"""What a person does with the demonstration: buy, press pay, scan the code, confirm in the wallet."""

import pytest
from playwright.sync_api import expect

from aplus_adapters.cli.demo import Demo

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("framework", ["flask", "starlette"])
def test_a_person_buys_scans_and_pays(framework, tmp_path, chromium, scan):
    with Demo(framework, tmp_path).running() as demo:
        page, phone = chromium.new_page(), chromium.new_page()
        page.goto(demo.address)
        page.get_by_role("button", name="Ticket").click()
        page.get_by_role("button", name="Pay").click()
        expect(page.locator("svg.qr")).to_be_visible()
        (code,) = scan(page)
        phone.goto(code)
        expect(phone.locator(".amount")).to_have_text("42.00 USD")
        phone.get_by_role("button", name="Pay").click()
        expect(phone.locator("strong")).to_have_text("Paid.")
        expect(page.locator("main[data-state=paid]")).to_be_visible(timeout=6000)
        order_ref = demo.simulator.orders()[0]["referenceOrderId"]
        assert len(demo.paid_attempts(order_ref)) == 1
        page.wait_for_url(f"{demo.address}/orders/{order_ref}", timeout=9000)
        assert "paid" in page.content()
        page.close()
        phone.close()


def test_an_order_is_found_in_the_simulators_list_without_a_phone(tmp_path, chromium):
    with Demo("flask", tmp_path).running() as demo:
        page, phone = chromium.new_page(), chromium.new_page()
        page.goto(demo.address)
        page.get_by_role("button", name="Ticket").click()
        page.get_by_role("button", name="Pay").click()
        expect(page.locator("svg.qr")).to_be_visible()
        phone.goto(demo.simulator.address)
        phone.locator("td a").click()
        phone.get_by_role("button", name="Refuse").click()
        expect(phone.locator("strong")).to_have_text("REFUSED")
        expect(page.locator("main[data-state=failed]")).to_be_visible(timeout=6000)
        page.close()
        phone.close()
