"""What adapters do around the routes: events, mounts that disagree, several accounts and apps."""

import asyncio
import json
import logging

import httpx
import pytest

from aplus_adapters import Account, ConfigurationError, PageDesign, PrivateKey
from aplus_adapters.testing.served_shop import JSON, RecordingShop, make_pay, reach
from aplus_adapters.testing.signer import AlipayPlus
from aplus_adapters.web.routing import ROUTES
from support import served as shops
from support.forms import FORMS

ASGI = {
    "starlette": shops.starlette_application,
    "fastapi": shops.fastapi_application,
    "asgi": shops.asgi_application,
}


def events_of(app, path, during, headers=None):
    """Listen until the stream ends; `during` is done after the first event."""
    heard = []

    async def main():
        # httpx's transport collects a whole answer first: the application is asked directly.
        received = asyncio.Queue()
        asked = asyncio.Queue()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
            "query_string": b"", "headers": headers or [], "client": ("127.0.0.1", 1),
            "server": ("shop.example", 80),
        }  # fmt: skip
        asked.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        task = asyncio.ensure_future(app(scope, asked.get, received.put))
        while True:
            message = await asyncio.wait_for(received.get(), 20)
            heard.append(message)
            if message["type"] == "http.response.body":
                if not message.get("more_body"):
                    break
                if len(heard) == 2:
                    await asyncio.to_thread(during)
        await task

    asyncio.run(main())
    return heard


@pytest.fixture
def shop(tmp_path, simulated_account):
    made = make_pay(tmp_path / "shop.db", simulated_account, page=PageDesign(events=True))
    yield made
    made.close()
    made.store.close()


def start(pay):
    with reach(shops.flask_application(pay), pay) as client:
        return client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()


@pytest.mark.parametrize("kind", ASGI)
def test_a_listener_hears_that_it_is_paid_and_the_stream_ends(shop, kind, simulated_alipayplus):
    request_id = start(shop)["paymentRequestId"]
    body = simulated_alipayplus.notification(shop.store.get(request_id))

    def notify():
        with reach(shops.flask_application(shop), shop) as client:
            headers = simulated_alipayplus.sign(body)
            assert client.post("/aplus/notify", content=body, headers=headers).status_code == 200

    first, *rest = events_of(ASGI[kind](shop), f"/aplus/payments/{request_id}/events", notify)
    assert first["status"] == 200
    assert dict(first["headers"])[b"content-type"].startswith(b"text/event-stream")
    stream = b"".join(message.get("body", b"") for message in rest).decode()
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert [one["state"] for one in told] == ["waiting", "paid"]


@pytest.mark.parametrize("kind", ASGI)
def test_only_a_page_that_can_hear_is_told_to_listen(shop, kind):
    request_id = start(shop)["paymentRequestId"]
    path = f"/aplus/payments/{request_id}"
    with reach(ASGI[kind](shop), shop) as client:
        assert f'data-events="{request_id}/events"' in client.get(path).text
    with reach(shops.flask_application(shop), shop) as client:
        assert "data-events" not in client.get(path).text
        assert client.get(f"{path}/events").status_code == 404


def test_nobody_hears_of_a_payment_that_is_not_theirs(tmp_path, simulated_account):
    hooks = shops.PrivateShop()
    pay = make_pay(tmp_path / "s.db", simulated_account, hooks, page=PageDesign(events=True))
    with reach(shops.starlette_application(pay), pay) as client:
        mine = {**JSON, "X-User": "owner"}
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=mine).json()
        for tail in ("", "/status", "/events", "/new"):
            path = f"/aplus/payments/{made['paymentRequestId']}{tail}"
            method = "POST" if tail == "/new" else "GET"
            assert client.request(method, path, headers=JSON).status_code == 404
        assert client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).status_code == 403
    pay.store.close()


MOUNTS = [
    ("http://127.0.0.1:9/aplus/notify", 0),
    ("http://127.0.0.1:9/shop/aplus/notify", 0),  # a proxy strips /shop
    ("http://127.0.0.1:9/notify", 0),  # a proxy puts /aplus before it
    ("http://127.0.0.1:9/payments/notify", 1),
    ("http://127.0.0.1:9/aplus/notifications", 1),
]


@pytest.mark.parametrize(("url", "warnings"), MOUNTS)
@pytest.mark.parametrize("kind", ["flask_application", "wsgi_application", *ASGI])
def test_a_mount_that_disagrees_with_the_notify_url_is_one_warning(
    tmp_path, simulator, caplog, kind, url, warnings
):
    account = Account.from_env({**simulator.environ, "APLUS_NOTIFY_URL": url})
    pay = make_pay(tmp_path / "shop.db", account)
    app = (ASGI.get(kind) or getattr(shops, kind))(pay)
    with caplog.at_level(logging.WARNING), reach(app, pay) as client:
        for number in range(3):
            client.post("/aplus/pay", json={"order_ref": f"A-{number}"}, headers=JSON)
    pay.store.close()
    found = [record.message for record in caplog.records if "route mounted at" in record.message]
    assert len(found) == warnings
    assert all("/aplus/notify" in text and "correct APLUS_NOTIFY_URL" in text for text in found)


class TwoAccounts(RecordingShop):
    def load_order(self, details):
        from attrs import evolve

        order = super().load_order(details)
        client_id = "OTHER" if details.order_ref.startswith("B") else None
        return order and evolve(order, client_id=client_id)


@pytest.mark.parametrize("kind", ["flask", "starlette", "fastapi", "wsgi-middleware"])
def test_the_hook_chooses_the_account_and_the_client_id_that_of_a_notification(
    tmp_path, simulated_account, simulated_alipayplus, aplus_clock, kind
):
    from attrs import evolve

    their_other_key = PrivateKey.generate()
    other = evolve(simulated_account, client_id="OTHER", alipayplus_keys=their_other_key.public_key)
    accounts = [simulated_account, other]  # the other one's calls are refused, and sent again
    pay = make_pay(tmp_path / "shop.db", accounts, TwoAccounts(), clock=aplus_clock)
    make = {
        "flask": shops.flask_application, "starlette": shops.starlette_application,
        "fastapi": shops.fastapi_application, "wsgi-middleware": shops.wsgi_application,
    }[kind]  # fmt: skip
    assert kind in FORMS
    pens = {"A-1": simulated_alipayplus, "B-1": AlipayPlus(other, their_other_key)}
    with reach(make(pay), pay) as client:
        for order, pen in pens.items():
            client.post("/aplus/pay", json={"order_ref": order}, headers=JSON)
            attempt = pay.store.latest(order)
            assert attempt.client_id == ("OTHER" if order == "B-1" else simulated_account.client_id)
            body = pen.notification(attempt)
            # The one account's key says nothing about the other's payments.
            wrong = pens["A-1" if order == "B-1" else "B-1"].sign(body)
            crossed = {**wrong, "Client-Id": attempt.client_id}
            assert client.post("/aplus/notify", content=body, headers=crossed).status_code == 401
            foreign = client.post("/aplus/notify", content=body, headers=wrong)
            assert (
                foreign.status_code != 200
                or pay.store.get(attempt.payment_request_id).state.value == "pending"
            )
            told = client.post("/aplus/notify", content=body, headers=pen.sign(body))
            assert pen.accepts(told.status_code, told.headers, told.content)
            assert pay.store.get(attempt.payment_request_id).state.value == "succeeded"
    pay.store.close()


class OfTheLoggedIn(RecordingShop):
    """Knows its buyer by what a dependency of the shop's own left on the request."""

    def authorize(self, details):
        return details.order_ref.startswith(details.visitor.native.state.user)


def test_fastapi_asks_the_shops_dependencies_for_buyers_and_never_for_alipayplus(
    tmp_path, simulated_account, simulated_alipayplus
):
    from fastapi import Depends, FastAPI, Header, HTTPException, Request

    from aplus_adapters.fastapi import create_router

    async def log_in(request: Request, x_user: str | None = Header(None)):
        if x_user is None:
            raise HTTPException(401, "who are you?")
        request.state.user = x_user

    pay = make_pay(tmp_path / "shop.db", simulated_account, OfTheLoggedIn())
    app = FastAPI(lifespan=pay.lifespan)
    app.include_router(create_router(pay, dependencies=[Depends(log_in)]), prefix="/aplus")
    with reach(app, pay) as client:

        def ask(method, path, user, **options):
            headers = {**JSON, "X-User": user} if user else JSON
            return client.request(method, f"/aplus/{path}", headers=headers, **options)

        asked = {"json": {"order_ref": "ann-1"}}
        answers = [ask("POST", "pay", user, **asked) for user in (None, "bob", "ann")]
        assert [answer.status_code for answer in answers] == [401, 403, 200]
        assert answers[0].json() == {"detail": "who are you?"}
        for path in (answers[2].json()["page"], answers[2].json()["status"]):
            seen = [ask("GET", path, user).status_code for user in (None, "bob", "ann")]
            assert seen == [401, 404, 200]
        assert ask("GET", "assets/page.css", None).status_code == 200
        body = simulated_alipayplus.notification(pay.store.latest("ann-1"))
        told = client.post("/aplus/notify", content=body, headers=simulated_alipayplus.sign(body))
        assert simulated_alipayplus.accepts(told.status_code, told.headers, told.content)
    described = app.openapi()["paths"]
    names = {
        path: [one["name"] for one in operation["post"]["parameters"]]
        for path, operation in described.items()
        if "post" in operation and "parameters" in operation["post"]
    }
    assert "x-user" in names["/aplus/pay"]
    assert "x-user" not in names["/aplus/notify"]
    pay.store.close()


def test_two_shops_live_in_one_flask_application(tmp_path, simulated_account):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    def create_app(folder):
        folder.mkdir()
        app = Flask("shops")
        pays = [make_pay(folder / f"{name}.db", simulated_account) for name in ("one", "two")]
        for name, pay in zip(("one", "two"), pays, strict=True):
            app.register_blueprint(create_blueprint(pay, name), url_prefix=f"/{name}")
        return app, pays

    made = [create_app(tmp_path / name) for name in ("a", "b")]
    for app, pays in made:
        transport = httpx.WSGITransport(app)
        with httpx.Client(transport=transport, base_url="http://shop.example") as client:
            for name in ("one", "two"):
                answer = client.post(f"/{name}/pay", json={"order_ref": "A-1"}, headers=JSON)
                assert answer.status_code == 200
        ids = {pay.store.latest("A-1").payment_request_id for pay in pays}
        assert len(ids) == 2
        assert set(app.cli.commands) == {"one", "two"} | set(Flask("bare").cli.commands)
        for pay in pays:
            pay.close()
            pay.store.close()


def test_the_blueprint_can_be_taken_out_of_csrf_protection(tmp_path, simulated_account):
    from flask import Flask
    from flask_wtf.csrf import CSRFProtect

    from aplus_adapters.flask import create_blueprint

    pay = make_pay(tmp_path / "shop.db", simulated_account)
    app = Flask("shop")
    app.secret_key = "of a test"
    blueprint = create_blueprint(pay)
    csrf = CSRFProtect(app)
    app.register_blueprint(blueprint, url_prefix="/aplus")
    app.add_url_rule("/orders", view_func=lambda: "made", methods=["POST"], endpoint="orders")
    with reach(app, pay) as client:
        refused = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON)
        assert refused.status_code == 400
        csrf.exempt(blueprint)
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON)
        assert made.status_code == 200
        assert client.post("/orders").status_code == 400
    pay.store.close()


def through_the_middleware(pay, app, scope, *arriving):
    """Let the ASGI middleware handle one scope; give what it sent."""
    from aplus_adapters.asgi import AplusMiddleware

    sent = []

    async def main():
        messages = iter(arriving)

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message)

        await AplusMiddleware(app, pay)(scope, receive, send)

    asyncio.run(main())
    return sent


@pytest.mark.parametrize("path", ["/chat", "/aplus/notify", "/aplus/payments/x"])
def test_a_websocket_is_the_applications_wherever_it_knocks(shop, path):
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def echo(websocket):
        await websocket.accept()
        await websocket.send_text("hears " + await websocket.receive_text())
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute(path, echo)])
    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "headers": [], "subprotocols": [], "scheme": "ws",
    }  # fmt: skip
    sent = through_the_middleware(
        shop, app, scope, {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x"}
    )
    assert [one["type"] for one in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "hears x"


def test_the_applications_lifespan_runs_and_its_end_closes_our_clients(shop):
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette

    happened = []

    @asynccontextmanager
    async def lifespan(_app):
        happened.append("start")
        used = shop.async_performer
        yield
        happened.append("end")
        assert shop.async_performer is used  # the application may use it until then

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    sent = through_the_middleware(
        shop, Starlette(lifespan=lifespan), scope,
        {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"},
    )  # fmt: skip
    assert [one["type"] for one in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert happened == ["start", "end"]
    assert shop._runner._awaiting is None


def test_what_the_application_refuses_is_passed_on_as_it_is(shop):
    """An application that knows no lifespan raises, and the server has to see it."""

    async def app(scope, receive, send):
        raise ValueError(scope["type"])

    with pytest.raises(ValueError, match="lifespan"):
        through_the_middleware(shop, app, {"type": "lifespan", "asgi": {"version": "3.0"}})


@pytest.mark.parametrize("kind", ["flask_application", "wsgi_application"])
def test_an_async_hook_is_refused_under_wsgi_with_the_remedy(tmp_path, simulated_account, kind):
    class AsyncHook(RecordingShop):
        async def load_order(self, details):
            return super().load_order(details)

    pay = make_pay(tmp_path / "shop.db", simulated_account, AsyncHook())
    with pytest.raises(ConfigurationError, match=r"AsyncHook.load_order.*serve the shop by ASGI"):
        getattr(shops, kind)(pay)
    pay.store.close()


@pytest.mark.parametrize("kind", ["flask_application", "wsgi_application"])
def test_a_server_that_knows_no_address_of_the_buyer_takes_payments(
    tmp_path, simulated_account, kind
):
    """Gunicorn behind a Unix socket says that it is empty."""
    pay = make_pay(tmp_path / "shop.db", simulated_account)
    transport = httpx.WSGITransport(getattr(shops, kind)(pay), remote_addr="")
    with httpx.Client(transport=transport, base_url="http://shop.example") as client:
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON)
    assert made.json()["state"] == "waiting"
    pay.close()
    pay.store.close()


def test_a_head_of_the_events_waits_for_none(shop):
    request_id = start(shop)["paymentRequestId"]
    for make in ASGI.values():
        with reach(make(shop), shop) as client:
            answer = client.request("HEAD", f"/aplus/payments/{request_id}/events")
            assert (answer.status_code, answer.content) == (200, b"")


def test_a_stream_ends_by_itself_so_that_no_restart_waits_for_it(
    shop, aplus_simulator, aplus_clock
):
    aplus_simulator.connect(shop)
    request_id = start(shop)["paymentRequestId"]
    began = aplus_clock.now()
    path = f"/aplus/payments/{request_id}/events"
    heard = events_of(shops.asgi_application(shop), path, lambda: None)
    assert b'"waiting"' in b"".join(one.get("body", b"") for one in heard)
    assert 5 < (aplus_clock.now() - began).total_seconds() < 10  # what servers are given to end in


def test_a_slash_at_the_end_is_another_address_under_flask(tmp_path, simulated_account):
    """The page's links are relative: one level deeper they would lead nowhere."""
    pay = make_pay(tmp_path / "shop.db", simulated_account)
    app = shops.flask_application(pay)
    app.url_map.strict_slashes = False
    with reach(app, pay) as client:
        assert client.post("/aplus/pay/", json={"order_ref": "A-1"}).status_code == 404
    pay.store.close()


def test_a_flask_blueprint_is_mounted_for_one_host(tmp_path, simulated_account):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    pay = make_pay(tmp_path / "shop.db", simulated_account)
    app = Flask("shop", host_matching=True, static_host="static.example")
    app.register_blueprint(create_blueprint(pay, host="pay.example"), url_prefix="/aplus")
    with reach(app, pay) as client:
        for host, status in (("pay.example", 200), ("shop.example", 404)):
            answer = client.get("/aplus/assets/page.css", headers={"Host": host})
            assert answer.status_code == status
    pay.store.close()


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
def test_two_shops_live_in_one_asgi_application(tmp_path, simulated_account, kind):
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.routing import Mount

    import aplus_adapters.fastapi as ours_for_fastapi
    import aplus_adapters.starlette as ours

    pays = {name: make_pay(tmp_path / f"{name}.db", simulated_account) for name in ("one", "two")}
    if kind == "starlette":
        app = Starlette(
            routes=[Mount(f"/{n}", routes=ours.create_routes(pay, n)) for n, pay in pays.items()]
        )
    else:
        app = FastAPI()
        for name, pay in pays.items():
            app.include_router(ours_for_fastapi.create_router(pay, name), prefix=f"/{name}")
        described = app.openapi()["paths"].values()
        ids = [one["operationId"] for operations in described for one in operations.values()]
        assert len(ids) == len(set(ids)) == 2 * len(ROUTES)
    with reach(app, pays["one"]) as client:
        for name, pay in pays.items():
            assert app.url_path_for(f"{name}_notify") == f"/{name}/notify"
            made = client.post(f"/{name}/pay", json={"order_ref": "A-1"}, headers=JSON).json()
            assert pay.store.latest("A-1").payment_request_id == made["paymentRequestId"]
        client.wait(pays["two"].aclose())
    for pay in pays.values():
        pay.store.close()


@pytest.mark.parametrize("path", ["/assets/logo.png", "/payments", "/", "/pay/x"])
def test_without_a_prefix_the_middleware_takes_its_own_addresses_only(
    tmp_path, simulated_account, path
):
    from aplus_adapters.asgi import AplusMiddleware as Asgi
    from aplus_adapters.wsgi import AplusMiddleware as Wsgi

    pay = make_pay(tmp_path / "shop.db", simulated_account)

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"the application's own"})

    for app, own in ((Wsgi(shops.nothing_here, pay, ""), 404), (Asgi(application, pay, ""), 418)):
        with reach(app, pay) as client:
            assert client.get(path).status_code == own
            assert "the application's own" in client.get(path).text
            assert client.get("/assets/page.css").status_code == 200
    pay.store.close()


def test_a_line_break_in_an_address_makes_no_line_in_the_log(shop, caplog):
    with reach(shops.fastapi_application(shop), shop) as client:
        client.post("/aplus/notify%0Aforged", json={})
        client.post("/aplus/notify%0A", json={})
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "route mounted at" not in caplog.text
