"""A body that the application read before us: named as such, never believed, never acknowledged."""

import asyncio
import logging

import httpx
import pytest

from support.served import flask_application, make_pay, starlette_application


@pytest.fixture
def pay(tmp_path, simulated_account):
    made = make_pay(tmp_path / "shop.db", simulated_account)
    yield made
    made.close()
    made.store.close()


@pytest.fixture
def told(pay, simulated_alipayplus):
    """A true notification: its body and headers."""
    from aplus_adapters import Visitor
    from aplus_adapters.payments.flows.initiate import initiate

    attempt = pay.run(initiate(pay.config, "A-1", Visitor(user_agent="x")))
    body = simulated_alipayplus.notification(attempt)
    return attempt.payment_request_id, body, simulated_alipayplus.sign(body)


READERS = {
    "get_json(cache=False)": lambda request: request.get_json(cache=False, silent=True),
    "stream.read()": lambda request: request.stream.read(),
    "get_data(cache=False)": lambda request: request.get_data(cache=False),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flask_shop_that_reads_the_body_first_is_told_so(pay, told, caplog, name):
    from flask import request

    request_id, body, headers = told
    app = flask_application(pay)
    app.before_request(lambda: READERS[name](request) and None)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        reply = client.post("/aplus/notify", content=body, headers=headers)
    assert reply.status_code == 400
    assert "signature" not in reply.headers
    assert "found no byte of the body left to read" in caplog.text
    assert pay.store.get(request_id).state.value == "pending"


def test_a_flask_shop_that_reads_the_body_and_keeps_it_does_no_harm(
    pay, told, simulated_alipayplus
):
    from flask import request

    _, body, headers = told
    app = flask_application(pay)
    app.before_request(lambda: request.get_json(silent=True) and None)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        reply = client.post("/aplus/notify", content=body, headers=headers)
    assert simulated_alipayplus.accepts(reply.status_code, reply.headers, reply.content)


class Reads:
    """A pure ASGI middleware that reads the body and leaves nothing."""

    def __init__(self, app, *, hangs):
        self.app, self.hangs = app, hangs

    async def __call__(self, scope, receive, send):
        while (await receive()).get("more_body"):
            pass

        async def nothing():
            if self.hangs:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        await self.app(scope, nothing, send)


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("kind", ["starlette", "asgi"])
def test_an_asgi_shop_that_reads_the_body_first_is_told_so(
    pay, told, caplog, monkeypatch, kind, hangs
):
    from aplus_adapters.web import http
    from support.served import asgi_application

    monkeypatch.setattr(http, "_BODY_TIMEOUT", 0.2)
    request_id, body, headers = told
    app = Reads(
        starlette_application(pay) if kind == "starlette" else asgi_application(pay), hangs=hangs
    )

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            reply = await client.post("/aplus/notify", content=body, headers=headers)
        await pay.aclose()
        return reply

    with caplog.at_level(logging.WARNING):
        reply = asyncio.run(main())
    assert reply.status_code == 400
    assert "signature" not in reply.headers
    assert "found no byte of the body left to read" in caplog.text
    assert pay.store.get(request_id).state.value == "pending"


AS_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("name", READERS)
def test_an_order_whose_body_was_read_first_is_told_so_too(pay, caplog, name):
    from flask import request

    app = flask_application(pay)
    app.before_request(lambda: READERS[name](request) and None)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        reply = client.post("/aplus/pay", content=b'{"order_ref":"A-1"}', headers=AS_JSON)
    assert reply.status_code == 400
    assert "'/aplus/pay' refused" in caplog.text
    assert "found no byte of the body left to read" in caplog.text


def test_a_form_that_a_flask_shop_has_parsed_first_is_still_an_order(pay):
    """As Flask-WTF does, or a log of what was posted."""
    from flask import request

    app = flask_application(pay)
    app.before_request(lambda: request.form and None)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        body = {"csrf_token": "ü&=", "order_ref": "A 1/ä"}
        assert client.post("/aplus/pay", data=body).status_code == 303
    assert pay.store.latest("A 1/ä") is not None


@pytest.mark.parametrize("limit", [10, 10_000_000])
def test_the_flask_applications_own_limit_holds(pay, told, limit):
    request_id, body, headers = told
    app = flask_application(pay)
    app.config["MAX_CONTENT_LENGTH"] = limit
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        reply = client.post("/aplus/notify", content=body, headers=headers)
    assert reply.status_code == (413 if limit == 10 else 200)
    assert pay.store.get(request_id).state.value == ("pending" if limit == 10 else "succeeded")
