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

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from aplus_adapters.errors import StoreError
from aplus_adapters.stores.columns import MYSQL, Body, Moment, Name, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

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


metadata = MetaData()

# Other engines have no transactions.
_ENGINE: dict[str, Any] = {f"{name}_engine": "InnoDB" for name in MYSQL}
_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


def _of_payment() -> list[Column[Any] | ForeignKeyConstraint]:
    """Return the columns that refer a row to a payment of a shop."""
    return [
        Column("shop", Name(64), nullable=False),
        Column("payment_request_id", Name(64), nullable=False),
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
    Column("shop", Name(64), primary_key=True),
    Column("payment_request_id", Name(64), primary_key=True),
    Column("order_ref", Name(64), nullable=False),
    Column("occupied_order", Name(64), nullable=True),
    Column("client_id", Name(128), nullable=False),
    Column("state", Name(16), nullable=False),
    Column("currency", Name(3), nullable=False),
    Column("amount_value", BigInteger, nullable=False),
    Column("request_body", Body, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("next_call_at", Moment, nullable=True),
    Column("changed_at", Moment, nullable=False),
    Column("payment_id", Words),
    Column("order_code", Words),
    Column("result", Words),
    Column("payment_time", Words),
    Column("wallet", Words),
    Column("claim", Integer, nullable=False),
    Column("claimed_until", Moment, nullable=True),
    Column("success_reported", Boolean, nullable=False),
    Column("disputed", Words),
    Column("refunded", BigInteger, nullable=False),
    Column("wallet_key", Name(128), nullable=True),
    Column("attention", Name(1), nullable=True),
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
    **_ENGINE,
)

observations = Table(
    "aplus_observations",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("source", Name(16), nullable=False),
    Column("details", Words, nullable=False),
    Index("ix_aplus_observations_payment", "shop", "payment_request_id"),
    Index("ix_aplus_observations_source", "shop", "source", "id"),
    **_ENGINE,
)

conflicts = Table(
    "aplus_conflicts",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("key", Name(32), nullable=False),
    Column("reason", Words, nullable=False),
    Column("details", Words, nullable=False),
    Column("unreported", Name(1), nullable=True, index=True),  # "y" until the shop was told
    Column("unresolved", Name(1), nullable=True),  # "y" until somebody has settled it
    Column("resolved_at", Moment, nullable=True),
    Column("resolved_by", Words),
    Column("note", Words),
    UniqueConstraint("shop", "key"),
    Index("ix_aplus_conflicts_payment", "shop", "payment_request_id"),
    Index(
        "ix_aplus_conflicts_unresolved",
        *("shop", "unresolved", "id"),
        **_where("unresolved IS NOT NULL"),
    ),
    **_ENGINE,
)

refunds = Table(
    "aplus_refunds",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment(),
    Column("refund_request_id", Name(64), nullable=False),
    Column("client_id", Name(128), nullable=False),
    Column("state", Name(16), nullable=False),
    Column("currency", Name(3), nullable=False),
    Column("amount_value", BigInteger, nullable=False),
    Column("reason", Words),
    Column("request_body", Body, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("next_call_at", Moment, nullable=True, index=True),
    Column("changed_at", Moment, nullable=False),
    Column("refund_id", Words),
    Column("result", Words),
    Column("claim", Integer, nullable=False),
    Column("claimed_until", Moment, nullable=True),
    UniqueConstraint("shop", "refund_request_id"),
    Index("ix_aplus_refunds_payment", "shop", "payment_request_id"),
    **_ENGINE,
)

moments = Table(
    "aplus_moments",
    metadata,
    Column("shop", Name(64), primary_key=True),
    Column("name", Name(32), primary_key=True),
    Column("at", Moment, nullable=False),
    **_ENGINE,
)

_LOCK = 0x61706C7573  # "aplus", for PostgreSQL's advisory lock
_WAIT = 15  # seconds for MySQL's named lock, behind which no buyer waits

version = Table("aplus_schema", metadata, Column("version", Integer, nullable=False), **_ENGINE)

_MIGRATIONS: dict[int, Callable[[Connection], Any]] = {}
"""Statements from each older version to the next; they run on a database with data.

MySQL commits each of them by itself: a step must do no harm if a part of it was done before.
"""


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
    with _locked(connection):
        # Another worker may have made them while this one waited for the lock.
        if is_current(connection):
            return
        metadata.create_all(connection, tables=[version])
        stored = connection.execute(select(func.max(version.c.version))).scalar_one()
        if stored is None:
            _make_all(connection)
            connection.execute(insert(version).values(version=SCHEMA_VERSION))
            return
        for step in range(stored, SCHEMA_VERSION):
            _MIGRATIONS[step](connection)
            connection.execute(update(version).values(version=step + 1))


def _make_all(connection: Connection) -> None:
    """Make the tables that are missing, and the indexes that are.

    MySQL commits each statement, so a worker that died may have made a part of them.
    """
    metadata.create_all(connection)
    if connection.dialect.name in MYSQL:
        for table in metadata.tables.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)


@contextmanager
def _locked(connection: Connection) -> Iterator[None]:
    """Keep other workers from making or migrating tables until this transaction ends."""
    if connection.dialect.name == "postgresql":  # on SQLite the transaction is the lock
        connection.execute(text("SET LOCAL lock_timeout = 500"))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if connection.dialect.name not in MYSQL:
        yield
        return
    # Its DDL ends the transaction, and with it every lock but one that has a name. It is taken for
    # the block, and the server frees it if the worker dies.
    name = func.left(func.concat("aplus_schema.", func.database()), 64)
    if not connection.execute(select(func.get_lock(name, _WAIT))).scalar_one():
        raise StoreError(
            f"database schema: found another worker that has been making the tables for {_WAIT} s, "
            "expected it to be ready; try again, and see what that worker does"
        )
    try:
        yield
        connection.exec_driver_sql("COMMIT")  # the next worker has to see the version
    finally:
        if not connection.invalidated:
            connection.execute(select(func.release_lock(name)))
