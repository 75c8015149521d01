"""Define the tables of `SQLStore`.

Texts from Alipay+ have columns without a limit: one that is longer than documented must not keep a
paid payment from being stored. `shop` separates the shops in one database. `occupied_order` is the
order's reference while the attempt is open or its money is here, and NULL afterwards; its unique
index allows one attempt per order. `next_call_at` is NULL once the attempt is final, so the search
for due rows sees open attempts only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import Factory, field, frozen
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
    from collections.abc import Callable

    from sqlalchemy import Dialect, Insert
    from sqlalchemy.schema import SchemaItem

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "Tables",
    "include_object",
    "metadata",
]


SCHEMA_VERSION = 1
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,19}")


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC with microseconds on every database."""

    # Alembic writes a type into a shop's revision by its module and its repr. A revision lives
    # longer than this class, so there it is SQLAlchemy's own type.
    __module__ = "sqlalchemy.types"
    impl = DateTime(timezone=True)
    cache_ok = True

    def __repr__(self) -> str:
        return repr(self.impl)

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


_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


# Every constraint and index has a name of ours, which no naming convention of a shop changes.
def _of_payment(table: str, payments: Table) -> list[Column[Any] | ForeignKeyConstraint]:
    """Return the columns that refer a row of a table to a payment of a shop."""
    return [
        Column("shop", String(64), nullable=False),
        Column("payment_request_id", String(64), nullable=False),
        ForeignKeyConstraint(
            ["shop", "payment_request_id"],
            [payments.c.shop, payments.c.payment_request_id],
            name=f"fk_{table}_payment",
        ),
    ]


def _payments(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
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
        UniqueConstraint("shop", "occupied_order", name=f"uq_{name}_occupied_order"),
        Index(f"ix_{name}_order", "shop", "order_ref", "created_at"),
        Index(f"ix_{name}_due", "next_call_at"),
    )


def _observations(name: str, metadata: MetaData, payments: Table) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, payments),
        Column("details", Text, nullable=False),
        Index(f"ix_{name}_payment", "shop", "payment_request_id"),
    )


def _conflicts(name: str, metadata: MetaData, payments: Table) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, payments),
        Column("key", String(32), nullable=False),
        Column("reason", Text, nullable=False),
        Column("details", Text, nullable=False),
        Column("unreported", String(1), nullable=True),  # "y" until the shop was told
        UniqueConstraint("shop", "key", name=f"uq_{name}_key"),
        Index(f"ix_{name}_payment", "shop", "payment_request_id"),
        Index(f"ix_{name}_unreported", "unreported"),
    )


def _refunds(name: str, metadata: MetaData, payments: Table) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, payments),
        Column("refund_request_id", String(64), nullable=False),
        Column("client_id", String(128), nullable=False),
        Column("state", String(16), nullable=False),
        Column("currency", String(3), nullable=False),
        Column("amount_value", BigInteger, nullable=False),
        Column("reason", Text),
        Column("request_body", LargeBinary, nullable=False),
        Column("created_at", Moment, nullable=False),
        Column("next_call_at", Moment, nullable=True),
        Column("changed_at", Moment, nullable=False),
        Column("refund_id", Text),
        Column("result", Text),
        Column("claim", Integer, nullable=False),
        Column("claimed_until", Moment, nullable=True),
        UniqueConstraint("shop", "refund_request_id", name=f"uq_{name}_refund_request_id"),
        Index(f"ix_{name}_payment", "shop", "payment_request_id"),
        Index(f"ix_{name}_due", "next_call_at"),
    )


def _version(name: str, metadata: MetaData) -> Table:
    return Table(name, metadata, Column("version", Integer, nullable=False))


def _metadata(tables: Tables) -> MetaData:
    if not isinstance(tables.prefix, str) or not _PREFIX.fullmatch(tables.prefix):
        raise ConfigurationError(
            f"Tables prefix: found {str(tables.prefix)[:80]!r}, expected 1 to 20 lower-case "
            "letters, digits and underscores that begin with a letter, such as 'aplus_'"
        )
    if tables.schema is not None and not (isinstance(tables.schema, str) and tables.schema):
        raise ConfigurationError(
            f"Tables schema: found {str(tables.schema)[:80]!r}, expected the name of a schema of "
            "the database, or None for the connection's own"
        )
    return MetaData(schema=tables.schema)


def _of(tables: Tables, define: Callable[[str, MetaData, Table], Table], name: str) -> Table:
    return define(f"{tables.prefix}{name}", tables.metadata, tables.payments)


def _derived(make: Callable[[Tables], Any]) -> Any:
    return Factory(make, takes_self=True)


@frozen(kw_only=True)
class Tables:
    """The tables of a store, under the names that a shop chooses.

    `prefix` begins each name: up to 20 lower-case letters, digits and underscores. `schema` is the
    schema of the database that holds them, which has to be there; None is the connection's own.
    Pass the same value to `SQLStore` and to your migrations. Raises ConfigurationError for names
    that cannot be used.
    """

    prefix: str = "aplus_"
    schema: str | None = None
    metadata: MetaData = field(init=False, eq=False, repr=False, default=_derived(_metadata))
    payments: Table = field(
        init=False,
        eq=False,
        repr=False,
        default=_derived(lambda self: _payments(f"{self.prefix}payments", self.metadata)),
    )
    observations: Table = field(
        init=False,
        eq=False,
        repr=False,
        default=_derived(lambda self: _of(self, _observations, "observations")),
    )
    conflicts: Table = field(
        init=False,
        eq=False,
        repr=False,
        default=_derived(lambda self: _of(self, _conflicts, "conflicts")),
    )
    refunds: Table = field(
        init=False,
        eq=False,
        repr=False,
        default=_derived(lambda self: _of(self, _refunds, "refunds")),
    )
    version: Table = field(
        init=False,
        eq=False,
        repr=False,
        default=_derived(lambda self: _version(f"{self.prefix}schema", self.metadata)),
    )

    def include_object(
        self,
        item: SchemaItem,
        name: str | None,
        type_: str,
        reflected: bool,  # noqa: ARG002  # Alembic passes it
        compare_to: SchemaItem | None,  # noqa: ARG002
        /,
    ) -> bool:
        """Return False for our tables, so that a shop's migrations leave them alone.

        It is for Alembic: `context.configure(..., include_object=include_object)`. Without it, and
        without `metadata` in `target_metadata`, `--autogenerate` would drop our tables.
        """
        names = {table.name for table in self.metadata.tables.values()}
        place = getattr(item, "schema", None)  # None also for a schema that is the default one
        return not (type_ == "table" and name in names and place in {None, self.schema})

    def ddl(self, dialect: str) -> str:
        """Return the SQL that makes the tables and notes their version.

        `dialect` is SQLAlchemy's name of the database, such as postgresql. Raises
        ConfigurationError if payments cannot be kept in it.
        """
        if dialect not in DIALECTS:
            raise ConfigurationError(
                f"dialect: found {dialect!r}, expected {' or '.join(DIALECTS)}; "
                "payments cannot be kept in another database"
            )
        speech = make_url(f"{dialect}://").get_dialect()()
        items: list[CreateTable | CreateIndex | Insert] = []
        for table in self.metadata.sorted_tables:
            items.append(CreateTable(table))
            items += map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))
        items.append(insert(self.version).values(version=SCHEMA_VERSION))
        literal = {"literal_binds": True}
        statements = (str(item.compile(dialect=speech, compile_kwargs=literal)) for item in items)
        lines = "".join(f"{statement.strip()};\n\n" for statement in statements).splitlines()
        return "\n".join(line.expandtabs(4).rstrip() for line in lines).rstrip()


TABLES = Tables()
metadata = TABLES.metadata
include_object = TABLES.include_object
