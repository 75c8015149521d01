"""A view of the shop's has a transaction open while it calls `pay`: whose work is committed when.

The real simulator, and the sessions of five kinds of shops. On SQLite one writes at a time, so a
call that cannot wait for its own view has to say so.
"""

import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from aplus_adapters import AplusPay, RefundState, SQLStore, State, StoreError
from aplus_adapters.payments.flows.follow_up import close
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.flows.refund import refund
from aplus_adapters.web.endpoints import respond
from aplus_adapters.web.http import HttpRequest
from aplus_adapters.web.routing import find_route
from support.racing_shop import BUYER
from support.shop_views import INSTALLED, VIEWS, Base, Order, Shop

pytestmark = pytest.mark.process

PATIENCE = 5.0  # a promise to users, not a speed


def prepare(kind, address):
    """Return the view of one kind of shop, on a database with three orders."""
    beside = create_engine(address)
    Base.metadata.create_all(beside)
    with Session(beside) as session, session.begin():
        session.add_all([Order(ref="A-1"), Order(ref="A-2"), Order(ref="A-3")])
    made = VIEWS[kind](address)
    made.address, made.beside = address, beside
    return made


def dispose(view):
    view.beside.dispose()
    view.engine.dispose()


@pytest.fixture(params=INSTALLED)
def view(request, postgres):
    made = prepare(request.param, postgres.database())
    yield made
    dispose(made)


@pytest.fixture(params=INSTALLED)
def sqlite_view(request, tmp_path):
    made = prepare(request.param, f"sqlite:///{tmp_path / 'shop.db'}?timeout=0.1")
    yield made
    dispose(made)


def orders(view):
    with view.beside.connect() as connection:
        rows = connection.execute(text("SELECT ref, note, news FROM orders ORDER BY ref"))
        return {ref: (note, news) for ref, note, news in rows}


def buy(view, pay, simulator, alipayplus, ref):
    """Let a buyer pay by the calls of `pay` alone; return the payment's id."""
    attempt = view.call(pay, initiate(pay.config, ref, BUYER))
    simulator.decide(attempt.payment_request_id, "pay")
    body = alipayplus.notification(attempt)
    headers = tuple(alipayplus.sign(body).items())
    assert view.call(pay, receive(pay.config, headers, body)).status == 200
    return attempt.payment_request_id


def look(view, pay, name, *, expected=(200,)):
    path = f"/aplus/payments/{name}"
    for part, accept in (("", "text/html"), ("/status", "application/json")):
        route, parameter = find_route(pay.routes, path + part, "/aplus")
        request = HttpRequest(method="GET", path=path + part, headers=(("Accept", accept),))
        assert view.call(pay, respond(pay.context, route, request, parameter)).status in expected


@pytest.mark.parametrize("given", ["address", "own"])
def test_what_a_view_has_written_is_neither_committed_nor_rolled_back_by_any_call(
    view, given, simulator, simulated_account, simulated_alipayplus
):
    store = SQLStore(view.address if given == "address" else view.given)
    pay = AplusPay(account=simulated_account, store=store, hooks=Shop())
    for ref, end in (("A-1", "rollback"), ("A-2", "commit")):
        view.write("UPDATE orders SET note = 'by the view' WHERE ref = 'A-3'")
        view.write(f"INSERT INTO orders VALUES ('new {ref}', '', 0)")
        name = buy(view, pay, simulator, simulated_alipayplus, ref)
        look(view, pay, name)
        sold = refund(pay.config, name, refund_request_id=f"r-{name}", amount=None, reason=None)
        assert view.call(pay, sold).state is RefundState.SUCCEEDED
        view.call(pay, reconcile(pay.config))
        look(view, pay, name)
        kept = orders(view)
        assert kept[ref] == ("", 2)  # both hooks, committed with the payment and the refund
        assert kept["A-3"] == ("", 0)
        assert f"new {ref}" not in kept
        view.end(end)
        kept = orders(view)
        assert (kept["A-3"][0] == "by the view", f"new {ref}" in kept) == (end == "commit",) * 2
    view.close(pay)
    store.close()


def test_a_refund_whose_hook_wants_the_row_that_the_view_holds_is_answered_in_time(
    view, simulator, simulated_account, simulated_alipayplus, caplog
):
    store = SQLStore(view.given)
    pay = AplusPay(account=simulated_account, store=store, hooks=Shop())
    name = buy(view, pay, simulator, simulated_alipayplus, "A-1")
    view.write("UPDATE orders SET note = 'being refunded' WHERE ref = 'A-1'")
    started = time.monotonic()
    flow = refund(pay.config, name, refund_request_id=f"r-{name}", amount=None, reason=None)
    stored = view.call(pay, flow)
    took = time.monotonic() - started
    print(f"{type(view).__name__}: a refund that waits for its own view answers after {took:.2f} s")
    assert took < PATIENCE
    assert stored.state is RefundState.CREATED  # it is durable, and goes on by itself
    said = next(one.getMessage() for one in caplog.records if f"r-{name}" in one.getMessage())
    assert "move this call of aplus_adapters before that write or after its commit" in said
    view.end("commit")
    assert orders(view)["A-1"] == ("being refunded", 1)
    again = store.refunds(name)[0]
    assert store.release_refund(again.refund_request_id, again.claim, again.created_at)
    view.call(pay, reconcile(pay.config))
    assert orders(view)["A-1"] == ("being refunded", 2)
    assert store.get(name).state is State.SUCCEEDED
    view.close(pay)
    store.close()


MOVE = "move this call of aplus_adapters before that write or after its commit"
ONE, ALL = (
    "UPDATE orders SET note = 'by the view' WHERE ref = 'A-3'",
    "SELECT sum(news) FROM orders",
)


class Calls:
    """Every call of `pay`, for one paid and one open attempt, while a view has something begun."""

    def __init__(self, view, pay, simulator, alipayplus):
        self.view, self.pay, self.alipayplus = view, pay, alipayplus
        self.paid = buy(view, pay, simulator, alipayplus, "A-1")
        attempt = view.call(pay, initiate(pay.config, "A-2", BUYER))
        self.open = attempt.payment_request_id
        simulator.decide(self.open, "pay")
        self.let_it_be_due()

    def let_it_be_due(self):
        stored = self.pay.store.get(self.open)
        self.pay.store.release(self.open, stored.claim, stored.created_at)

    def initiate(self):
        self.view.call(self.pay, initiate(self.pay.config, "A-3", BUYER))

    def look(self):
        look(self.view, self.pay, self.open, expected=(200, 503))

    def reconcile(self):
        self.view.call(self.pay, reconcile(self.pay.config))

    def receive(self):
        body = self.alipayplus.notification(self.pay.store.get(self.open))
        headers = tuple(self.alipayplus.sign(body).items())
        reply = self.view.call(self.pay, receive(self.pay.config, headers, body))
        assert reply.status in {200, 503}

    def refund(self):
        name = f"r-{self.paid}"
        flow = refund(self.pay.config, self.paid, refund_request_id=name, amount=None, reason=None)
        self.view.call(self.pay, flow)

    def close(self):
        self.view.call(self.pay, close(self.pay.config, self.pay.store.get(self.open)))


EVERY = ("initiate", "look", "reconcile", "receive", "refund", "close")


HELD = [("write", "address", "rollback"), ("write", "own", "commit"), ("read", "own", "rollback")]


@pytest.mark.parametrize(("begun", "given", "end"), HELD)
def test_on_sqlite_each_call_that_its_own_view_keeps_from_writing_says_so_and_leaves_it_alone(
    sqlite_view, given, begun, end, simulator, simulated_account, simulated_alipayplus, caplog
):
    """Without WAL, as a shop's own engine may be, a view that only reads keeps others out too."""
    view = sqlite_view
    store = SQLStore(view.address if given == "address" else view.given)
    pay = AplusPay(account=simulated_account, store=store, hooks=Shop())
    calls = Calls(view, pay, simulator, simulated_alipayplus)
    before = orders(view)
    view.begin()
    assert view.read(ALL) == 1
    if begun == "write":
        view.write(ONE)
    for name in EVERY:
        caplog.clear()
        started, said = time.monotonic(), ""
        try:
            getattr(calls, name)()
        except StoreError as error:
            said = str(error)
        assert time.monotonic() - started < PATIENCE, name
        assert MOVE in said + "".join(one.getMessage() for one in caplog.records), name
        assert orders(view) == before, name
        assert store.get(calls.open).state is State.PENDING, name
    assert view.read(ALL) == 1
    view.end(end)
    written = begun == "write" and end == "commit"
    assert orders(view)["A-3"] == ("by the view" if written else "", 0)
    for name in EVERY:
        getattr(calls, name)()
    look(view, pay, calls.open)
    kept = orders(view)
    assert [kept[ref][1] for ref in ("A-1", "A-2", "A-3")] == [2, 1, 0]
    view.close(pay)
    store.close()


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_on_sqlite_with_wal_a_view_that_has_read_keeps_its_own_sight_of_the_database(
    sqlite_view, end, simulator, simulated_account, simulated_alipayplus
):
    view = sqlite_view
    store = SQLStore(view.address)
    pay = AplusPay(account=simulated_account, store=store, hooks=Shop())
    calls = Calls(view, pay, simulator, simulated_alipayplus)
    view.begin()
    assert view.read(ALL) == 1
    for name in EVERY:
        getattr(calls, name)()
        assert view.read(ALL) == 1, name
    assert [news for _, news in orders(view).values()] == [2, 1, 0]
    view.end(end)
    assert view.read(ALL) == 3
    view.end(end)
    view.close(pay)
    store.close()
