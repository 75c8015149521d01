"""A typed shop for FastAPI with an AsyncSession."""

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    AsyncOptionalHooks,
    AsyncSQLStore,
    AuthorizeDetails,
    ConflictDetails,
    LoadOrderDetails,
    OrderToPay,
    PaymentDetails,
    RefundDetails,
    RenderDetails,
    Rendering,
)
from aplus_adapters.fastapi import create_router


class Shop(AsyncOptionalHooks[AsyncSession]):
    async def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        return OrderToPay(amount=Amount("USD", 1), description=details.order_ref)

    async def payment_changed(self, details: PaymentDetails[AsyncSession]) -> None:
        details.connection.add(details.attempt)
        await details.connection.scalar(text("SELECT 1"))

    async def payment_conflict(self, details: ConflictDetails) -> None:
        print(details.conflict.reason)

    async def authorize(self, details: AuthorizeDetails) -> bool:
        return details.order_ref != "A-1"

    async def refund_changed(self, details: RefundDetails[AsyncSession]) -> None:
        await details.connection.scalar(text("SELECT 1"))

    def render_receipt(self, details: RenderDetails) -> Rendering | None:
        return None


sessions = async_sessionmaker(create_async_engine("postgresql+asyncpg:///shop"))
pay = AplusPay(account=Account.from_env(), store=AsyncSQLStore(sessions), hooks=Shop())
app = FastAPI(lifespan=pay.lifespan)
app.include_router(create_router(pay), prefix="/aplus")
