"""A small Starlette shop that takes payments by Alipay+ order code.

Its settings are the APLUS_* variables, DATABASE (a SQLAlchemy address) and PORT.
"""

import os
import secrets

import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Mount, Route

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.starlette import create_routes

PAGE = '<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">'
BUY = '<form method="post" action="/orders"><button>Ticket</button></form>'
PAY = """<p>Order {0}: {1}, {2}<form method="post" action="/aplus/pay">
<button name="order_ref" value="{0}">Pay</button></form><a href="/">More</a>"""
store = SQLStore(os.environ.get("DATABASE", "sqlite:///shop.db"))


def sql(query, **values):
    with store.engine.begin() as connection:
        result = connection.execute(text(query), values)
        return result.one_or_none() if result.returns_rows else None


def find_order(ref):
    return sql("SELECT ref, item, status FROM orders WHERE ref = :ref", ref=ref)


sql("CREATE TABLE IF NOT EXISTS orders (ref VARCHAR(64) PRIMARY KEY, item TEXT, status TEXT)")


class Shop:  # each hook may be plain (it runs in a thread) or async
    def load_order(self, details):
        order, back = find_order(details.order_ref), f"/orders/{details.order_ref}"
        price = Amount.parse("42.00", "USD")
        return order and OrderToPay(amount=price, description=order.item, return_url=back)

    def payment_changed(self, details):
        status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"
        query = text("UPDATE orders SET status = :status WHERE ref = :ref AND status != 'paid'")
        values = {"status": status, "ref": details.attempt.order_ref}
        details.connection.execute(query, values)  # commits together with the payment

    async def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


def shop_window(request):
    return HTMLResponse(PAGE + BUY)


def create_order(request):
    ref = secrets.token_hex(8)
    sql("INSERT INTO orders VALUES (:ref, 'Ticket', 'new')", ref=ref)
    return RedirectResponse(f"/orders/{ref}", 303)


def show_order(request):
    order = find_order(request.path_params["ref"])
    return HTMLResponse(PAGE + PAY.format(*order) if order else PAGE, 200 if order else 404)


pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
routes = [Route("/", shop_window), Route("/orders", create_order, methods=["POST"])]
routes += [Route("/orders/{ref}", show_order), Mount("/aplus", routes=create_routes(pay))]
app = Starlette(lifespan=pay.lifespan, routes=routes)
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
