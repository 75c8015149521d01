"""What a store on a database is made with: which database, whose payments, who makes the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.database import Database
from aplus_adapters.stores.schema import ddl

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from aplus_adapters.stores.database import DatabaseArgument

__all__ = ["DatabaseStore"]


class DatabaseStore:
    """The part of SQLStore that is about its database as a whole."""

    def _open(self, database: DatabaseArgument, *, shop: str, create: bool) -> None:
        if not isinstance(shop, str) or not 1 <= len(shop) <= 64:
            raise ConfigurationError(
                f"SQLStore shop: found {str(shop)[:80]!r}, expected a name of 1 to 64 characters"
            )
        self._shop = shop
        self._database = Database(database, create=create)
        self._transaction = self._database.transaction

    def set_up(self) -> None:
        """Make the tables or migrate older ones now, also with `create` False.

        Raises StoreError if that fails.
        """
        self._database.set_up()

    def missing(self) -> list[str]:
        """Return what the tables lack, such as "column aplus_payments.wallet"; make nothing.

        Raises StoreError if the database cannot be read, or was made by a newer version of this
        library.
        """
        return self._database.missing()

    def ddl(self, dialect: str | None = None) -> str:
        """Return the SQL that makes the tables, for another role or a migration to run.

        `dialect` is one such as postgresql; None is the store's own. Raises ConfigurationError for
        one in which payments cannot be kept.
        """
        return ddl(dialect or self._database.dialect())

    @property
    def engine(self) -> Engine:
        """Return the engine, with its time-outs, for the shop's own tables in the same database."""
        return self._database.engine

    def close(self) -> None:
        """Close the pooled connections."""
        self._database.close()
