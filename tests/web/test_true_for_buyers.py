"""What a page and the JSON say is true, also of what seldom happens."""

import asyncio
import json
import re
from contextlib import contextmanager
from html import unescape

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from aplus_adapters import AplusPay, AuthorizeDetails, LogIn, MemoryStore, State, fastapi, starlette
from aplus_adapters.simulator import gateway, notifications
from aplus_adapters.testing import Simulator
from aplus_adapters.web.texts import TEXTS
from support.shop import Shop

HTML = {"Accept": "text/html", "Accept-Language": "en"}
JSON = {"Accept": "application/json"}
PICTURES = ("SMALLIMAGE", "MIDDLEIMAGE", "BIGIMAGE")


class Blocking(httpx.BaseTransport):
    """Asks an ASGI application without a socket, each request on an event loop of its own."""

    def __init__(self, app):
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request):
        async def ask():
            request.stream = httpx.ByteStream(request.read())
            answer = await self._app.handle_async_request(request)
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=await answer.aread()
            )

        return asyncio.run(ask())


def browser_of(app):
    return httpx.Client(transport=Blocking(app), base_url="https://testserver")


@contextmanager
def opened(shop=None, **more):
    with Simulator() as simulator:
        pay = AplusPay(account=simulator.account, store=MemoryStore(), hooks=shop or Shop(), **more)
        app = FastAPI()
        app.include_router(fastapi.create_router(pay), prefix="/aplus")
        simulator.connect(pay, app)
        with browser_of(app) as browser:
            yield simulator, pay, browser


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def world(shop):
    with opened(shop) as parts:
        yield parts


def page_of(browser, attempt):
    return browser.get(f"/aplus/payments/{attempt.payment_request_id}", headers=HTML)


def status_of(browser, attempt):
    return browser.get(f"/aplus/payments/{attempt.payment_request_id}/status").json()


class TestACodeThatComesAsPicturesAlone:
    @pytest.fixture
    def attempt(self, world, monkeypatch):
        _, pay, _ = world
        make = gateway.code_form

        def pictures(order, *arguments):
            form = make(order, *arguments)
            form["codeDetails"] = [
                {**form["codeDetails"][0], "displayType": kind, "codeValue": f"https://codes.example/{kind}.png"}
                for kind in PICTURES
            ]  # fmt: skip
            return form

        monkeypatch.setattr(gateway, "code_form", pictures)
        return pay.start("A-1")

    def test_is_shown_on_the_page_from_where_alipayplus_has_it(self, world, attempt):
        *_, browser = world
        page = page_of(browser, attempt)
        assert '<img class="qr" src="https://codes.example/BIGIMAGE.png"' in page.text
        assert (
            "img-src https://codes.example 'self' data:" in page.headers["content-security-policy"]
        )

    def test_is_in_the_json_until_it_ends(self, world, attempt):
        simulator, _, browser = world
        status = status_of(browser, attempt)
        assert (status["state"], status["code"]) == ("waiting", None)
        assert set(status["codeImages"]) == set(PICTURES)
        simulator.clock.advance(minutes=4)
        assert status_of(browser, attempt)["codeImages"] == {}
        assert "<img" not in page_of(browser, attempt).text


@pytest.mark.parametrize("name", ["page.css", "page.js", "button.css"])
@pytest.mark.parametrize("end", ["%0A", "%0D", "%00", "%2F", "x"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_asset_by_a_name_that_is_almost_right_is_no_crash(world, name, end, method):
    _, pay, browser = world
    assert browser.request(method, f"/aplus/assets/{name}").status_code == 200
    assert browser.request(method, f"/aplus/assets/{name}{end}").status_code < 500
    alone = browser_of(Starlette(routes=starlette.create_routes(pay)))
    assert alone.request(method, f"/assets/{name}{end}").status_code < 500


class TestACancelledPayment:
    @pytest.fixture
    def cancelled(self, world):
        """The buyer has paid, and the shop could not learn it: its cancellation gave it back."""
        simulator, pay, _ = world
        attempt = pay.start("A-1")
        with simulator.shop_unreachable():
            simulator.fault("http_500", call="inquiryPayment", times=1000)
            simulator.alipayplus.decide(simulator.order(attempt), "pay")
            simulator.clock.advance(minutes=4)
            pay.reconcile()
            assert pay.find(attempt.payment_request_id).state is State.CANCELLED
            yield attempt

    def test_is_not_told_that_nothing_was_charged(self, world, cancelled):
        *_, browser = world
        page = unescape(page_of(browser, cancelled).text)
        assert TEXTS["en"]["expired"] in page
        assert TEXTS["en"]["returned_more"] in page
        assert TEXTS["en"]["expired_more"] not in page

    def test_that_the_shop_wanted_says_so_too(self, world):
        _, pay, browser = world
        attempt = pay.start("A-1")
        assert pay.close_order("A-1").state is State.CANCELLED
        page = unescape(page_of(browser, attempt).text)
        assert TEXTS["en"]["cancelled"] in page
        assert TEXTS["en"]["returned_more"] in page

    def test_a_code_that_alipayplus_closed_unpaid_has_charged_nothing(self, world):
        simulator, pay, browser = world
        attempt = pay.start("A-1")
        simulator.clock.advance(minutes=3, seconds=1)
        pay.reconcile()
        assert pay.find(attempt.payment_request_id).state is State.FAILED
        assert TEXTS["en"]["expired_more"] in unescape(page_of(browser, attempt).text)


class TestTheTimeInTheJson:
    def test_is_there_only_once_it_is_paid(self, world):
        simulator, pay, browser = world
        attempt = pay.start("A-1")
        simulator.fault("reset", call="cancelPayment", times=1000)
        assert pay.close_order("A-1").state is State.CLOSING
        simulator.alipayplus.decide(simulator.order(attempt), "pay")
        simulator.deliver()
        assert pay.find(attempt.payment_request_id).success_reported
        status = status_of(browser, attempt)
        assert (status["state"], status["paidAt"], status["paymentId"]) == ("checking", None, None)
        simulator.alipayplus.faults.inject([])
        simulator.clock.advance(minutes=2)
        pay.reconcile()
        status = status_of(browser, attempt)
        assert (status["state"], status["paidAt"]) == ("returned", None)

    def test_is_the_receipts_own_where_alipayplus_names_none(self, world, monkeypatch):
        simulator, pay, browser = world
        details = notifications.payment_details

        def without_time(order):
            return {name: value for name, value in details(order).items() if name != "paymentTime"}

        monkeypatch.setattr(notifications, "payment_details", without_time)
        attempt = pay.start("A-1")
        simulator.alipayplus.decide(simulator.order(attempt), "pay")
        simulator.deliver()
        stored = pay.find(attempt.payment_request_id)
        assert (stored.state, stored.payment_time) == (State.SUCCEEDED, None)
        assert status_of(browser, attempt)["paidAt"] == stored.changed_at.isoformat(
            timespec="seconds"
        )


def test_a_code_that_is_closed_before_its_end_is_not_told_to_have_expired(world):
    simulator, pay, browser = world
    attempt = pay.start("A-1")
    simulator.fault("reset", call="cancelPayment", times=1000)
    assert pay.close_order("A-1").state is State.CLOSING
    # `data-late` is what the script shows at the code's end.
    page = re.sub(r' data-late="[^"]*"', "", unescape(page_of(browser, attempt).text))
    assert TEXTS["en"]["checking_more"] in page
    assert "expired" not in page


def test_an_order_that_is_gone_is_not_told_as_a_payment_that_is_none(world, shop):
    simulator, pay, browser = world
    attempt = pay.start("A-1")
    simulator.alipayplus.decide(simulator.order(attempt), "refuse")
    simulator.deliver()
    shop.price = None
    shop.load_order = lambda details: None
    answer = browser.post(f"/aplus/payments/{attempt.payment_request_id}/new", headers=HTML)
    assert answer.status_code == 404
    assert TEXTS["en"]["error_order"] in unescape(answer.text)
    unknown = browser.post(f"/aplus/payments/pay{'0' * 40}/new", headers=HTML)
    assert TEXTS["en"]["error_payment"] in unescape(unknown.text)


@pytest.mark.parametrize(
    "ref", ["A 1", "Ä-1", "注文-7", "A\\1", "1&next=https://evil.example", "1#x"]
)
def test_the_documented_log_in_takes_every_order_that_a_stranger_may_name(ref):
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs/page.md").read_text()
    block = text[text.index("from urllib.parse import quote\n\nfrom aplus_adapters import Auth") :]
    names = {"AuthorizeDetails": AuthorizeDetails, "LogIn": LogIn}
    exec(block[: block.index("```")], names)

    class Closed(names["DoorOfTheShop"], Shop):
        pass

    with opened(Closed()) as (_, _, browser):
        answer = browser.post(
            "/aplus/pay", json={"order_ref": ref}, headers=JSON, follow_redirects=False
        )
        assert answer.status_code == 401
        log_in = json.loads(answer.text)["logIn"]
    assert log_in.startswith("/login?next=/orders/")
    assert not set(log_in.removeprefix("/login?next=/orders/")) & set(" &#\\?/=")
