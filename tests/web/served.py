"""One shop, served by every adapter and server that the behaviour suite drives."""

import os

from sqlalchemy import create_engine, text

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore


class NotingShop:
    """Knows every order but "missing"; notes what it is told in the payments' own transaction."""

    def load_order(self, details):
        if details.order_ref == "broken":
            raise RuntimeError("the shop's own bug")
        if details.order_ref == "missing":
            return None
        return OrderToPay(amount=Amount.parse("42.00", "USD"), description="2 tickets <b>&")

    def payment_changed(self, details):
        attempt = details.attempt
        details.connection.execute(
            text("INSERT INTO changes VALUES (:ref, :state)"),
            {"ref": attempt.order_ref, "state": attempt.state.value},
        )

    def payment_conflict(self, details):
        pass


class PrivateShop(NotingShop):
    def authorize(self, details):
        return details.visitor.native.headers.get("X-User") == "owner"


def make_pay(database, account, hooks=None, **options):
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS changes (ref TEXT, state TEXT)"))
    store = SQLStore(engine)
    return AplusPay(
        account=account, store=store, hooks=hooks or NotingShop(), shop_name="Cinema", **options
    )


def flask_application(pay):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    return app


def starlette_application(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    return Starlette(routes=[Mount("/aplus", routes=create_routes(pay))])


def flask_below_script_name(pay):
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(nothing_here, {"/outer": flask_application(pay)})


def nothing_here(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's own 404"]


def wsgi_application(pay):
    from aplus_adapters.wsgi import AplusMiddleware

    return AplusMiddleware(nothing_here, pay)


def wsgi_below_script_name(pay):
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(nothing_here, {"/outer": wsgi_application(pay)})


def starlette_nested(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    inner = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))])
    return Starlette(routes=[Mount("/outer", app=inner)])


def fastapi_application(pay):
    from fastapi import FastAPI

    from aplus_adapters.fastapi import create_router

    app = FastAPI()
    app.include_router(create_router(pay), prefix="/aplus")
    return app


def fastapi_mounted(pay):
    from fastapi import APIRouter, FastAPI

    from aplus_adapters.fastapi import create_router

    inner, router = FastAPI(), APIRouter()
    router.include_router(create_router(pay), prefix="/aplus")
    inner.include_router(router)
    app = FastAPI()
    app.mount("/outer", inner)
    return app


def asgi_application(pay):
    from starlette.applications import Starlette

    from aplus_adapters.asgi import AplusMiddleware

    return AplusMiddleware(Starlette(), pay)


def asgi_mounted(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/outer", app=asgi_application(pay))])


def flask_from_environment():
    return flask_application(make_pay(os.environ["DATABASE"], Account.from_env()))


def starlette_from_environment():
    return starlette_application(make_pay(os.environ["DATABASE"], Account.from_env()))
