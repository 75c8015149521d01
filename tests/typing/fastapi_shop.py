"""A typed shop for FastAPI with sessions of its own and hooks of both kinds."""

from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    ConflictDetails,
    LoadOrderDetails,
    OrderToPay,
    PaymentDetails,
    SQLStore,
)
from aplus_adapters.fastapi import create_router


class Shop:
    async def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        return OrderToPay(amount=Amount("USD", 1), description=details.order_ref)

    def payment_changed(self, details: PaymentDetails[Session]) -> None:
        details.connection.add(details.attempt)
        details.connection.scalar(text("SELECT 1"))

    async def payment_conflict(self, details: ConflictDetails) -> None:
        print(details.conflict.reason)


sessions = sessionmaker(create_engine("postgresql+psycopg:///shop"))
pay = AplusPay(account=Account.from_env(), store=SQLStore(sessions), hooks=Shop())
app = FastAPI(lifespan=pay.lifespan)
app.include_router(create_router(pay), prefix="/aplus")
