"""A view of the shop's has a transaction open while it calls `pay`: whose work is committed when.

The real simulator, PostgreSQL, and the sessions of five kinds of shops. On SQLite one writes at a
time; what a view may have begun there is in tests/stores/test_transactions.py.
"""

import asyncio
import time
from importlib.util import find_spec

import pytest
from sqlalchemy import Column, Integer, String, create_engine, text, update
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

from aplus_adapters import Amount, AplusPay, OrderToPay, RefundState, SQLStore, State
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.flows.refund import refund
from aplus_adapters.web.endpoints import respond
from aplus_adapters.web.http import HttpRequest
from aplus_adapters.web.routing import find_route
from racing_shop import BUYER

pytestmark = pytest.mark.process

PATIENCE = 5.0  # a promise to users, not a speed


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    ref = Column(String, primary_key=True)
    note = Column(String, default="")
    news = Column(Integer, default=0)


class Shop:
    """Its hooks write to the order's row, by the connection that commits the payment."""

    def load_order(self, details):
        return OrderToPay(amount=Amount("JPY", 4200), description="2 tickets")

    def payment_changed(self, details):
        mine = Order.ref == details.attempt.order_ref
        details.connection.execute(update(Order).where(mine).values(news=Order.news + 1))

    refund_changed = payment_changed

    def payment_conflict(self, details):
        pass


class View:
    """A view with its Session: it writes, calls `pay` and ends its transaction in the end."""

    def __init__(self, address):
        self.engine = create_engine(address)
        self.given = sessionmaker(self.engine)
        self.session = self.given()

    def write(self, sql):
        self.session.execute(text(sql))

    def call(self, pay, flow):
        return pay.run(flow)

    def end(self, how):
        getattr(self.session, how)()

    def close(self, pay):
        self.session.close()
        pay.close()


class ScopedView(View):
    def __init__(self, address):
        super().__init__(address)
        self.given = self.session = scoped_session(self.given)


class FlaskView(View):
    def __init__(self, address):
        from flask import Flask
        from flask_sqlalchemy import SQLAlchemy

        db, app = SQLAlchemy(model_class=Base), Flask("shop")
        app.config["SQLALCHEMY_DATABASE_URI"] = address
        db.init_app(app)
        self.context = app.app_context()
        self.context.push()
        self.engine, self.given, self.session = db.engine, db.session, db.session

    def close(self, pay):
        super().close(pay)
        self.context.pop()


class AsyncView(View):
    """Its calls and its session share the event loop."""

    def __init__(self, address):
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        super().__init__(address)
        self.awaiting = create_async_engine(address)
        self.session = AsyncSession(self.awaiting)
        self.loop = asyncio.new_event_loop()

    def write(self, sql):
        self.loop.run_until_complete(self.session.execute(text(sql)))

    def call(self, pay, flow):
        return self.loop.run_until_complete(pay.run_async(flow))

    def end(self, how):
        self.loop.run_until_complete(getattr(self.session, how)())

    def close(self, pay):
        for last in (self.session.close(), self.awaiting.dispose(), pay.aclose()):
            self.loop.run_until_complete(last)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class DjangoView(View):
    """`transaction.atomic`, and the store beside it on an engine of its own."""

    def __init__(self, address):
        import django
        from django.db import connections
        from django.db.transaction import Atomic

        from served import django_settings

        django_settings()
        django.setup()
        self.engine = self.given = create_engine(address)
        url = self.engine.url
        settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.database,
            "USER": url.username,
        }
        settings |= {"HOST": url.host, "PORT": str(url.port)}
        self.before = connections.settings
        connections.settings = connections.configure_settings({"default": settings})
        if hasattr(connections._connections, "default"):
            del connections._connections.default
        self.connections, self.atomic, self.block = connections, Atomic, None

    def write(self, sql):
        if self.block is None:
            self.block = self.atomic(None, savepoint=True, durable=False)
            self.block.__enter__()
        with self.connections["default"].cursor() as cursor:
            cursor.execute(sql)

    def end(self, how):
        block, self.block = self.block, None
        error = RuntimeError if how == "rollback" else None
        block.__exit__(error, error and error(), None)

    def close(self, pay):
        self.connections["default"].close()
        del self.connections["default"]
        self.connections.settings = self.before
        pay.close()


VIEWS = {
    "Session": View,
    "scoped_session": ScopedView,
    "Flask-SQLAlchemy": FlaskView,
    "AsyncSession": AsyncView,
    "Django": DjangoView,
}
NEEDS = {"Flask-SQLAlchemy": "flask_sqlalchemy", "Django": "django", "AsyncSession": "greenlet"}


@pytest.fixture(params=[name for name in VIEWS if find_spec(NEEDS.get(name, "sqlalchemy"))])
def view(request, postgres):
    address = postgres.database()
    beside = create_engine(address)
    Base.metadata.create_all(beside)
    with Session(beside) as session, session.begin():
        session.add_all([Order(ref="A-1"), Order(ref="A-2"), Order(ref="A-3")])
    made = VIEWS[request.param](address)
    made.address, made.beside = address, beside
    yield made
    beside.dispose()
    made.engine.dispose()


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


def look(view, pay, name):
    path = f"/aplus/payments/{name}"
    for part, accept in (("", "text/html"), ("/status", "application/json")):
        route, parameter = find_route(pay.routes, path + part, "/aplus")
        request = HttpRequest(method="GET", path=path + part, headers=(("Accept", accept),))
        assert view.call(pay, respond(pay.context, route, request, parameter)).status == 200


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
    assert "move this call of aplus_adapters before that write or behind its commit" in said
    view.end("commit")
    assert orders(view)["A-1"] == ("being refunded", 1)
    again = store.refunds(name)[0]
    assert store.release_refund(again.refund_request_id, again.claim, again.created_at)
    view.call(pay, reconcile(pay.config))
    assert orders(view)["A-1"] == ("being refunded", 2)
    assert store.get(name).state is State.SUCCEEDED
    view.close(pay)
    store.close()
