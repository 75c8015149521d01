"""A FastAPI shop whose orders are SQLModel's.

Its settings are the APLUS_* variables, DATABASE (a SQLAlchemy address) and PORT.
"""

import os
import secrets

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import sessionmaker
from sqlmodel import Field, Session, SQLModel, create_engine

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.fastapi import create_router

PAGE = '<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">'
BUY = '<form method="post" action="/orders"><button>Ticket</button></form>'
PAY = """<p>Order {0.ref}: {0.item}, {0.status}<form method="post" action="/aplus/pay">
<button name="order_ref" value="{0.ref}">Pay</button></form><a href="/">More</a>"""

engine = create_engine(os.environ.get("DATABASE", "sqlite:///shop.db"))
store = SQLStore(sessionmaker(engine, class_=Session))  # hooks get SQLModel's Session


class Order(SQLModel, table=True):
    __tablename__ = "orders"
    ref: str = Field(primary_key=True, max_length=64)
    item: str = "Ticket"
    status: str = "new"


SQLModel.metadata.create_all(engine)


class Shop:
    def load_order(self, details):
        with Session(engine) as session:
            order = session.get(Order, details.order_ref)
        if order is None:
            return None
        price, back = Amount.parse("42.00", "USD"), f"/orders/{order.ref}"
        return OrderToPay(amount=price, description=order.item, return_url=back)

    def payment_changed(self, details):
        order = details.connection.get(Order, details.attempt.order_ref, with_for_update=True)
        if order.status != "paid":  # the session commits the order together with the payment
            order.status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"

    def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
app = FastAPI(title="Harbour Cinema", lifespan=pay.lifespan)
app.include_router(create_router(pay), prefix="/aplus")


@app.get("/", response_class=HTMLResponse)
def shop_window() -> str:
    return PAGE + BUY


@app.post("/orders", status_code=303, response_class=RedirectResponse)
def create_order() -> str:
    order = Order(ref=secrets.token_hex(8))
    ref = order.ref
    with Session(engine) as session:
        session.add(order)
        session.commit()
    return f"/orders/{ref}"


@app.get("/orders/{ref}", response_class=HTMLResponse)
def show_order(ref: str) -> str:
    with Session(engine) as session:
        order = session.get(Order, ref)
    if order is None:
        raise HTTPException(404)
    return PAGE + PAY.format(order)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
