"""What a store on a database is made with: which database, whose payments, who makes the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.database import Database
from aplus_adapters.stores.database_arguments import sqlite_file
from aplus_adapters.stores.rows import readable
from aplus_adapters.stores.schema import Tables
from aplus_adapters.stores.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from aplus_adapters.stores.database_arguments import AsyncDatabaseArgument, DatabaseArgument

__all__ = ["DatabaseStore"]

T = TypeVar("T")


class DatabaseStore:
    """The part of SQLStore that is about its database as a whole."""

    _file: Path | None

    def _open(
        self,
        database: DatabaseArgument | AsyncDatabaseArgument,
        *,
        shop: str,
        tables: Tables,
        create: bool,
        is_async: bool = False,
    ) -> None:
        self._keep(shop, tables)
        self._use(Database(database, tables, create=create, is_async=is_async))
        self._file = sqlite_file(database)

    def _keep(self, shop: str, tables: Tables) -> None:
        """Keep whose payments these are; raise ConfigurationError for unusable names."""
        if not isinstance(shop, str) or not 1 <= len(shop) <= 64:
            raise ConfigurationError(
                f"{type(self).__name__} shop: found {str(shop)[:80]!r}, expected a name of 1 to 64 "
                "characters"
            )
        if not isinstance(tables, Tables):
            raise ConfigurationError(
                f"{type(self).__name__} tables: found {type(tables).__name__}, expected a value "
                "such as Tables(prefix='pay_', schema='billing') of aplus_adapters.stores"
            )
        self._shop, self._tables = shop, tables
        self._file = None
        self._statements = Statements(tables, shop)

    def _use(self, database: Any) -> None:
        """Use a `Database`, or what opens transactions in its place."""
        self._database: Database = database
        self._transaction = self._database.transaction

    def set_up(self) -> None:
        """Make the tables or migrate older ones now, also with `create` False.

        Raises StoreError if that fails, ConfigurationError if payments cannot be kept in this
        database or by its connections, such as one with an encoding that lacks characters.
        """
        self._database.set_up()

    def missing(self) -> list[str]:
        """Return what the tables lack, such as "column aplus_payments.wallet"; make nothing.

        Raises StoreError if the database cannot be read, or was made by a newer version of this
        library; ConfigurationError as `set_up`.
        """
        return self._database.missing()

    def ddl(self, dialect: str | None = None) -> str:
        """Return the SQL that makes the tables, for another role or a migration to run.

        `dialect` is one such as postgresql; None is the store's own. Raises ConfigurationError for
        one in which payments cannot be kept.
        """
        return self._tables.ddl(dialect or self._database.dialect())

    @property
    def file(self) -> Path | None:
        """Return the file of a SQLite database, None for others and where sessions name none."""
        return self._file

    @property
    def engine(self) -> Engine:
        """Return the engine, with its time-outs, for the shop's own tables in the same database."""
        return self._database.engine

    def close(self) -> None:
        """Close the pooled connections."""
        self._database.close()

    def _search(self, method: str, query: Any, item_of: Callable[[Any], T], limit: int) -> list[T]:
        """Return up to `limit` items of a query; rows that cannot be read do not count."""
        items: list[T] = []
        offset = 0
        with self._transaction(method) as connection:
            while len(items) < limit:
                rows = connection.execute(query.limit(limit).offset(offset)).mappings().all()
                items += readable(rows, item_of)
                offset += len(rows)
                if len(rows) < limit:
                    break
        return items[:limit]
