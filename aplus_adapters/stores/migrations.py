"""Make the tables of `SQLStore`, migrate those of an older version, and say what is missing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import UniqueConstraint, func, insert, inspect, select, text, update

from aplus_adapters.errors import StoreError
from aplus_adapters.stores.columns import MYSQL
from aplus_adapters.stores.mysql import inexact
from aplus_adapters.stores.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from aplus_adapters.stores.schema import Tables

__all__ = ["is_current", "migrate", "missing"]

_LOCK = 0x61706C7573  # "aplus", for PostgreSQL's advisory lock
_WAIT = 15  # seconds for MySQL's named lock, behind which no buyer waits

_MIGRATIONS: dict[int, Callable[[Connection, Tables], Any]] = {}
"""Statements from each older version to the next; they run on a database with data.

MySQL commits each of them by itself: a step must do no harm if a part of it was done before.
"""

_REMEDY = (
    "let a role that may make tables run `aplus schema` (or call SQLStore(...).set_up()), or run "
    "the shop's own migration that makes them"
)


def _stored_version(connection: Connection, tables: Tables) -> int | None:
    """Return the version of the tables in the database, None if none is noted.

    Raises StoreError if the database was made by a newer version of this library.
    """
    if not inspect(connection).has_table(tables.version.name, schema=_schema(connection, tables)):
        return None
    stored: int | None = connection.execute(select(func.max(tables.version.c.version))).scalar_one()
    if stored is not None and stored > SCHEMA_VERSION:
        raise StoreError(
            f"database schema: found version {stored}, expected at most {SCHEMA_VERSION}; "
            "a newer aplus_adapters made it; upgrade this installation"
        )
    return stored


def is_current(connection: Connection, tables: Tables) -> bool:
    """Return whether the tables are noted in the current version; raise StoreError if newer."""
    return _stored_version(connection, tables) == SCHEMA_VERSION


def migrate(connection: Connection, tables: Tables, *, create: bool) -> None:
    """Make the tables, or migrate those of an older version.

    With `create` False nothing is made or altered. Complete tables without a version, as a shop's
    own migration leaves them, get their version noted.

    If several workers start at once, one makes them and the others find them current. The wait for
    a lock is short, because buyers of older workers wait behind it; the caller tries again. Raises
    StoreError if the database was made by a newer version of this library, or if something is
    missing that may not be made here.
    """
    with _locked(connection):
        # Another worker may have made them while this one waited for the lock.
        stored = _stored_version(connection, tables)
        if stored is None:
            _make_all(connection, tables, create=create)
        elif stored != SCHEMA_VERSION:
            _upgrade(connection, tables, stored, create=create)


def _make_all(connection: Connection, tables: Tables, *, create: bool) -> None:
    """Make what is missing, and note the version if everything is there."""
    # A table that is there already may be another's, or of an older version.
    is_certain = create and not _any_table(connection, tables)
    if create:
        tables.metadata.create_all(connection)
    if create and connection.dialect.name in MYSQL:
        # It commits each statement, so a worker that died may have made a part of them.
        for table in tables.metadata.tables.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)
    if not is_certain and (lacks := missing(connection, tables)):
        reason = f"database schema: found no {', no '.join(lacks)}"[:300]
        raise StoreError(f"{reason}; expected the tables of version {SCHEMA_VERSION}; {_REMEDY}")
    connection.execute(insert(tables.version).values(version=SCHEMA_VERSION))


def _upgrade(connection: Connection, tables: Tables, stored: int, *, create: bool) -> None:
    if not create:
        raise StoreError(
            f"database schema: found version {stored}, expected {SCHEMA_VERSION}; {_REMEDY}"
        )
    for step in range(stored, SCHEMA_VERSION):
        _MIGRATIONS[step](connection, tables)
        connection.execute(update(tables.version).values(version=step + 1))


def missing(connection: Connection, tables: Tables) -> list[str]:
    """Return what our tables lack, such as "column aplus_payments.wallet".

    What is there beyond our tables, such as an index of the shop's own, does not count. Raises
    StoreError if the database was made by a newer version of this library.
    """
    schema = _schema(connection, tables)
    inspector = inspect(connection)
    lacks: list[str] = []
    stored = _stored_version(connection, tables)
    if stored is not None and stored < SCHEMA_VERSION:
        lacks.append(f"version {SCHEMA_VERSION}, found version {stored}")
    for table in tables.metadata.sorted_tables:
        if not inspector.has_table(table.name, schema=schema):
            lacks.append(f"table {table.name}")
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name, schema=schema)}
        lacks += (f"column {table.name}.{c.name}" for c in table.columns if c.name not in columns)
        if connection.dialect.name in MYSQL:
            lacks += inexact(connection, table, schema)
        indexes = inspector.get_indexes(table.name, schema=schema)
        names = {index["name"] for index in indexes}
        lacks += (f"index {index.name}" for index in table.indexes if index.name not in names)
        # A unique key may have any name; without it two attempts could occupy one order.
        keys = [list(index["column_names"]) for index in indexes if index["unique"]]
        uniques = inspector.get_unique_constraints(table.name, schema=schema)
        keys += [list(unique["column_names"]) for unique in uniques]
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                wanted = [column.name for column in constraint.columns]
                if wanted not in keys:
                    lacks.append(f"unique key {table.name} ({', '.join(wanted)})")
    return lacks


def _any_table(connection: Connection, tables: Tables) -> bool:
    schema, inspector = _schema(connection, tables), inspect(connection)
    return any(inspector.has_table(t.name, schema=schema) for t in tables.metadata.sorted_tables)


def _schema(connection: Connection, tables: Tables) -> str | None:
    # The inspector does not apply an engine's schema_translate_map; statements do.
    schemas = connection.get_execution_options().get("schema_translate_map") or {}
    return schemas.get(tables.schema, tables.schema)


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
