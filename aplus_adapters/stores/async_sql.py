"""Keep payments in a SQL database through a driver that awaits.

The SQL and its rules are those of `SQLStore`: its methods run in SQLAlchemy's greenlets, where each
call of the driver is awaited. No thread is started.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from aplus_adapters.errors import ConfigurationError

try:
    import_module("greenlet")  # SQLAlchemy does not install it by itself
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.util import await_only, greenlet_spawn
except ImportError:
    raise ConfigurationError(
        "AsyncSQLStore: SQLAlchemy or its greenlet is not installed; run pip install "
        "'aplus_adapters[asyncpg]', or [aiosqlite] for SQLite"
    ) from None

from sqlalchemy.orm import Session

from aplus_adapters.stores.batches import Batches
from aplus_adapters.stores.connection_info import INFO_SHOWN
from aplus_adapters.stores.rows import attempt_of
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.stores.sql import SQLStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        RefundObservation,
        Source,
        Stage,
        Transition,
    )
    from aplus_adapters.payments.retention import OldPayments, Retention
    from aplus_adapters.payments.search import ConflictRecord, Page, PaymentFilter
    from aplus_adapters.stores.database_arguments import AsyncDatabaseArgument
    from aplus_adapters.stores.schema import Tables

__all__ = ["AsyncSQLStore"]

C = TypeVar("C")  # the type of `details.connection` in hooks
T = TypeVar("T")


class AsyncSQLStore(Generic[C]):
    """Keeps attempts as `SQLStore` does, for programs that await.

    `database` is an address with a driver that awaits (`postgresql+asyncpg://...`,
    `postgresql+psycopg://...`, `mysql+asyncmy://...`, `sqlite+aiosqlite:///payments.db`), or the
    shop's own AsyncEngine, async_sessionmaker or async_scoped_session. With sessions
    `details.connection` of a hook is the AsyncSession that commits the payment, a new one of the
    same kind; otherwise an AsyncConnection. `shop`, `tables` and `create` are as in `SQLStore`.

    Nothing connects here. The tables are made at the first use, or by `set_up`. Raises
    ConfigurationError for an unusable database or name.
    """

    @overload
    def __init__(
        self: AsyncSQLStore[AsyncConnection],
        database: str | AsyncEngine,
        *,
        shop: str = "shop",
        tables: Tables = TABLES,
        create: bool = True,
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncSQLStore[AsyncSession],
        database: async_sessionmaker[Any] | async_scoped_session[Any],
        *,
        shop: str = "shop",
        tables: Tables = TABLES,
        create: bool = True,
    ) -> None: ...
    def __init__(
        self,
        database: AsyncDatabaseArgument,
        *,
        shop: str = "shop",
        tables: Tables = TABLES,
        create: bool = True,
    ) -> None:
        self._store: SQLStore[Any] = SQLStore.in_greenlets(
            database, shop=shop, tables=tables, create=create
        )
        self._rows = Batches(partial(greenlet_spawn, self._store.rows_of))

    async def set_up(self) -> None:
        """Do what `SQLStore.set_up` does."""
        await greenlet_spawn(self._store.set_up)

    async def missing(self) -> list[str]:
        """Do what `SQLStore.missing` does."""
        return await greenlet_spawn(self._store.missing)

    async def ddl(self, dialect: str | None = None) -> str:
        """Do what `SQLStore.ddl` does."""
        return await greenlet_spawn(self._store.ddl, dialect)

    async def add(
        self, attempt: Attempt, most: int | None = None, since: datetime | None = None, /
    ) -> Attempt:
        """Do what `PaymentStore.add` does."""
        return await greenlet_spawn(self._store.add, attempt, most, since)

    async def get(self, payment_request_id: str, /) -> Attempt | None:
        """Do what `PaymentStore.get` does."""
        row = await self._rows.get(payment_request_id)
        return None if row is None else attempt_of(row)

    async def latest(self, order_ref: str, /) -> Attempt | None:
        """Do what `PaymentStore.latest` does."""
        return await greenlet_spawn(self._store.latest, order_ref)

    async def claim(self, payment_request_id: str, token: int, until: datetime, /) -> bool:
        """Do what `PaymentStore.claim` does."""
        return await greenlet_spawn(self._store.claim, payment_request_id, token, until)

    async def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Do what `PaymentStore.release` does."""
        return await greenlet_spawn(self._store.release, payment_request_id, token, at)

    async def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C], Awaitable[None]],
        /,
    ) -> Transition:
        """Do what `PaymentStore.record` does; `inside` is awaited within the transaction."""

        def awaited(transition: Transition, connection: Connection | Session) -> None:
            await_only(inside(transition, cast("C", _awaiting(connection))))

        return await greenlet_spawn(self._store.record, payment_request_id, observation, awaited)

    async def due(self, now: datetime, limit: int, client_ids: Collection[str], /) -> list[Attempt]:
        """Do what `PaymentStore.due` does."""
        return await greenlet_spawn(self._store.due, now, limit, client_ids)

    async def history(self, payment_request_id: str, /) -> list[Observation | RefundObservation]:
        """Do what `PaymentStore.history` does."""
        return await greenlet_spawn(self._store.history, payment_request_id)

    async def add_refund(self, refund: Refund, /) -> Refund:
        """Do what `PaymentStore.add_refund` does."""
        return await greenlet_spawn(self._store.add_refund, refund)

    async def refunds(self, payment_request_id: str, /) -> list[Refund]:
        """Do what `PaymentStore.refunds` does."""
        return await greenlet_spawn(self._store.refunds, payment_request_id)

    async def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Do what `PaymentStore.claim_refund` does."""
        return await greenlet_spawn(self._store.claim_refund, refund_request_id, token, until)

    async def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Do what `PaymentStore.release_refund` does."""
        return await greenlet_spawn(self._store.release_refund, refund_request_id, token, at)

    async def due_refunds(
        self, now: datetime, limit: int, client_ids: Collection[str], /
    ) -> list[Refund]:
        """Do what `PaymentStore.due_refunds` does."""
        return await greenlet_spawn(self._store.due_refunds, now, limit, client_ids)

    async def conflict_reported(self, conflict: Conflict, /) -> None:
        """Do what `PaymentStore.conflict_reported` does."""
        await greenlet_spawn(self._store.conflict_reported, conflict)

    async def unreported_conflicts(
        self, limit: int, client_ids: Collection[str], /
    ) -> list[Conflict]:
        """Do what `PaymentStore.unreported_conflicts` does."""
        return await greenlet_spawn(self._store.unreported_conflicts, limit, client_ids)

    async def find_page(self, wanted: PaymentFilter, limit: int, /) -> Page:
        """Do what `PaymentStore.find_page` does."""
        return await greenlet_spawn(self._store.find_page, wanted, limit)

    async def conflicts(
        self, payment_request_id: str | None, limit: int, after: str | None, /
    ) -> list[ConflictRecord]:
        """Do what `PaymentStore.conflicts` does."""
        return await greenlet_spawn(self._store.conflicts, payment_request_id, limit, after)

    async def resolve_conflict(
        self, key: str, at: datetime, by: str, note: str, /
    ) -> ConflictRecord | None:
        """Do what `PaymentStore.resolve_conflict` does."""
        return await greenlet_spawn(self._store.resolve_conflict, key, at, by, note)

    async def recent(self, source: Source, limit: int, /) -> list[Observation | RefundObservation]:
        """Do what `PaymentStore.recent` does."""
        return await greenlet_spawn(self._store.recent, source, limit)

    async def note(self, name: str, at: datetime, /) -> None:
        """Do what `PaymentStore.note` does."""
        await greenlet_spawn(self._store.note, name, at)

    async def noted(self, name: str, /) -> datetime | None:
        """Do what `PaymentStore.noted` does."""
        return await greenlet_spawn(self._store.noted, name)

    async def old_payments(
        self, stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None, /
    ) -> OldPayments:
        """Do what `PaymentStore.old_payments` does."""
        return await greenlet_spawn(self._store.old_payments, stage, before, limit, after)

    async def delete_payments(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Do what `PaymentStore.delete_payments` does."""
        return await greenlet_spawn(self._store.delete_payments, payment_request_ids, rule)

    async def forget_buyers(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Do what `PaymentStore.forget_buyers` does."""
        return await greenlet_spawn(self._store.forget_buyers, payment_request_ids, rule)

    @property
    def file(self) -> Path | None:
        """Return what `SQLStore.file` returns."""
        return self._store.file

    @property
    def engine(self) -> AsyncEngine:
        """Return the engine of the running event loop, for the shop's tables in this database."""
        return AsyncEngine(self._store.engine)

    async def aclose(self) -> None:
        """Close the pooled connections of the running event loop, unless they are the shop's own.

        `AplusPay.aclose` and `AplusPay.lifespan` do it. The next use opens new ones.
        """
        await greenlet_spawn(self._store.close)


def _awaiting(connection: Connection | Session) -> AsyncConnection | AsyncSession:
    """Return the object that shops await with, for the connection that commits the payment."""
    if isinstance(connection, Session):
        return cast("AsyncSession", connection.info[INFO_SHOWN])
    return AsyncConnection(AsyncEngine(connection.engine), connection)
