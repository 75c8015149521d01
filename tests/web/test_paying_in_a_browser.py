"""A buyer in Chromium, a shop behind uvicorn, a simulator: from the button to "paid"."""

import time

import pytest
from playwright.sync_api import expect

from support.browser import keep
from support.forms import behind

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["polling", "events"])
def address(request, tmp_path_factory, simulator, simulated_account):
    tmp = tmp_path_factory.mktemp(request.param)
    server = behind(
        "-m", "uvicorn", "--port", "{port}", "--factory", f"served:{request.param}_served"
    )
    with server(tmp / "shop.db", simulated_account, tmp, simulator) as client:
        yield request.param, str(client.base_url), tmp / "shop.db"


def test_a_buyer_sees_that_it_is_paid_within_four_seconds(address, chromium, simulated_alipayplus):
    from aplus_adapters import SQLStore

    how, url, database = address
    page = chromium.new_page(viewport={"width": 480, "height": 800}, reduced_motion="reduce")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/buy")
    page.get_by_role("button").click()
    expect(page.locator("svg.qr")).to_be_visible()
    keep(page, "by", how, "waiting")
    if how == "events":  # from the first answer on it listens
        page.wait_for_event(
            "request", lambda request: request.url.endswith("/events"), timeout=8000
        )
    request_id = page.url.rpartition("/")[2]
    store = SQLStore(f"sqlite:///{database}")
    body = simulated_alipayplus.notification(store.get(request_id))
    store.close()
    asked.clear()
    reply = page.request.post(
        f"{url}/aplus/notify", data=body, headers=simulated_alipayplus.sign(body)
    )
    assert reply.status == 200
    began = time.monotonic()
    expect(page.locator("main[data-state=paid]")).to_be_visible(timeout=4000)
    print(f"{how}: paid is shown {time.monotonic() - began:.2f} s after the notification")
    keep(page, "by", how, "paid")
    if how == "events":
        assert [found for found in asked if found.endswith("/status")] == []
    page.close()


def test_a_phone_opens_the_simulators_wallet_beside_the_code(address, chromium, simulator):
    _, url, _ = address
    context = chromium.new_context(
        viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(f"{url}/buy")
    page.evaluate("document.querySelector('button').value = 'PHONE-1'")
    page.get_by_role("button").click()
    code = page.locator("svg.qr").bounding_box()
    assert code["y"] + code["height"] <= 568
    page.get_by_role("link", name="Open in wallet").click()
    page.wait_for_url(f"{simulator.address}/codes/*")
    context.close()


def test_a_page_of_another_site_cannot_make_the_buyers_browser_post(address, chromium):
    _, url, _ = address
    page = chromium.new_page()
    page.goto(f"{url.replace('127.0.0.1', 'localhost')}/buy")  # another site for a browser
    page.evaluate(f"document.forms[0].action = '{url}/aplus/pay'")
    with page.expect_response("**/aplus/pay") as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    assert "another site" in page.content()
    page.close()
