"""The sessions of five kinds of shops, each as a view uses it while it calls `pay`."""

import asyncio
from importlib.util import find_spec

from sqlalchemy import Column, Integer, String, create_engine, text, update
from sqlalchemy.orm import DeclarativeBase, scoped_session, sessionmaker

from aplus_adapters import Amount, OrderToPay


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

    def begin(self):
        """Begin a transaction of the database: sqlite3 by itself leaves a read without one."""
        if self.engine.dialect.name == "sqlite":
            self.write("BEGIN")

    def write(self, sql):
        self.session.execute(text(sql))

    def read(self, sql):
        return self.session.execute(text(sql)).scalar_one()

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
        self.awaiting = create_async_engine(address.replace("sqlite:", "sqlite+aiosqlite:"))
        self.session = AsyncSession(self.awaiting)
        self.loop = asyncio.new_event_loop()

    def write(self, sql):
        self.loop.run_until_complete(self.session.execute(text(sql)))

    def read(self, sql):
        return self.loop.run_until_complete(self.session.execute(text(sql))).scalar_one()

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

        from support.served import django_settings

        django_settings()
        django.setup()
        self.engine = create_engine(address)
        self.given, url = self.engine, self.engine.url
        kind = {"sqlite": "sqlite3"}.get(self.engine.dialect.name, "postgresql")
        settings = {"ENGINE": f"django.db.backends.{kind}", "NAME": url.database}
        if kind == "postgresql":
            settings |= {"USER": url.username, "HOST": url.host, "PORT": str(url.port)}
        self.before = connections.settings
        connections.settings = connections.configure_settings({"default": settings})
        if hasattr(connections._connections, "default"):
            del connections._connections.default
        self.connections, self.atomic, self.block = connections, Atomic, None

    def begin(self):
        if self.block is None:
            self.block = self.atomic(None, savepoint=True, durable=False)
            self.block.__enter__()

    def write(self, sql):
        self.begin()
        with self.connections["default"].cursor() as cursor:
            cursor.execute(sql)

    def read(self, sql):
        self.begin()
        with self.connections["default"].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

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
_NEEDS = {"Flask-SQLAlchemy": "flask_sqlalchemy", "Django": "django", "AsyncSession": "aiosqlite"}
INSTALLED = [name for name in VIEWS if find_spec(_NEEDS.get(name, "sqlalchemy"))]
