"""A Flask shop with an application factory, Flask-SQLAlchemy and Flask-Migrate.

Settings: APLUS_*, DATABASE, PORT. `flask db init`, `db migrate` and `db upgrade` make its tables.
"""

import os
import secrets

from flask import Flask, abort, redirect, render_template_string, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.flask import create_blueprint
from aplus_adapters.stores import include_object

PRICES = {"Ticket": Amount.parse("42.00", "USD"), "Poster": Amount.parse("1200", "JPY")}
PAGE = """<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">
{% if order %}<p>Order {{ order.ref }}: {{ order.item }}, {{ order.status }}
<form method="post" action="/aplus/pay"><button name="order_ref" value="{{ order.ref }}">Pay
</button></form><a href="/">More</a>
{% else %}<form method="post" action="/orders">{% for item, price in prices.items() %}
<button name="item" value="{{ item }}">{{ item }} for {{ price }}</button>{% endfor %}{% endif %}"""


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
migrate = Migrate(include_object=include_object)  # our tables are not those of its revisions
store = SQLStore(db)  # of whichever application is the current one


class Order(Base):
    __tablename__ = "orders"
    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    item: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="new")


class Shop:
    def load_order(self, details):
        order = db.session.get(Order, details.order_ref)
        if order is None:
            return None
        price, back = PRICES[order.item], f"/orders/{order.ref}"
        return OrderToPay(amount=price, description=order.item, return_url=back)

    def payment_changed(self, details):
        order = details.connection.get(Order, details.attempt.order_ref, with_for_update=True)
        if order.status != "paid":  # the session commits the order together with the payment
            order.status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"

    def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE", "sqlite:///shop.db")
    db.init_app(app)
    migrate.init_app(app, db)
    pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")

    @app.get("/")
    def shop_window():
        return render_template_string(PAGE, prices=PRICES)

    @app.post("/orders")
    def create_order():
        order = Order(ref=secrets.token_hex(8), item=request.form.get("item"))
        if order.item not in PRICES:
            abort(400)
        db.session.add(order)
        db.session.commit()
        return redirect(f"/orders/{order.ref}", 303)

    @app.get("/orders/<ref>")
    def show_order(ref):
        return render_template_string(PAGE, order=db.get_or_404(Order, ref))

    return app


if __name__ == "__main__":
    create_app().run(port=int(os.environ.get("PORT", "8000")))
