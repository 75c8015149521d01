"""A FastAPI shop that keeps its orders by SQLAlchemy's AsyncSession, and its payments with them.

Its settings are the APLUS_* variables, DATABASE (an address with a driver that awaits) and PORT.
"""

import os
import secrets
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from aplus_adapters import Account, Amount, AplusPay, AsyncSQLStore, OrderToPay, State
from aplus_adapters.fastapi import create_router

PAGE = '<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">'
PAY = """<p>Order {0.ref}: {0.item}, {0.status}<form method="post" action="/aplus/pay">
<button name="order_ref" value="{0.ref}">Pay</button></form><a href="/">More</a>"""
engine = create_async_engine(os.environ.get("DATABASE", "sqlite+aiosqlite:///shop.db"))
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase): ...


class Order(Base):
    __tablename__ = "orders"
    ref: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    status: Mapped[str] = mapped_column(default="new")


class Shop:
    async def load_order(self, details):
        async with sessions() as session:
            order = await session.get(Order, details.order_ref)
        back = f"/orders/{details.order_ref}"
        price = Amount.parse("42.00", "USD")
        return order and OrderToPay(amount=price, description=order.item, return_url=back)

    async def payment_changed(self, details):
        order = await details.connection.get(Order, details.attempt.order_ref)  # both commit
        order.status = "paid" if details.attempt.state is State.SUCCEEDED else order.status

    async def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


pay = AplusPay(account=Account.from_env(), store=AsyncSQLStore(sessions), hooks=Shop())


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with pay.lifespan(app):
        yield
    await engine.dispose()


app = FastAPI(title="Harbour Cinema", lifespan=lifespan)
app.include_router(create_router(pay), prefix="/aplus")


@app.get("/", response_class=HTMLResponse)
async def shop_window() -> str:
    return PAGE + '<form method="post" action="/orders"><button>Ticket</button></form>'


@app.post("/orders", status_code=303, response_class=RedirectResponse)
async def create_order() -> str:
    async with sessions.begin() as session:
        session.add(order := Order(ref=secrets.token_hex(8), item="Ticket"))
    return f"/orders/{order.ref}"


@app.get("/orders/{ref}", response_class=HTMLResponse)
async def show_order(ref: str) -> str:
    async with sessions() as session:
        order = await session.get(Order, ref)
    if order is None:
        raise HTTPException(404)
    return PAGE + PAY.format(order)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
