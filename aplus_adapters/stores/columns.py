"""The types of our columns, so that each database compares and keeps the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = ["MYSQL", "Body", "Moment", "Name", "Words"]

MYSQL = ("mysql", "mariadb")  # names of SQLAlchemy's dialects, for servers of either kind


# Alembic writes a type into a shop's revision by its module and its repr. A revision lives longer
# than these classes, so there they are SQLAlchemy's own types.
_NAMED = "sqlalchemy.types"


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC with microseconds on every database."""

    __module__ = _NAMED
    impl = DateTime(timezone=True)
    cache_ok = True

    def __repr__(self) -> str:
        return repr(self.impl_instance)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return the type that keeps microseconds; MySQL's DATETIME alone rounds them."""
        return mysql.DATETIME(fsp=6) if dialect.name in MYSQL else self.impl_instance

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value in UTC; SQLite compares it as text, so the form must not vary."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored value as an aware datetime."""
        _ = dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Name(TypeDecorator[str]):
    """An id or another short text; two of them are equal only if all characters are."""

    __module__ = _NAMED
    impl = String
    cache_ok = True

    def __repr__(self) -> str:
        return repr(self.impl_instance)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return the type whose collation neither ignores case nor blanks at the end."""
        own: Any = self.impl_instance
        return mysql.VARCHAR(own.length, **_exact(dialect)) if dialect.name in MYSQL else own


class Words(TypeDecorator[str]):
    """A text without a limit."""

    __module__ = _NAMED
    impl = Text
    cache_ok = True

    def __repr__(self) -> str:
        return repr(self.impl_instance)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return the type without a limit; MySQL's TEXT ends at 64 KiB."""
        return mysql.LONGTEXT(**_exact(dialect)) if dialect.name in MYSQL else self.impl_instance


Body = LargeBinary().with_variant(mysql.LONGBLOB(), *MYSQL)


def _exact(dialect: Any) -> dict[str, str]:
    # utf8mb4_bin ignores blanks at the end, so that an order "A-1 " would be paid by "A-1".
    name = "utf8mb4_nopad_bin" if dialect.is_mariadb else "utf8mb4_0900_bin"
    return {"charset": "utf8mb4", "collation": name}
