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


def flask_from_environment():
    return flask_application(make_pay(os.environ["DATABASE"], Account.from_env()))


def starlette_from_environment():
    return starlette_application(make_pay(os.environ["DATABASE"], Account.from_env()))
