"""What a buyer has in hand after paying: the page's receipt, the JSON's, and the shop's own."""

from datetime import UTC, datetime, timedelta, timezone
from html import unescape

import pytest
from attrs import evolve

from aplus_adapters import Amount, PageDesign, Rendering
from aplus_adapters.testing.served_shop import JSON, RecordingShop, make_pay, reach
from aplus_adapters.web.page import render_page
from aplus_adapters.web.view import PageState
from support import served as shops
from support.pages import VIEW

HTML = {"Accept": "text/html", "Accept-Language": "en"}
PAID = evolve(
    VIEW,
    state=PageState.PAID,
    paid_at=datetime(2026, 11, 23, 20, 1, 7, tzinfo=timezone(timedelta(hours=8))),
    payment_id="20261123194010800100188",
    wallet="KAKAOPAY <b>",
)


def shown(view=PAID, language="en", **design):
    return unescape(render_page(view, language, PageDesign(**design)).decode())


def test_a_receipt_has_amount_time_order_number_wallet_and_brand():
    page = shown()
    for text in (
        "USD 1,234.50", "2026-11-23 20:01 (UTC+08:00)", "ORDER-1", "20261123194010800100188",
        "KAKAOPAY <b>", "Alipay+ Partner", "Corner Shop",
    ):  # fmt: skip
        assert text in page
    assert "<b>" not in render_page(PAID, "en").decode()
    assert "23.11.2026 20:01 (UTC+08:00)" in shown(language="de")


def test_the_time_is_that_of_the_shops_zone_if_it_says_so():
    assert "2026-11-23 12:01 (UTC+00:00)" in shown(time_zone=UTC)


def test_a_receipt_without_a_number_or_a_wallet_has_what_there_is():
    page = shown(evolve(PAID, payment_id=None, wallet=None))
    assert VIEW.payment_request_id in page
    assert "Wallet</dt>" not in page


def test_a_refund_is_on_the_receipt_in_part_and_in_full():
    part = shown(evolve(PAID, refunded=Amount("USD", 500)))
    assert "Paid. Thank you!" in part
    assert "USD 5.00" in part
    full = shown(evolve(PAID, state=PageState.REFUNDED, refunded=Amount("USD", 123450)))
    assert "This payment was refunded" in full
    assert full.count("USD 1,234.50") == 2


@pytest.mark.parametrize("state", [state for state in PageState if not state.has_receipt])
def test_no_other_page_looks_like_a_receipt(state):
    page = shown(evolve(PAID, state=state))
    assert "<dl>" not in page
    assert "20261123194010800100188" not in page


class OwnReceipt(RecordingShop):
    answer: object = None

    def render_receipt(self, details):
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "own":
            view = details.view
            return Rendering(body=f"{view.state} {view.payment_id} {view.wallet}".encode())
        return self.answer

    def render_order_code(self, details):
        return Rendering(body=b"the shop's page")


class AsyncReceipt(OwnReceipt):
    async def render_receipt(self, details):
        return super().render_receipt(details)


@pytest.mark.parametrize(
    ("make", "hooks"),
    [
        (shops.flask_application, OwnReceipt),
        (shops.starlette_application, OwnReceipt),
        (shops.starlette_application, AsyncReceipt),
    ],
)
def test_a_shop_renders_the_receipt_itself_and_json_carries_the_same(
    tmp_path, simulated_account, simulated_alipayplus, make, hooks, caplog
):
    hooks = hooks()
    pay = make_pay(tmp_path / "shop.db", simulated_account, hooks)
    with reach(make(pay), pay) as client:
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()
        address = f"/aplus/{made['page']}"
        assert client.get(address, headers=HTML).text == "the shop's page"
        assert (made["paymentId"], made["wallet"], made["refunded"]) == (None, None, None)
        attempt = pay.store.get(made["paymentRequestId"])
        body = simulated_alipayplus.notification(attempt)
        notified = client.post(
            "/aplus/notify", content=body, headers=simulated_alipayplus.sign(body)
        )
        assert notified.status_code == 200
        paid = client.get(address, headers=JSON).json()
        assert (paid["state"], paid["wallet"]) == ("paid", "SOMEWALLET")
        assert paid["paymentId"] == attempt.payment_id
        assert paid["brand"] == "Alipay+ Partner"
        assert paid["paidAt"]
        hooks.answer = "own"
        assert client.get(address, headers=HTML).text == f"paid {attempt.payment_id} SOMEWALLET"
        for answer in (None, RuntimeError("its bug"), "a page"):
            hooks.answer = answer
            assert attempt.payment_id in client.get(address, headers=HTML).text
    assert "hook render_receipt: raised RuntimeError" in caplog.text
    assert "hook render_receipt: found str, expected a Rendering or None" in caplog.text
    pay.store.close()
