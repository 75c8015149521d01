"""The simulated Alipay+ in the test's process: one payment's whole life without a socket."""

import asyncio
import socket
import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from attrs import evolve

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    ConfigurationError,
    MemoryStore,
    RefundState,
    SQLStore,
    State,
)
from aplus_adapters.simulator.notifications import SCHEDULE
from aplus_adapters.testing import (
    Buyer,
    NotPayable,
    NotStarted,
    OrderState,
    Simulator,
    VirtualClock,
)
from support.shop import NOON, AsyncShop, Shop


@pytest.fixture
def pay(shop, aplus_account):
    return AplusPay(account=aplus_account, store=MemoryStore(), hooks=shop)


@pytest.fixture(autouse=True)
def _no_socket(monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def flask_of(pay):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    return app


def starlette_of(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    return Starlette(routes=[Mount("/aplus", routes=create_routes(pay))], lifespan=pay.lifespan)


def fastapi_of(pay):
    from fastapi import FastAPI

    from aplus_adapters.fastapi import create_router

    app = FastAPI()
    app.include_router(create_router(pay), prefix="/aplus")
    return app


def function_of(pay):
    """Return a plain function that is an ASGI application without being a coroutine function."""
    app = starlette_of(pay)

    def application(scope, receive, send):
        return app(scope, receive, send)

    return application


APPLICATIONS = [flask_of, starlette_of, fastapi_of, function_of, lambda _pay: None]
NAMES = ["flask", "starlette", "fastapi", "function", "none"]


@pytest.fixture(params=APPLICATIONS, ids=NAMES)
def every_app(request, pay, aplus_simulator):
    aplus_simulator.connect(pay, request.param(pay))


@pytest.fixture
def connected(pay, aplus_simulator):
    aplus_simulator.connect(pay)


class TestEveryApplication:
    def test_a_payment_is_paid_and_acknowledged(self, every_app, shop, aplus_buyer):
        attempt = aplus_buyer.press("A-1")
        assert aplus_buyer.scan(attempt.order_code.text).amount == Amount.parse("42.00", "USD")
        assert aplus_buyer.pay().is_acknowledged
        assert shop.changes == [("A-1", "succeeded")]

    def test_nothing_is_warned_of_that_a_test_cannot_have(self, every_app, aplus_buyer, caplog):
        aplus_buyer.press("A-1")
        aplus_buyer.pay()
        assert [one.message for one in caplog.records if one.levelname == "WARNING"] == []

    def test_a_code_that_expires_is_told_to_the_shop(self, every_app, shop, aplus_buyer):
        aplus_buyer.press("A-1")
        aplus_buyer.wait()
        assert shop.changes == [("A-1", "failed")]

    def test_it_awaits_too(self, every_app, shop, aplus_buyer, aplus_notification, aplus_clock):
        async def main():
            await aplus_buyer.press_async("A-1")
            await aplus_buyer.refuse_async()
            await aplus_buyer.press_async("A-1")
            await aplus_buyer.wait_async(timedelta(seconds=10))
            await aplus_clock.advance_async(seconds=1)
            await aplus_buyer.pay_async()
            assert (await aplus_notification.send_async("doubled")).is_acknowledged

        asyncio.run(main())
        assert shop.changes == [("A-1", "failed"), ("A-1", "succeeded")]


def test_hooks_that_await_need_no_application(aplus_account, aplus_simulator, aplus_buyer):
    shop = AsyncShop()
    pay = AplusPay(account=aplus_account, store=MemoryStore(), hooks=shop)
    aplus_simulator.connect(pay)

    async def main():
        await aplus_buyer.press_async("A-1")
        await aplus_buyer.pay_async()

    asyncio.run(main())
    assert shop.changes == [("A-1", "succeeded")]


# Starlette's own client wants httpx2, which not every session has.
@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_a_test_client_serves_the_notification_in_its_own_loop(
    pay, shop, aplus_simulator, aplus_buyer
):
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    from aplus_adapters.starlette import create_routes

    loops = set()

    class Noting:
        def __init__(self, app):
            self.app = app

        async def __call__(self, *arguments):
            loops.add(asyncio.get_running_loop())
            await self.app(*arguments)

    app = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))], lifespan=pay.lifespan)
    with TestClient(Noting(app)) as client:
        aplus_simulator.connect(pay, client)
        started = client.post(
            "/aplus/pay", json={"order_ref": "A-1"}, headers={"Accept": "application/json"}
        )
        assert started.json()["state"] == "waiting"
        aplus_buyer.pay()
        status = client.get("/aplus/" + started.json()["status"])
        assert status.json()["state"] == "paid"
    assert shop.changes == [("A-1", "succeeded")]
    assert len(loops) == 1


def test_a_blocking_call_in_a_test_that_awaits_says_what_to_do(pay, aplus_simulator, aplus_buyer):
    aplus_simulator.connect(pay, starlette_of(pay))

    async def main():
        with pytest.raises(ConfigurationError, match="_async"):
            aplus_buyer.press("A-1")

    asyncio.run(main())


def test_the_shops_own_pages_and_database_take_part(
    tmp_path, shop, aplus_account, aplus_simulator, aplus_buyer
):
    store = SQLStore(f"sqlite:///{tmp_path / 'shop.db'}")
    pay = AplusPay(account=aplus_account, store=store, hooks=shop)
    app = flask_of(pay)
    aplus_simulator.connect(pay, app)
    client = app.test_client()
    started = client.post("/aplus/pay", data={"order_ref": "A-1"}, headers={"Accept": "text/html"})
    assert started.status_code == 303
    aplus_buyer.pay("A-1")
    assert b"Paid" in client.get("/aplus/" + started.location.rpartition("/aplus/")[2]).data
    store.close()


class TestTime:
    def test_a_notification_comes_again_by_alipayplus_schedule(
        self, connected, aplus_simulator, aplus_buyer, aplus_clock
    ):
        aplus_buyer.press("A-1")
        with aplus_simulator.shop_unreachable():
            assert aplus_buyer.pay().outcome == "no answer (ConnectError)"
            aplus_clock.advance(days=3)
        times = [delivery.at for delivery in aplus_simulator.deliveries]
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert pauses == list(SCHEDULE)

    def test_it_comes_again_until_the_shop_acknowledges_it(
        self, connected, shop, aplus_simulator, aplus_buyer, aplus_clock
    ):
        aplus_buyer.press("A-1")
        shop.fail = RuntimeError("the shop's database is down")
        assert not aplus_buyer.pay().is_acknowledged
        aplus_clock.advance(minutes=2)
        shop.fail = None
        aplus_clock.advance(minutes=10)
        aplus_clock.advance(days=1)
        assert [one.is_acknowledged for one in aplus_simulator.deliveries] == [False, False, True]
        assert shop.changes == [("A-1", "succeeded")]

    def test_what_is_due_happens_in_order_of_time(
        self, connected, aplus_simulator, aplus_buyer, aplus_clock
    ):
        first = aplus_buyer.press("A-1")
        with aplus_simulator.shop_unreachable():
            aplus_buyer.pay()  # comes again after 2 min
        aplus_clock.advance(seconds=30)
        second = aplus_buyer.press("B-2")  # expires after 3 min 30 s
        start = aplus_clock.now()
        aplus_clock.advance(minutes=4)
        told = aplus_simulator.deliveries[1:]
        ids = [delivery.payment_request_id for delivery in told]
        assert ids == [first.payment_request_id, second.payment_request_id]
        assert [delivery.at - start for delivery in told] == [
            timedelta(seconds=90),
            timedelta(seconds=180),
        ]

    def test_the_shops_worker_finds_a_payment_whose_notification_was_lost(
        self, connected, pay, shop, aplus_simulator, aplus_buyer, aplus_clock
    ):
        aplus_buyer.press("A-1")
        with aplus_simulator.shop_unreachable():
            aplus_buyer.pay()
        aplus_clock.advance(seconds=21)
        assert pay.reconcile().became_final == 1
        assert shop.changes == [("A-1", "succeeded")]

    def test_the_gateway_closes_a_code_in_time_for_an_inquiry(
        self, connected, pay, aplus_buyer, aplus_clock
    ):
        aplus_buyer.press("A-1")
        aplus_clock.sleep(185)
        pay.reconcile()
        assert pay.latest("A-1").state is State.FAILED  # as inquired; it had not to be cancelled

    def test_what_is_being_sent_is_not_sent_again_meanwhile(
        self, connected, shop, aplus_simulator, aplus_buyer, monkeypatch
    ):
        meanwhile = []
        monkeypatch.setattr(
            shop, "payment_changed", lambda _: meanwhile.extend(aplus_simulator.deliver())
        )
        aplus_buyer.press("A-1")
        aplus_buyer.pay()
        assert meanwhile == []
        assert len(aplus_simulator.deliveries) == 1

    def test_a_code_is_closed_at_its_end_even_if_nobody_moves_the_clock(
        self, connected, aplus_buyer, aplus_clock
    ):
        aplus_buyer.press("A-1")
        aplus_clock.sleep(181)
        with pytest.raises(NotPayable, match="CLOSED"):
            aplus_buyer.pay()

    def test_a_clock_alone_moves_and_never_back(self):
        clock = VirtualClock(NOON)
        clock.advance(hours=1, minutes=1)
        clock.move_to(NOON)
        assert clock.now() == NOON + timedelta(minutes=61)
        asyncio.run(clock.advance_async(seconds=60))
        asyncio.run(clock.sleep_async(60))
        assert clock.now() == NOON + timedelta(minutes=63)
        with pytest.raises(ValueError, match="not negative"):
            clock.advance(seconds=-1)


class TestNotifications:
    @pytest.fixture(autouse=True)
    def _press(self, connected, aplus_buyer):
        self.attempt = aplus_buyer.press("A-1")

    @pytest.mark.parametrize(
        "form", ["forged", "altered", "unsigned", "other_path", "unknown_order"]
    )
    def test_what_is_not_alipayplus_word_changes_nothing(self, shop, pay, aplus_notification, form):
        delivery = aplus_notification.send(form)
        assert not delivery.is_acknowledged
        assert delivery.form == form
        assert shop.changes == shop.conflicts == []
        assert pay.latest("A-1").state is State.PENDING

    def test_another_amount_is_a_conflict(self, shop, aplus_notification):
        aplus_notification.send("other_amount")
        assert shop.changes == []
        assert len(shop.conflicts) == 1

    def test_a_late_success_is_a_conflict(self, shop, pay, aplus_notification):
        pay.close_order("A-1")
        assert aplus_notification.send("late", self.attempt).is_acknowledged
        assert shop.changes == [("A-1", "cancelled")]
        assert len(shop.conflicts) == 1

    def test_a_true_one_can_be_sent_again_by_hand(self, shop, aplus_buyer, aplus_notification):
        aplus_buyer.refuse()
        assert aplus_notification.send("signed").is_acknowledged
        assert shop.changes == [("A-1", "failed")]

    def test_a_doubled_one_comes_twice(self, aplus_simulator, aplus_buyer, aplus_notification):
        aplus_buyer.pay()
        aplus_notification.send("doubled")
        assert [one.is_acknowledged for one in aplus_simulator.deliveries] == [True] * 3

    @pytest.mark.parametrize("form", ["signed", "doubled"])
    def test_alipayplus_tells_nothing_of_an_open_order(self, aplus_notification, form):
        with pytest.raises(ValueError, match="still open"):
            aplus_notification.send(form)


class TestFaults:
    @pytest.mark.aplus_fault("drop_answer", call="pay")
    def test_a_lost_answer_is_asked_for_again(self, connected, aplus_simulator, aplus_buyer):
        assert aplus_buyer.press("A-1").state is State.PENDING
        bodies = {request["bodySha256"] for request in aplus_simulator.order().requests}
        assert len(aplus_simulator.order().requests) == 2
        assert len(bodies) == 1

    @pytest.mark.parametrize(
        "fault", ["reset", "http_500", "unsigned", "bad_signature", "garbage", "drop_answer"]
    )
    def test_each_fault_of_one_call_is_overcome(
        self, connected, aplus_simulator, aplus_buyer, fault
    ):
        aplus_simulator.fault(fault, call="pay")
        assert aplus_buyer.press("A-1").state is State.PENDING

    @pytest.mark.parametrize("fault", ["delay", "late_answer"])
    def test_a_slow_answer_costs_time_of_the_clock_alone(
        self, connected, aplus_simulator, aplus_buyer, aplus_clock, fault
    ):
        aplus_simulator.fault(fault, call="pay", seconds=3)
        start = aplus_clock.now()
        assert aplus_buyer.press("A-1").state is State.PENDING
        assert aplus_clock.now() - start == timedelta(seconds=3)
        assert len(aplus_simulator.order().requests) == 1

    @pytest.mark.aplus_fault("late_answer", call="pay", seconds=9)
    def test_an_answer_after_the_time_out_is_none(self, connected, aplus_simulator, aplus_buyer):
        aplus_buyer.press("A-1")
        assert len(aplus_simulator.order().requests) == 2

    @pytest.mark.aplus_fault("result", call="refund", code="ACCESS_DENIED", status="F")
    @pytest.mark.aplus_fault("drop_answer", call="cancelPayment")
    def test_several_markers_are_in_force_at_once(
        self, connected, pay, aplus_simulator, aplus_buyer
    ):
        attempt = aplus_buyer.press("A-1")
        aplus_buyer.pay()
        refund = pay.refund(attempt.payment_request_id, refund_request_id="c1")
        assert refund.state is RefundState.FAILED
        aplus_buyer.press("B-2")
        assert pay.close_order("B-2").state is State.CANCELLED
        calls = [request["call"] for request in aplus_simulator.order("B-2").requests]
        assert calls[-2:] == ["cancelPayment", "inquiryPayment"]  # it asked what was done

    def test_an_unknown_fault_is_refused(self, aplus_simulator):
        with pytest.raises(ValueError, match="reset"):
            aplus_simulator.fault("gremlin")


class TestMistakes:
    def test_a_test_without_a_shop_is_told_how_to_connect_one(
        self, aplus_buyer, aplus_notification
    ):
        with pytest.raises(ConfigurationError, match=r"aplus_simulator\.connect\(pay, app\)"):
            aplus_buyer.press("A-1")
        with pytest.raises(LookupError, match="connected"):
            aplus_notification.send("forged")

    def test_an_order_that_the_shop_does_not_sell_is_not_started(
        self, connected, shop, aplus_buyer
    ):
        shop.price = None
        with pytest.raises(NotStarted, match="HTTP 404"):
            aplus_buyer.press("A-1")

    def test_an_error_of_the_application_is_the_tests_and_the_notification_is_sent_again(
        self, pay, shop, aplus_simulator, aplus_buyer
    ):
        app = flask_of(pay)
        broken = [True]

        def breaks(environ, start_response):
            if environ["PATH_INFO"].endswith("/notify") and broken:
                raise ZeroDivisionError("a bug of the shop")
            return app(environ, start_response)

        aplus_simulator.connect(pay, breaks)
        aplus_buyer.press("A-1")
        with pytest.raises(ZeroDivisionError):
            aplus_buyer.pay()
        broken.clear()
        assert [one.is_acknowledged for one in aplus_simulator.deliver()] == [True]
        assert shop.changes == [("A-1", "succeeded")]

    def test_nobody_brings_the_cookies_of_an_earlier_answer(
        self, pay, aplus_simulator, aplus_buyer
    ):
        app, brought = flask_of(pay), []

        @app.before_request
        def note():
            from flask import request

            brought.append(dict(request.cookies))

        @app.after_request
        def set_cookie(response):
            response.set_cookie("session", "1")
            return response

        aplus_simulator.connect(pay, app)
        aplus_buyer.press("A-1", headers={"Cookie": "mine=1"})
        aplus_buyer.pay()
        assert brought == [{"mine": "1"}, {}]

    def test_a_page_that_is_no_payment_is_shown(self, pay, aplus_simulator, aplus_buyer):
        def log_in(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"<form>Who are you?</form>"]

        aplus_simulator.connect(pay, log_in)
        with pytest.raises(NotStarted, match="Who are you"):
            aplus_buyer.press("A-1")

    def test_an_order_that_is_not_there_names_those_that_are(
        self, connected, aplus_simulator, aplus_buyer
    ):
        aplus_buyer.press("A-1")
        with pytest.raises(LookupError, match="no order B-2, only A-1"):
            aplus_simulator.order("B-2")

    @pytest.mark.parametrize("app", ["shop:app", 3])
    def test_what_is_no_application_is_refused(self, pay, aplus_simulator, app):
        with pytest.raises(ConfigurationError, match="expected the shop's WSGI or ASGI"):
            aplus_simulator.connect(pay, app)


class TwoMerchants(Shop):
    """Sells orders whose name begins with B by its second account."""

    def load_order(self, details):
        client_id = "CLIENT-1" if details.order_ref.startswith("B") else None
        return evolve(super().load_order(details), client_id=client_id)


@pytest.mark.parametrize("make", [flask_of, starlette_of])
def test_each_account_of_a_shop_pays_with_its_own_client_id_and_key(
    make, account, aplus_account, aplus_simulator, aplus_buyer
):
    shop = TwoMerchants()
    pay = AplusPay(account=[aplus_account, account], store=MemoryStore(), hooks=shop)
    aplus_simulator.connect(pay, make(pay))
    for order_ref in ("A-1", "B-1"):
        aplus_buyer.press(order_ref)
        aplus_buyer.pay()
    assert shop.changes == [("A-1", "succeeded"), ("B-1", "succeeded")]
    assert [order.client_id for order in aplus_simulator.orders] == [
        aplus_account.client_id,
        "CLIENT-1",
    ]
    aplus_simulator.close()
    assert pay.config.accounts["CLIENT-1"] == account


def test_the_shop_has_its_own_account_clients_and_clock_again_afterwards(account, shop):
    account = evolve(account, settlement_currency="EUR", signed_path="/behind/a/proxy")
    pay = AplusPay(account=account, store=MemoryStore(), hooks=shop, clock=VirtualClock(NOON))
    kept = pay.config, pay.context, pay._runner
    with Simulator() as simulator:
        simulator.connect(pay)
        used = pay.config.default_account
        for name in ("notify_url", "settlement_currency", "signed_path"):
            assert getattr(used, name) == getattr(account, name)
        assert used.client_id != account.client_id
        pay.start("A-1")
        assert simulator.order("A-1").state is OrderState.OPEN
    assert (pay.config, pay.context, pay._runner) == kept


def test_no_thread_is_left_behind(tmp_path, shop, aplus_account):
    def ours():
        return [one for one in threading.enumerate() if one.name.startswith("aplus-")]

    before = ours()
    store = SQLStore(f"sqlite:///{tmp_path / 'shop.db'}")
    pay = AplusPay(account=aplus_account, store=store, hooks=shop)
    with Simulator() as simulator:
        simulator.connect(pay, starlette_of(pay))
        Buyer(simulator).press("A-1")
        Buyer(simulator).pay()
        used = [one for one in ours() if one not in before]
        assert used
    for thread in used:
        thread.join(5)
    assert not any(thread.is_alive() for thread in used)
    store.close()


@pytest.fixture
def _machine_of_a_shop(monkeypatch):
    monkeypatch.setenv("APLUS_SETTLEMENT_CURRENCY", "EUR")
    monkeypatch.setenv("APLUS_PUBLIC_KEY_2_FILE", "/etc/keys/of-alipayplus.pem")


@pytest.mark.usefixtures("_machine_of_a_shop")
def test_the_environment_makes_the_simulated_account_on_every_machine(request):
    aplus_account = request.getfixturevalue("aplus_account")
    assert Account.from_env() == aplus_account


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_calls_without_a_shop_reach_the_same_books(
    library, aplus_account, aplus_simulator, aplus_clock
):
    """A program that uses the core alone, with an HTTP client of either library."""
    from aplus_adapters import AsyncClient, Client
    from aplus_adapters.messages import InquiryRequest, RefundRequest

    http = pytest.importorskip(library)
    order = AplusPay(account=aplus_account, store=MemoryStore(), hooks=Shop())
    aplus_simulator.connect(order)
    request_id = order.start("A-1").payment_request_id
    blocking = http.Client(transport=aplus_simulator.transport(http))
    awaiting = http.AsyncClient(transport=aplus_simulator.transport(http))
    with aplus_simulator.shop_unreachable():
        Buyer(aplus_simulator).pay()
    client = Client(aplus_account, client=blocking, clock=aplus_clock)
    assert (
        client.inquire(InquiryRequest(payment_request_id=request_id)).payment_result.result_status
        == "S"
    )

    async def main():
        client = AsyncClient(aplus_account, client=awaiting, clock=aplus_clock)
        refund = RefundRequest(
            payment_request_id=request_id, refund_request_id="c1", refund_amount=Amount("USD", 4200)
        )
        assert (await client.refund(refund)).result.result_status == "S"

    asyncio.run(main())
    assert aplus_simulator.order().refunded == 4200


def test_other_requests_than_calls_are_refused_as_by_the_server(aplus_simulator):
    import httpx

    with httpx.Client(transport=aplus_simulator.transport(httpx)) as client:
        for method, path, code in [
            ("GET", "/aps/api/v1/payments/pay", "METHOD_NOT_SUPPORTED"),
            ("POST", "/aps/api/v1/payments/payy", "NO_INTERFACE_DEF"),
        ]:
            answer = client.request(method, f"https://alipayplus.test{path}")
            assert answer.json()["result"]["resultCode"] == code
            assert "signature" not in answer.headers
