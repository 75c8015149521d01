"""Define the tables of `SQLStore`.

Texts from Alipay+ have columns without a limit: one that is longer than documented must not keep a
paid payment from being stored. `shop` separates the shops in one database. `occupied_order` is the
order's reference while the attempt is open or its money is here, and NULL afterwards; its unique
index allows one attempt per order. `next_call_at` is NULL once the attempt is final, so the search
for due rows sees open attempts only.

Every page of a search reads an index in its order. `ix_aplus_payments_list` serves all filters by
state and account: where one of the two is left open, `stores/queries.py` asks for each of its few
values. `attention` is "y" while the payment has a conflict that nobody resolved. `wallet_key` is
the wallet's name as far as an index can hold it. `stage` is NULL while the attempt is open; later
it says what retention may still do, so that a batch reads only what is old enough from its index.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import Factory, field, frozen
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
    insert,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.columns import MYSQL, Body, Moment, Name, Words
from aplus_adapters.stores.drivers import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Insert
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


# Other engines have no transactions.
_ENGINE: dict[str, Any] = {f"{name}_engine": "InnoDB" for name in MYSQL}
_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


# A column that has a value in every row.
_required: partial[Column[Any]] = partial(Column, nullable=False)
_BY_CREATION = ("created_at", "payment_request_id")  # the order of pages


def _where(condition: str) -> dict[str, Any]:
    """Return what keeps most rows out of an index, where the database can; so they cost nothing."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


# Every constraint and index has a name of ours, which no naming convention of a shop changes.
def _of_payment(table: str, payments: Table) -> list[Column[Any] | ForeignKeyConstraint]:
    """Return the columns that refer a row of a table to a payment of a shop."""
    return [
        _required("shop", Name(64)),
        _required("payment_request_id", Name(64)),
        ForeignKeyConstraint(
            ["shop", "payment_request_id"],
            [payments.c.shop, payments.c.payment_request_id],
            name=f"fk_{table}_payment",
        ),
    ]


def _payments(name: str, tables: Tables) -> Table:
    return Table(
        name,
        tables.metadata,
        Column("shop", Name(64), primary_key=True),
        Column("payment_request_id", Name(64), primary_key=True),
        _required("order_ref", Name(64)),
        Column("occupied_order", Name(64)),
        _required("client_id", Name(128)),
        _required("state", Name(16)),
        _required("currency", Name(3)),
        _required("amount_value", BigInteger),
        _required("request_body", Body),
        _required("created_at", Moment),
        _required("expires_at", Moment),
        Column("next_call_at", Moment),
        _required("changed_at", Moment),
        Column("payment_id", Words),
        Column("order_code", Words),
        Column("result", Words),
        Column("payment_time", Words),
        Column("wallet", Words),
        _required("claim", Integer),
        Column("claimed_until", Moment),
        _required("success_reported", Boolean),
        Column("disputed", Words),
        _required("refunded", BigInteger),
        Column("last_answer", Name(32)),
        Column("wallet_key", Name(128)),
        Column("attention", Name(1)),
        Column("stage", Name(16)),
        UniqueConstraint("shop", "occupied_order", name=f"uq_{name}_occupied_order"),
        Index(f"ix_{name}_order", "shop", "order_ref", "created_at"),
        Index(f"ix_{name}_due", "next_call_at"),
        Index(f"ix_{name}_list", "shop", "client_id", "state", *_BY_CREATION),
        Index(
            f"ix_{name}_wallet",
            *("shop", "wallet_key", "client_id", "state", *_BY_CREATION),
            **_where("wallet_key IS NOT NULL"),
        ),
        Index(
            f"ix_{name}_attention",
            *("shop", "attention", *_BY_CREATION),
            **_where("attention IS NOT NULL"),
        ),
        Index(
            f"ix_{name}_stage",
            *("shop", "stage", "changed_at", "payment_request_id"),
            **_where("stage IS NOT NULL"),
        ),
        **_ENGINE,
    )


def _observations(name: str, tables: Tables) -> Table:
    return Table(
        name,
        tables.metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, tables.payments),
        _required("source", Name(16)),
        _required("details", Words),
        _required("count", Integer),  # of answers that said the same, one by one
        _required("first_at", Moment),
        Index(f"ix_{name}_payment", "shop", "payment_request_id", "id"),
        Index(f"ix_{name}_source", "shop", "source", "id"),
        **_ENGINE,
    )


def _conflicts(name: str, tables: Tables) -> Table:
    return Table(
        name,
        tables.metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, tables.payments),
        _required("key", Name(32)),
        _required("reason", Words),
        _required("details", Words),
        Column("unreported", Name(1)),  # "y" until the shop was told
        Column("unresolved", Name(1)),  # "y" until somebody has settled it
        Column("resolved_at", Moment),
        Column("resolved_by", Words),
        Column("note", Words),
        UniqueConstraint("shop", "key", name=f"uq_{name}_key"),
        Index(f"ix_{name}_payment", "shop", "payment_request_id"),
        Index(f"ix_{name}_unreported", "unreported"),
        Index(
            f"ix_{name}_unresolved",
            *("shop", "unresolved", "id"),
            **_where("unresolved IS NOT NULL"),
        ),
        **_ENGINE,
    )


def _refunds(name: str, tables: Tables) -> Table:
    return Table(
        name,
        tables.metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        *_of_payment(name, tables.payments),
        _required("refund_request_id", Name(64)),
        _required("client_id", Name(128)),
        _required("state", Name(16)),
        _required("currency", Name(3)),
        _required("amount_value", BigInteger),
        Column("reason", Words),
        _required("request_body", Body),
        _required("created_at", Moment),
        Column("next_call_at", Moment),
        _required("changed_at", Moment),
        Column("refund_id", Words),
        Column("result", Words),
        _required("claim", Integer),
        Column("claimed_until", Moment),
        UniqueConstraint("shop", "refund_request_id", name=f"uq_{name}_refund_request_id"),
        Index(f"ix_{name}_payment", "shop", "payment_request_id"),
        Index(f"ix_{name}_due", "next_call_at"),
        **_ENGINE,
    )


def _moments(name: str, tables: Tables) -> Table:
    return Table(
        name,
        tables.metadata,
        Column("shop", Name(64), primary_key=True),
        Column("name", Name(32), primary_key=True),
        _required("at", Moment),
        **_ENGINE,
    )


def _version(name: str, tables: Tables) -> Table:
    return Table(name, tables.metadata, _required("version", Integer), **_ENGINE)


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


def _named(name: str, define: Callable[[str, Tables], Table]) -> Any:
    return Factory(lambda tables: define(f"{tables.prefix}{name}", tables), takes_self=True)


_METADATA: Any = Factory(_metadata, takes_self=True)
_PAYMENTS = _named("payments", _payments)
_OBSERVATIONS = _named("observations", _observations)
_CONFLICTS = _named("conflicts", _conflicts)
_REFUNDS = _named("refunds", _refunds)
_MOMENTS = _named("moments", _moments)
_VERSION = _named("schema", _version)


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
    metadata: MetaData = field(init=False, eq=False, repr=False, default=_METADATA)
    payments: Table = field(init=False, eq=False, repr=False, default=_PAYMENTS)
    observations: Table = field(init=False, eq=False, repr=False, default=_OBSERVATIONS)
    conflicts: Table = field(init=False, eq=False, repr=False, default=_CONFLICTS)
    refunds: Table = field(init=False, eq=False, repr=False, default=_REFUNDS)
    moments: Table = field(init=False, eq=False, repr=False, default=_MOMENTS)
    version: Table = field(init=False, eq=False, repr=False, default=_VERSION)

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
