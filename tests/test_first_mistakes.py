"""The ten most likely mistakes of a new shop: each is one clear error, where the shop made it."""

import asyncio
import logging
import re
import sys
from decimal import Decimal

import httpx
import pytest
from attrs import evolve

from aplus_adapters import Account, Amount, AplusPay, MemoryStore, OrderToPay
from aplus_adapters.errors import AplusError, ConfigurationError, InvalidValue, StoreError
from support.shop import AsyncShop, Shop


async def _answer(scope, receive, send):
    """Answer nothing: an application."""


class Misspelt:
    load_orders = payment_changed = payment_conflict = lambda self, details: None


class MisspeltOptional(Shop):
    def authorise(self, details):
        return False


def pay_with(account, hooks=None, store=None):
    return AplusPay(account=account, store=store or MemoryStore(), hooks=hooks or Shop())


def blueprint(account, hooks=None):
    from aplus_adapters.flask import create_blueprint

    return create_blueprint(pay_with(account, hooks))


def missing_variable(account, tmp_path, monkeypatch):
    Account.from_env({"APLUS_CLIENT_ID": "C", "APLUS_GATEWAY": "https://gateway.example"})


def misspelt_hook(account, tmp_path, monkeypatch):
    pay_with(account, Misspelt())


def misspelt_optional_hook(account, tmp_path, monkeypatch):
    pay_with(account, MisspeltOptional())


def hook_class(account, tmp_path, monkeypatch):
    pay_with(account, Shop)


def async_hook_in_flask(account, tmp_path, monkeypatch):
    blueprint(account, AsyncShop())


def async_hook_in_wsgi(account, tmp_path, monkeypatch):
    from aplus_adapters.wsgi import AplusMiddleware

    AplusMiddleware(lambda environ, start: [], pay_with(account, AsyncShop()))


def float_amount(account, tmp_path, monkeypatch):
    Amount.parse(42.0, "USD")


def float_minor_units(account, tmp_path, monkeypatch):
    Amount("USD", 42.0)


def decimal_minor_units(account, tmp_path, monkeypatch):
    Amount("USD", Decimal("42.00"))


def decimal_that_is_not_exact(account, tmp_path, monkeypatch):
    Amount.parse(Decimal("42.005"), "USD")


def decimal_for_an_amount(account, tmp_path, monkeypatch):
    OrderToPay(amount=Decimal("42.00"), description="2 tickets")


def currency_in_small_letters(account, tmp_path, monkeypatch):
    Amount.parse("42.00", "usd")


def currency_that_is_none(account, tmp_path, monkeypatch):
    OrderToPay(amount=Amount("EUX", 4200), description="2 tickets")


def no_folder_for_the_tables(account, tmp_path, monkeypatch):
    from aplus_adapters import SQLStore

    store = SQLStore(f"sqlite:///{tmp_path}/no/such/folder/shop.db")
    store.latest("A-1")


def no_tables(account, tmp_path, monkeypatch):
    from aplus_adapters import SQLStore

    store = SQLStore(f"sqlite:///{tmp_path}/shop.db")
    store.set_up()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE aplus_payments")
    try:
        store.latest("A-1")
    finally:
        store.close()


def mounted_twice_in_flask(account, tmp_path, monkeypatch):
    from flask import Flask

    app = Flask("shop")
    for prefix in ("/aplus", "/pay"):
        app.register_blueprint(blueprint(account), url_prefix=prefix)


def mounted_twice_in_wsgi(account, tmp_path, monkeypatch):
    from aplus_adapters.wsgi import AplusMiddleware

    pay = pay_with(account)
    AplusMiddleware(AplusMiddleware(lambda environ, start: [], pay), pay, "aplus/")


def mounted_twice_in_asgi(account, tmp_path, monkeypatch):
    from aplus_adapters.asgi import AplusMiddleware

    pay = pay_with(account)
    AplusMiddleware(AplusMiddleware(_answer, pay), pay)


def without(monkeypatch, missing, module, name=""):
    """Import a module as if a package were not installed."""
    for loaded in [one for one in sys.modules if one.partition(".")[0] == missing or one == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, missing, None)
    getattr(__import__(module, fromlist=["x"]), name or "x", None)


def missing_flask(account, tmp_path, monkeypatch):
    without(monkeypatch, "flask", "aplus_adapters.flask")


def missing_starlette(account, tmp_path, monkeypatch):
    without(monkeypatch, "starlette", "aplus_adapters.starlette")


def missing_fastapi(account, tmp_path, monkeypatch):
    without(monkeypatch, "fastapi", "aplus_adapters.fastapi")


def missing_sql(account, tmp_path, monkeypatch):
    without(monkeypatch, "sqlalchemy", "aplus_adapters.stores.sql")


def missing_driver(account, tmp_path, monkeypatch):
    from aplus_adapters import SQLStore

    monkeypatch.setitem(sys.modules, "psycopg", None)
    SQLStore("postgresql+psycopg://shop@host/shop")


def missing_page(account, tmp_path, monkeypatch):
    from aplus_adapters.web.template import _compile

    monkeypatch.setitem(sys.modules, "jinja2", None)
    _compile.__wrapped__(None)


MISTAKES = [
    (missing_variable, ConfigurationError, "found no APLUS_NOTIFY_URL, APLUS_PRIVATE_KEY, APLUS_PUBLIC_KEY",
     "expected them to be set", "aplus simulator"),
    (misspelt_hook, ConfigurationError, "found Misspelt without load_order", "expected load_order, payment_changed",
     "found load_orders; did you mean load_order?"),
    (misspelt_optional_hook, ConfigurationError, "found authorise; did you mean authorize?",
     "expected authorize (optional)", "rename the method"),
    (hook_class, ConfigurationError, "found the class Shop", "expected an object of it", "write Shop()"),
    (async_hook_in_flask, ConfigurationError, "AsyncShop.load_order: found an async function", "expected a plain one",
     "serve the shop by ASGI"),
    (async_hook_in_flask, ConfigurationError, "AsyncShop.load_order: found an async function", "expected a plain one",
     "make it plain, or serve"),
    (async_hook_in_wsgi, ConfigurationError, "AsyncShop.load_order: found an async function", "expected a plain one",
     "make it plain"),
    (float_amount, InvalidValue, "found 42.0", "expected decimal text such as '12.34' or a Decimal", "pass text"),
    (float_minor_units, InvalidValue, "found 42.0", "expected a whole number of minor units", "use Amount.parse()"),
    (decimal_minor_units, InvalidValue, "found Decimal", "expected a whole number of minor units", "use Amount.parse()"),
    (decimal_that_is_not_exact, InvalidValue, "found '42.005'", "expected digits with at most 2 decimals for USD", ""),
    (decimal_for_an_amount, InvalidValue, "found Decimal", "expected an Amount", "write Amount.parse('42.00', 'USD')"),
    (currency_in_small_letters, InvalidValue, "found 'usd'", "expected an active ISO 4217 code", "in capital letters"),
    (currency_that_is_none, InvalidValue, "found the currency 'EUX'", "expected an active ISO 4217 code", "such as USD"),
    (no_folder_for_the_tables, StoreError, "unable to open database file", "expected a working database with the tables", ""),
    (no_tables, StoreError, "no such table: aplus_payments", "expected a working database with the tables", ""),
    (mounted_twice_in_flask, ConfigurationError, "found them mounted twice at 'aplus'", "expected once", "remove one"),
    (mounted_twice_in_wsgi, ConfigurationError, "found them mounted twice at 'aplus/'", "expected once", "remove one"),
    (mounted_twice_in_asgi, ConfigurationError, "found them mounted twice at '/aplus'", "expected once", "remove one"),
    (missing_flask, ConfigurationError, "Flask is not installed", "", "pip install 'aplus_adapters[flask]'"),
    (missing_starlette, ConfigurationError, "Starlette is not installed", "", "pip install 'aplus_adapters[starlette]'"),
    (missing_fastapi, ConfigurationError, "FastAPI is not installed", "", "pip install 'aplus_adapters[fastapi]'"),
    (missing_sql, ConfigurationError, "SQLAlchemy is not installed", "", "pip install 'aplus_adapters[sql]'"),
    (missing_driver, ConfigurationError, "psycopg", "expected one such as sqlite:///", "with its driver installed"),
    (missing_page, ConfigurationError, "Jinja2 is not installed", "", "pip install 'aplus_adapters[page]'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "kind", "found", "expected", "to_do"), MISTAKES, ids=lambda value: getattr(value, "__name__", "")
)  # fmt: skip
def test_a_mistake_of_a_new_shop_is_one_clear_error(
    account, tmp_path, monkeypatch, make, kind, found, expected, to_do
):
    with pytest.raises(AplusError) as error:
        make(account, tmp_path, monkeypatch)
    assert type(error.value) is kind
    for part in (found, expected, to_do):
        assert part in str(error.value)


@pytest.mark.parametrize("amount", [Decimal("42.00"), Decimal("42.0000"), "42.00", "42"])
def test_a_decimal_as_databases_give_it_is_no_mistake(amount):
    assert Amount.parse(amount, "USD") == Amount("USD", 4200)


PREFIX = (r"mounted at '/payments/notify', expected it at the notify URL's path /aplus/notify", "correct APLUS_NOTIFY_URL",
          "mount the routes there")  # fmt: skip
LIFESPAN = ("found no lifespan at the first request", "expected lifespan=pay.lifespan", "stay open")


def flask_prefix(pay):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    Flask("shop").register_blueprint(create_blueprint(pay), url_prefix="/payments")


def wsgi_prefix(pay):
    from aplus_adapters.wsgi import AplusMiddleware

    AplusMiddleware(lambda environ, start: [], pay, prefix="payments")


def asgi_prefix(pay):
    from aplus_adapters.asgi import AplusMiddleware

    AplusMiddleware(_answer, pay, prefix="/payments/")


def starlette_app(pay, prefix="/payments", lifespan=None):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    return Starlette(routes=[Mount(prefix, routes=create_routes(pay))], lifespan=lifespan)


def fastapi_app(pay, prefix="/payments", lifespan=None):
    from fastapi import FastAPI

    from aplus_adapters.fastapi import create_router

    app = FastAPI(lifespan=lifespan)
    app.include_router(create_router(pay), prefix=prefix)
    return app


def ask(app, path):
    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            await client.post(path, json={})
            await client.post(path, json={})

    asyncio.run(main())


def logged_once(caplog, parts):
    found = [record for record in caplog.records if re.search(parts[0], record.getMessage())]
    assert [record.levelno for record in found] == [logging.WARNING]
    assert all(part in found[0].getMessage() for part in parts[1:])


@pytest.mark.parametrize("mount", [flask_prefix, wsgi_prefix, asgi_prefix])
def test_a_wrong_prefix_is_one_warning_at_start_where_the_prefix_is_known(account, caplog, mount):
    mount(pay_with(account))
    logged_once(caplog, PREFIX)


@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
def test_a_wrong_prefix_is_one_warning_at_the_first_request_elsewhere(account, caplog, make):
    ask(make(pay_with(account)), "/payments/notify")
    logged_once(caplog, PREFIX)


@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
def test_no_lifespan_is_one_warning_at_the_first_request(account, caplog, make):
    ask(make(pay_with(account), "/aplus"), "/aplus/notify")
    logged_once(caplog, LIFESPAN)


@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
def test_a_lifespan_that_is_given_or_entered_is_no_mistake(account, caplog, make):
    pay = pay_with(account)
    app = make(pay, "/aplus", pay.lifespan)

    async def main():
        async with pay.lifespan(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                await client.post("/aplus/notify", json={})

    asyncio.run(main())
    assert "lifespan" not in caplog.text


def test_two_shops_in_one_application_are_no_mistake(account, caplog):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shops")
    for name in ("one", "two"):
        its = evolve(
            account,
            notify_url=f"https://shop.example/{name}/notify",
            signed_path="",
            environment="sandbox",  # in production a page without Alipay+'s mark would be said
        )
        app.register_blueprint(create_blueprint(pay_with(its), name), url_prefix=f"/{name}")
    assert caplog.text == ""


def test_a_missing_page_extra_is_said_at_start(account, caplog, monkeypatch):
    monkeypatch.setattr("aplus_adapters.web.context.missing_packages", lambda: ["jinja2", "segno"])
    pay_with(account)
    assert "jinja2 and segno not installed" in caplog.text
    assert "pip install 'aplus_adapters[page]'" in caplog.text
