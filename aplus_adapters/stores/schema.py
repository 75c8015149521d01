"""Define the tables of `SQLStore`, and migrate those of an older version.

Texts from Alipay+ have columns without a limit: one that is longer than documented must not keep a
paid payment from being stored. `shop` separates the shops in one database. `occupied_order` is the
order's reference while the attempt is open or its money is here, and NULL afterwards; its unique
index allows one attempt per order. `next_call_at` is NULL once the attempt is final, so the search
for due rows sees open attempts only.

Every page of a search reads an index in its order. `ix_aplus_payments_list` serves all filters by
state and account: where one of the two is left open, `stores/queries.py` asks for each of its few
values. `attention` is "y" while the payment has a conflict that nobody resolved. `wallet_key` is
the wallet's name as far as an index can hold it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from aplus_adapters.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Dialect

__all__ = [
    "SCHEMA_VERSION",
    "conflicts",
    "is_current",
    "metadata",
    "migrate",
    "moments",
    "observations",
    "payments",
    "refunds",
]

SCHEMA_VERSION = 1


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC with microseconds on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value in UTC; SQLite compares it as text, so the form must not vary."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored value as an aware datetime."""
        _ = dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


def _of_payment() -> list[Column[Any] | ForeignKeyConstraint]:
    """Return the columns that refer a row to a payment of a shop."""
    return [
        Column("shop", String(64), nullable=False),
        Column("payment_request_id", String(64), nullable=False),
        ForeignKeyConstraint(
            ["shop", "payment_request_id"],
            ["aplus_payments.shop", "aplus_payments.payment_request_id"],
        ),
    ]


_BY_CREATION = ("created_at", "payment_request_id")  # the order of pages


def _where(condition: str) -> dict[str, Any]:
    """Return what keeps most rows out of an index, where the database can; so they cost nothing."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


payments = Table(
    "aplus_payments",
    metadata,
    Column("shop", String(64), primary_key=True),
    Column("payment_request_id", String(64), primary_key=True),
    Column("order_ref", String(64), nullable=False),
    Column("occupied_order", String(64), nullable=True),
    Column("client_id", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_value", BigInteger, nullable=False),
    Column("request_body", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("next_call_at", Moment, nullable=True),
    Column("changed_at", Moment, nullable=False),
    Column("payment_id", Text),
    Column("order_code", Text),
    Column("result", Text),
    Column("payment_time", Text),
    Column("wallet", Text),
    Column("claim", Integer, nullable=False),
    Column("claimed_until", Moment, nullable=True),
    Column("success_reported", Boolean, nullable=False),
    Column("disputed", Text),
    Column("refunded", BigInteger, nullable=False),
    Column("wallet_key", String(128), nullable=True),
    Column("attention", String(1), nullable=True),
    UniqueConstraint("shop", "occupied_order"),
    Index("ix_aplus_payments_order", "shop", "order_ref", "created_at"),
    Index("ix_aplus_payments_due", "next_call_at"),
    Index("ix_aplus_payments_list", "shop", "client_id", "state", *_BY_CREATION),
    Index(
        "ix_aplus_payments_wallet",
        *("shop", "wallet_key", "client_id", "state", *_BY_CREATION),
        **_where("wallet_key IS NOT NULL"),
    ),
    Index(
        "ix_aplus_payments_attention",
        *("shop", "attention", *_BY_CREATION),
        **_where("attention IS NOT NULL"),
    ),
)

observations = Table(
    "aplus_observations",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("source", String(16), nullable=False),
    Column("details", Text, nullable=False),
    Index("ix_aplus_observations_payment", "shop", "payment_request_id"),
    Index("ix_aplus_observations_source", "shop", "source", "id"),
)

conflicts = Table(
    "aplus_conflicts",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("key", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("unreported", String(1), nullable=True, index=True),  # "y" until the shop was told
    Column("unresolved", String(1), nullable=True),  # "y" until somebody has settled it
    Column("resolved_at", Moment, nullable=True),
    Column("resolved_by", Text),
    Column("note", Text),
    UniqueConstraint("shop", "key"),
    Index("ix_aplus_conflicts_payment", "shop", "payment_request_id"),
    Index(
        "ix_aplus_conflicts_unresolved",
        *("shop", "unresolved", "id"),
        **_where("unresolved IS NOT NULL"),
    ),
)

refunds = Table(
    "aplus_refunds",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("refund_request_id", String(64), nullable=False),
    Column("client_id", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_value", BigInteger, nullable=False),
    Column("reason", Text),
    Column("request_body", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("next_call_at", Moment, nullable=True, index=True),
    Column("changed_at", Moment, nullable=False),
    Column("refund_id", Text),
    Column("result", Text),
    Column("claim", Integer, nullable=False),
    Column("claimed_until", Moment, nullable=True),
    UniqueConstraint("shop", "refund_request_id"),
    Index("ix_aplus_refunds_payment", "shop", "payment_request_id"),
)

moments = Table(
    "aplus_moments",
    metadata,
    Column("shop", String(64), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("at", Moment, nullable=False),
)

_LOCK = 0x61706C7573  # "aplus", for PostgreSQL's advisory lock

version = Table("aplus_schema", metadata, Column("version", Integer, nullable=False))

_MIGRATIONS: dict[int, Callable[[Connection], Any]] = {}
"""Statements from each older version to the next; they run on a database with data."""


def is_current(connection: Connection) -> bool:
    """Return whether the tables exist in the current version.

    Raises StoreError if the database was made by a newer version of this library.
    """
    # The inspector does not apply an engine's schema_translate_map; statements do.
    schemas = connection.get_execution_options().get("schema_translate_map") or {}
    if not inspect(connection).has_table(version.name, schema=schemas.get(None)):
        return False
    stored = connection.execute(select(func.max(version.c.version))).scalar_one()
    if stored is not None and stored > SCHEMA_VERSION:
        raise StoreError(
            f"database schema: found version {stored}, expected at most {SCHEMA_VERSION}; "
            "a newer aplus_adapters made it; upgrade this installation"
        )
    return bool(stored == SCHEMA_VERSION)


def migrate(connection: Connection) -> None:
    """Make the tables, or migrate those of an older version.

    If several workers start at once, one makes them and the others find them current. The wait for
    a lock is short, because buyers of older workers wait behind it; the caller tries again. Raises
    StoreError if the database was made by a newer version of this library.
    """
    _lock(connection)
    # Another worker may have made them while this one waited for the lock.
    if is_current(connection):
        return
    metadata.create_all(connection, tables=[version])
    stored = connection.execute(select(func.max(version.c.version))).scalar_one()
    if stored is None:
        metadata.create_all(connection)
        connection.execute(insert(version).values(version=SCHEMA_VERSION))
        return
    for step in range(stored, SCHEMA_VERSION):
        _MIGRATIONS[step](connection)
        connection.execute(update(version).values(version=step + 1))


def _lock(connection: Connection) -> None:
    """Keep other workers from making or migrating tables until this transaction ends."""
    if connection.dialect.name == "postgresql":  # on SQLite the transaction is the lock
        connection.execute(text("SET LOCAL lock_timeout = 500"))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
