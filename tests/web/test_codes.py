"""Each result code of the seed page, one by one: simulator, client, state and page."""

import re

import httpx
import pytest

from aplus_adapters import Client, OutcomeUnknown, PageDesign, Rejected, Timing
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.protocol.results import CODES, Action
from aplus_adapters.web.texts import TEXTS
from support.served import flask_application, make_pay

HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
JSON = {"Accept": "application/json"}
# What the page says then; by hand from the seed page: F fails, U without a code is asked for again.
SHOWN = {code: "failed" if row.status == "F" else "retrying" for code, row in CODES.items()}
SHOWN |= {"ORDER_IS_CLOSED": "expired", "ORDER_NOT_EXIST": "expired", "SUCCESS": "retrying"}
CODES_OF_PAY = [code for code in CODES if code not in ("SUCCESS", "PAYMENT_IN_PROCESS")]


@pytest.fixture
def shop(tmp_path, aplus_account, aplus_simulator):
    timing = Timing(pay=Retry(pauses=()))  # one send: what one answer does is looked at
    page = PageDesign(texts={"fr": {"because_balance": "Solde insuffisant."}})
    pay = make_pay(tmp_path / "shop.db", aplus_account, timing=timing, page=page)
    app = flask_application(pay)
    aplus_simulator.connect(pay, app)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop.example") as client:
        yield pay, client
    pay.store.close()


@pytest.mark.parametrize("code", CODES_OF_PAY)
def test_a_code_goes_through_simulator_client_state_and_page(
    shop, aplus_simulator, aplus_account, aplus_clock, code
):
    pay, browser = shop
    row = CODES[code]
    aplus_simulator.fault("result", call="pay", code=code, status=row.status, times=4)
    payment = browser.post("/aplus/pay", json={"order_ref": "C-1"}, headers=JSON).json()
    attempt = pay.store.get(payment["paymentRequestId"])
    assert payment["state"] == SHOWN[code]
    assert attempt.state.value == ("failed" if row.status == "F" else "created")
    page = browser.get(f"/aplus/payments/{payment['paymentRequestId']}", headers=HTML).text
    assert f'data-state="{SHOWN[code]}"' in page
    assert code not in page
    if SHOWN[code] == "failed":
        assert TEXTS["en"][f"because_{row.reason}"] in page.replace("&#39;", "'")
        assert payment["reason"] == row.reason
        assert payment["message"] == TEXTS["en"][f"because_{row.reason}"]
    else:
        assert (payment["reason"], payment["message"]) == (None, None)
    request = PayRequest.decode(attempt.request_body)
    http = httpx.Client(transport=aplus_simulator.transport(httpx))
    with Client(aplus_account, client=http, clock=aplus_clock) as client:
        if row.status == "F":
            with pytest.raises(Rejected, match=re.escape(row.advice)) as rejected:
                client.pay(request)
            assert rejected.value.result.result_code == code
        else:
            with pytest.raises(OutcomeUnknown, match="asks for the same again"):
                client.pay(request)
            assert row.action in (Action.RETRY, Action.SLOW_DOWN)


@pytest.mark.aplus_fault("result", call="pay", code="USER_BALANCE_NOT_ENOUGH", status="F")
def test_the_json_says_why_in_the_language_that_the_client_asks_for(shop):
    _, browser = shop
    order, path = {"order_ref": "C-LANGUAGE"}, "/aplus/payments"
    japanese = browser.post("/aplus/pay", json=order, headers=JSON | {"Accept-Language": "ja"})
    request_id = japanese.json()["paymentRequestId"]
    french = browser.get(f"{path}/{request_id}/status", headers={"Accept-Language": "fr-CA"})
    korean = browser.get(f"{path}/{request_id}", headers=JSON | {"Accept-Language": "ko"})
    payments = [japanese.json(), french.json(), korean.json()]
    assert [payment["reason"] for payment in payments] == ["balance"] * 3
    assert [payment["message"] for payment in payments] == [
        "ウォレットの残高が不足しています。",
        "Solde insuffisant.",
        "지갑 잔액이 부족합니다.",
    ]


def test_the_normal_code_shows_the_order_code(shop):
    _, browser = shop
    payment = browser.post("/aplus/pay", json={"order_ref": "C-OK"}, headers=JSON).json()
    assert payment["state"] == "waiting"
    page = browser.get(f"/aplus/payments/{payment['paymentRequestId']}", headers=HTML).text
    assert "<svg" in page
