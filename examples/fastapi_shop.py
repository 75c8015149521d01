"""A small FastAPI shop that takes payments by Alipay+ order code.

Its settings are the APLUS_* variables, DATABASE (a SQLAlchemy address) and PORT. The description of
its addresses, those of the payments included, is at /docs.
"""

import os
import secrets

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import text

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.fastapi import create_router

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


pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
app = FastAPI(title="Harbour Cinema", lifespan=pay.lifespan)
app.include_router(create_router(pay), prefix="/aplus")


@app.get("/", response_class=HTMLResponse)
def shop_window() -> str:
    return PAGE + BUY


@app.post("/orders", status_code=303, response_class=RedirectResponse)
def create_order() -> str:
    ref = secrets.token_hex(8)
    sql("INSERT INTO orders VALUES (:ref, 'Ticket', 'new')", ref=ref)
    return f"/orders/{ref}"


@app.get("/orders/{ref}", response_class=HTMLResponse)
def show_order(ref: str) -> str:
    order = find_order(ref)
    if order is None:
        raise HTTPException(404)
    return PAGE + PAY.format(*order)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
