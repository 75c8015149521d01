"""A small Flask shop that takes payments by Alipay+ order code.

Its settings are the APLUS_* variables, DATABASE (a SQLAlchemy address) and PORT.
"""

import os
import secrets

from flask import Flask, abort, redirect, render_template_string, request
from sqlalchemy import text

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.flask import create_blueprint

PRICES = {"Ticket": Amount.parse("42.00", "USD"), "Poster": Amount.parse("1200", "JPY")}
PAGE = """<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/aplus/assets/button.css">
{% if order %}<p>Order {{ order.ref }}: {{ order.item }}, {{ order.status }}
{{ pay.payment_button(order.ref) }} <a href="/">More</a>
{% else %}<form method="post" action="/orders">{% for item, price in prices.items() %}
<button name="item" value="{{ item }}">{{ item }} for {{ price }}</button>{% endfor %}{% endif %}"""

store = SQLStore(os.environ.get("DATABASE", "sqlite:///shop.db"))


def sql(query, **values):
    with store.engine.begin() as connection:
        result = connection.execute(text(query), values)
        return result.one_or_none() if result.returns_rows else None


def find_order(ref):
    return sql("SELECT ref, item, status FROM orders WHERE ref = :ref", ref=ref)


sql("CREATE TABLE IF NOT EXISTS orders (ref VARCHAR(64) PRIMARY KEY, item TEXT, status TEXT)")


class Shop:
    def load_order(self, details):
        order, back = find_order(details.order_ref), f"/orders/{details.order_ref}"
        price = order and PRICES[order.item]  # decided here, never by the browser
        return order and OrderToPay(amount=price, description=order.item, return_url=back)

    def payment_changed(self, details):
        status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"
        query = text("UPDATE orders SET status = :status WHERE ref = :ref AND status != 'paid'")
        values = {"status": status, "ref": details.attempt.order_ref}
        details.connection.execute(query, values)  # commits together with the payment

    def payment_conflict(self, details):
        app.logger.error("look at payment %s: %s", details.attempt, details.conflict.reason)


app = Flask(__name__)
pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")


@app.get("/")
def shop_window():
    return render_template_string(PAGE, prices=PRICES)


@app.post("/orders")
def create_order():
    ref, item = secrets.token_hex(8), request.form.get("item")
    if item not in PRICES:
        abort(400)
    sql("INSERT INTO orders VALUES (:ref, :item, 'new')", ref=ref, item=item)
    return redirect(f"/orders/{ref}", 303)


@app.get("/orders/<ref>")
def show_order(ref):
    return render_template_string(PAGE, order=find_order(ref) or abort(404), pay=pay)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), threaded=True)
