"""Define the tables of `SQLStore`.

Texts from Alipay+ have columns without a limit: one that is longer than documented must not keep a
paid payment from being stored. `shop` separates the shops in one database. `occupied_order` is the
order's reference while the attempt is open or its money is here, and NULL afterwards; its unique
index allows one attempt per order. `next_call_at` is NULL once the attempt is final, so the search
for due rows sees open attempts only.
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
    insert,
)
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.drivers import DIALECTS

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Insert
    from sqlalchemy.schema import SchemaItem

__all__ = [
    "SCHEMA_VERSION",
    "conflicts",
    "ddl",
    "include_object",
    "metadata",
    "observations",
    "payments",
    "refunds",
    "version",
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


# Every constraint has a name, so that a shop's migrations can change it on any database.
def _of_payment(table: str) -> list[Column[Any] | ForeignKeyConstraint]:
    """Return the columns that refer a row of a table to a payment of a shop."""
    return [
        Column("shop", String(64), nullable=False),
        Column("payment_request_id", String(64), nullable=False),
        ForeignKeyConstraint(
            ["shop", "payment_request_id"],
            ["aplus_payments.shop", "aplus_payments.payment_request_id"],
            name=f"fk_{table}_payment",
        ),
    ]


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
    UniqueConstraint("shop", "occupied_order", name="uq_aplus_payments_occupied_order"),
    Index("ix_aplus_payments_order", "shop", "order_ref", "created_at"),
    Index("ix_aplus_payments_due", "next_call_at"),
)

observations = Table(
    "aplus_observations",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment("aplus_observations"),
    Column("details", Text, nullable=False),
    Index("ix_aplus_observations_payment", "shop", "payment_request_id"),
)

conflicts = Table(
    "aplus_conflicts",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment("aplus_conflicts"),
    Column("key", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("unreported", String(1), nullable=True, index=True),  # "y" until the shop was told
    UniqueConstraint("shop", "key", name="uq_aplus_conflicts_key"),
    Index("ix_aplus_conflicts_payment", "shop", "payment_request_id"),
)

refunds = Table(
    "aplus_refunds",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_of_payment("aplus_refunds"),
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
    UniqueConstraint("shop", "refund_request_id", name="uq_aplus_refunds_refund_request_id"),
    Index("ix_aplus_refunds_payment", "shop", "payment_request_id"),
)

version = Table("aplus_schema", metadata, Column("version", Integer, nullable=False))


def include_object(
    item: SchemaItem,
    name: str | None,
    type_: str,
    reflected: bool,
    compare_to: SchemaItem | None,
    /,
) -> bool:
    """Return False for our tables, so that a shop's migrations leave them alone.

    It is for Alembic: `context.configure(..., include_object=include_object)`. Without it, and
    without `metadata` in `target_metadata`, `--autogenerate` would drop our tables.
    """
    return not (type_ == "table" and name in metadata.tables)


def ddl(dialect: str) -> str:
    """Return the SQL that makes the tables and notes their version.

    `dialect` is SQLAlchemy's name of the database, such as postgresql. Raises ConfigurationError
    if payments cannot be kept in it.
    """
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"dialect: found {dialect!r}, expected {' or '.join(DIALECTS)}; "
            "payments cannot be kept in another database"
        )
    speech = make_url(f"{dialect}://").get_dialect()()
    items: list[CreateTable | CreateIndex | Insert] = []
    for table in metadata.sorted_tables:
        items.append(CreateTable(table))
        items += map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))
    items.append(insert(version).values(version=SCHEMA_VERSION))
    literal = {"literal_binds": True}
    statements = (str(item.compile(dialect=speech, compile_kwargs=literal)) for item in items)
    lines = "".join(f"{statement.strip()};\n\n" for statement in statements).splitlines()
    return "\n".join(line.expandtabs(4).rstrip() for line in lines).rstrip()
