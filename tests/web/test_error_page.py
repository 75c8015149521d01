"""What a buyer's browser is told when something goes wrong: a page with a way back."""

from html import unescape

import pytest

from aplus_adapters import InvalidValue, LogIn, PageDesign
from aplus_adapters.testing.served_shop import JSON, RecordingShop, make_pay, reach
from aplus_adapters.web.page import PAGE_HEADERS, render_error
from aplus_adapters.web.texts import TEXTS
from support import served as shops

HTML = {"Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
KINDS = ["payment", "order", "changed", "often", "shop", "request"]


class Troubled(RecordingShop):
    trouble = ""

    def load_order(self, details):
        if self.trouble == "bug":
            raise LookupError("no such table: orders")
        return None if self.trouble == "no order" else super().load_order(details)

    def authorize(self, details):
        if self.trouble == "log in":
            return LogIn(f"/login?next=/orders/{details.order_ref}")
        return self.trouble != "stranger"


class AsyncTroubled(Troubled):
    async def authorize(self, details):
        return super().authorize(details)


MAKERS = {
    "flask": (shops.flask_application, Troubled),
    "starlette": (shops.starlette_application, Troubled),
    "starlette-async": (shops.starlette_application, AsyncTroubled),
    "wsgi": (shops.wsgi_application, Troubled),
}


@pytest.fixture(params=MAKERS)
def served(request, tmp_path, simulated_account):
    make, hooks = MAKERS[request.param]
    hooks = hooks()
    pay = make_pay(
        tmp_path / "shop.db", simulated_account, hooks, page=PageDesign(shop_url="/window")
    )
    with reach(make(pay), pay) as client:
        yield pay, hooks, client
    pay.store.close()


def check(response, status, kind, language="en"):
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == PAGE_HEADERS["Content-Security-Policy"]
    text = unescape(response.text)
    assert f'<html lang="{language}"' in text
    assert TEXTS[language][f"error_{kind}"] in text
    assert TEXTS[language][f"error_{kind}_more"] in text
    assert 'href="/window" target="_top"' in text
    return text


def test_a_buyers_errors_are_pages_with_a_way_back(served):
    _, hooks, client = served
    pay = {"order_ref": "A-1"}
    started = client.post("/aplus/pay", data=pay, headers=HTML).headers["location"]
    unknown = client.get("/aplus/payments/pay123", headers=HTML)
    page = check(unknown, 404, "payment")
    assert 'href="../assets/page.css"' in page
    check(
        client.get("/aplus/payments/x", headers=HTML | {"Accept-Language": "ja"}),
        404,
        "payment",
        "ja",
    )
    page = check(client.post("/aplus/pay", data={"order_ref": ""}, headers=HTML), 400, "request")
    assert 'href="assets/page.css"' in page
    check(client.get("/aplus/pay", headers=HTML), 405, "request")
    page = check(client.post("/aplus/payments/x/new", headers=HTML), 404, "payment")
    assert 'href="../../assets/page.css"' in page
    for trouble, status, kind in [
        ("no order", 404, "order"),
        ("stranger", 403, "order"),
        ("bug", 500, "shop"),
    ]:
        hooks.trouble = trouble
        page = check(client.post("/aplus/pay", data=pay, headers=HTML), status, kind)
        assert "no such table" not in page
    hooks.trouble = "stranger"
    check(client.get(f"/aplus/{started}", headers=HTML), 404, "payment")


def test_a_program_gets_its_errors_as_before(served):
    _, _, client = served
    answer = client.get("/aplus/payments/pay123", headers=JSON)
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/aplus/payments/pay123").text == "there is no such payment\n"
    assert client.get("/aplus/payments/pay123/status", headers=HTML).text.count("\n") == 1


def test_a_shop_sends_its_visitors_to_its_log_in(served):
    _, hooks, client = served
    payment = client.post("/aplus/pay", json={"order_ref": "A-2"}, headers=JSON).json()
    hooks.trouble = "log in"
    for answer in (
        client.post("/aplus/pay", data={"order_ref": "A-2"}, headers=HTML),
        client.get(f"/aplus/{payment['page']}", headers=HTML),
        client.post(f"/aplus/{payment['page']}/new", headers=HTML),
    ):
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?next=/orders/A-2"
        assert answer.headers["cache-control"] == "no-store"
    for answer in (
        client.post("/aplus/pay", json={"order_ref": "A-2"}, headers=JSON),
        client.get(f"/aplus/{payment['status']}", headers=JSON),
    ):
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["logIn"] == "/login?next=/orders/A-2"
    assert client.get("/aplus/payments/pay123", headers=HTML).status_code == 404


@pytest.mark.parametrize(
    "url", ["//evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x", "", None, "login"]
)
def test_a_log_in_that_a_browser_may_read_as_something_else_is_refused(url):
    with pytest.raises(InvalidValue, match="LogIn url: found"):
        LogIn(url)


def test_a_payments_page_names_the_shop(served):
    _, _, client = served
    location = client.post("/aplus/pay", data={"order_ref": "A-1"}, headers=HTML).headers[
        "location"
    ]
    assert "Cinema" in client.get(f"/aplus/{location}", headers=HTML).text


def test_a_page_of_a_shop_in_trouble_tries_again_by_itself_and_a_form_by_a_button(
    served, monkeypatch, caplog
):
    pay, _, client = served
    broken = lambda *_, **__: 1 / 0  # noqa: E731
    monkeypatch.setattr(pay.store, "get", broken)
    monkeypatch.setattr(pay.store, "add", broken)
    monkeypatch.setattr(pay.store, "latest", broken)
    page = client.get("/aplus/payments/pay123", headers=HTML)
    text = check(page, 503, "shop")
    assert 'data-again="5"' in text
    assert '<meta http-equiv="refresh" content="5">' in text
    assert page.headers["retry-after"] == "2"
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.event, record.route) == ("store_failed", "payment")
    order = {"order_ref": '"><b>'}
    posted = client.post("/aplus/pay", data=order, headers=HTML)
    check(posted, 503, "shop")
    assert 'name="order_ref" value="&#34;&gt;&lt;b&gt;"' in posted.text
    assert "data-again" not in posted.text


def test_a_missing_jinja_leaves_one_line_of_text(served, monkeypatch):
    import sys

    from aplus_adapters.web import template

    _, _, client = served
    template._compile.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert client.get("/aplus/payments/x", headers=HTML).text == "there is no such payment\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", TEXTS)
def test_every_kind_is_told_in_every_language_and_nothing_is_inline(kind, language):
    page = render_error(
        f"error_{kind}", "<script>", language, PageDesign(), assets_url="assets"
    ).decode()
    assert TEXTS[language][f"error_{kind}"] in unescape(page)
    assert "<script>" not in page
    assert "style=" not in page
