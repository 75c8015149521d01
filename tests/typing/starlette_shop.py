"""A typed async shop for Starlette with the store in memory: nothing here may be reported."""

from typing import assert_type

from starlette.applications import Starlette
from starlette.routing import Mount

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    Attempt,
    ConflictDetails,
    LoadOrderDetails,
    MemoryStore,
    OrderToPay,
    PaymentDetails,
    ReconcileReport,
)
from aplus_adapters.starlette import create_routes


class Shop:
    async def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        return OrderToPay(amount=Amount("JPY", 4200), description=details.order_ref)

    async def payment_changed(self, details: PaymentDetails[None]) -> None:
        print(details.attempt.order_ref, "is", details.attempt.state)

    async def payment_conflict(self, details: ConflictDetails) -> None:
        print(details.conflict.reason)


pay = AplusPay(account=Account.from_env(), store=MemoryStore(), hooks=Shop())
app = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))], lifespan=pay.lifespan)


async def work() -> None:
    attempt = await pay.start_async("A-1001")
    assert_type(attempt, Attempt)
    assert_type(await pay.latest_async("A-1001"), Attempt | None)
    assert_type(await pay.reconcile_async(), ReconcileReport)
