"""Begin and check transactions that are ours alone, for each kind of database.

SQLAlchemy's `begin()` is not enough: an AUTOCOMMIT engine opens no transaction, and a failed
statement may turn COMMIT into ROLLBACK without an error. So each of our transactions is checked
after its beginning and before its commit. What differs between databases is in a module for each.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.pool import SingletonThreadPool, StaticPool

from aplus_adapters.errors import ConfigurationError, StoreError
from aplus_adapters.stores import mysql, postgresql, sqlite
from aplus_adapters.stores.connection_info import INFO_HOOK, INFO_OPEN, INFO_OURS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.exc import DBAPIError

__all__ = [
    "DIALECTS",
    "before_hook",
    "begin",
    "begins_quickly",
    "check_before_commit",
    "check_dialect",
    "check_engine",
    "check_server",
    "gave_up_waiting",
    "kind_of",
    "lacks_permission",
    "long_statements",
    "may_be_repeated",
    "refuse_blocking_gevent",
]


class _Kind(Protocol):
    """What a module for one kind of database offers; `driver` is the driver's connection."""

    DRIVERS: tuple[str, ...]
    ASYNC_DRIVERS: tuple[str, ...]

    def has_transaction(self, driver: Any) -> bool: ...
    def before_hook(self, connection: Connection) -> None: ...
    def has_ended(self, connection: Connection, *, hooked: bool) -> bool: ...
    def has_failed(self, driver: Any) -> bool: ...
    def begins_quickly(self, dialect: Dialect) -> bool: ...
    def begin(self, connection: Connection, *, writes: bool, alone: bool) -> bool: ...
    def restore(self, driver: Any, before: dict[str, Any]) -> None: ...
    def long_statements(self, connection: Connection) -> AbstractContextManager[None]: ...
    def gave_up_waiting(self, error: DBAPIError) -> bool: ...
    def may_be_repeated(self, error: DBAPIError) -> bool: ...
    def lacks_permission(self, error: DBAPIError) -> bool: ...
    def check_server(self, connection: Connection) -> None: ...


_KINDS: dict[str, _Kind] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mysql": mysql,
    "mariadb": mysql,
}
DIALECTS = tuple(_KINDS)


def kind_of(dialect: Dialect) -> _Kind:
    """Return what is particular to a dialect's database."""
    return _KINDS[dialect.name]


def check_dialect(dialect: Dialect, *, is_async: bool) -> None:
    """Raise ConfigurationError for a database or driver that the store is not tested with."""
    name, driver = dialect.name, dialect.driver
    if name not in _KINDS:
        raise ConfigurationError(
            f"store: found a database of the kind {name}, expected sqlite, postgresql, mysql or "
            "mariadb; its locks and transactions differ, so keep the payments in one of these"
        )
    drivers = _KINDS[name].ASYNC_DRIVERS if is_async else _KINDS[name].DRIVERS
    if dialect.is_async is not is_async or driver not in drivers:
        store = "AsyncSQLStore" if is_async else "SQLStore"
        kind = "the async driver" if dialect.is_async else "the driver"
        other = "SQLStore" if is_async else "AsyncSQLStore"
        hint = "" if dialect.is_async is is_async else f"; {other} takes this kind"
        expected = " or ".join(f"{name}+{choice}" for choice in drivers)
        raise ConfigurationError(
            f"{store}: found {kind} {name}+{driver}, expected {expected}{hint}; the shop's "
            "own tables may use another one"
        )


def check_engine(engine: Engine) -> None:
    """Raise ConfigurationError if an engine cannot open a transaction that is ours alone."""
    check_dialect(engine.dialect, is_async=engine.dialect.is_async)
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise ConfigurationError(
            f"store: found an engine with a {type(engine.pool).__name__} (an in-memory SQLite "
            "has one), expected a pool that lends a connection to one user at a time, because a "
            "payment would commit the work of others; use a file, or MemoryStore() in tests"
        )
    refuse_blocking_gevent(engine)


def refuse_blocking_gevent(engine: Engine) -> None:
    """Raise ConfigurationError if the driver blocks all greenlets while one waits.

    This is checked at each use: under gunicorn --preload, gevent patches after the store is made.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return
    if engine.dialect.driver == "psycopg2":
        if import_module("psycopg2.extensions").get_wait_callback() is None:
            raise ConfigurationError(
                "store: found psycopg2 under gevent, which blocks the whole process while one "
                "buyer waits for a lock; use postgresql+psycopg, or call "
                "psycogreen.gevent.patch_psycopg() before the store is made"
            )
    elif engine.dialect.driver == "psycopg":
        waiting: Any = import_module("psycopg.waiting")
        if waiting.wait is getattr(waiting, "wait_c", None):
            raise ConfigurationError(
                "store: found psycopg imported before gevent patched the process, expected "
                "after it, because it now blocks the whole process while one buyer waits for a "
                "lock; call gevent.monkey.patch_all() first, or run gunicorn without --preload"
            )


def begins_quickly(dialect: Dialect) -> bool:
    """Return whether the first message of a transaction that writes waits for no lock."""
    return kind_of(dialect).begins_quickly(dialect)


def begin(connection: Connection, *, writes: bool, alone: bool) -> bool:
    """Open a transaction in the database, with our time-outs; return whether one is open.

    With `alone` it is one statement, or several that read, and each may commit by itself. `restore`
    undoes the changed settings when the connection returns to its pool. Raises ConfigurationError
    if the connection already has other work in a transaction.
    """
    connection.info.pop(INFO_HOOK, None)
    connection.info[INFO_OURS] = True
    if connection.info.get(INFO_OPEN):
        raise ConfigurationError(
            "store: the pool lent a connection with another transaction open on it, expected "
            "one that nobody else uses; leave pool_reset_on_return at its default"
        )
    return kind_of(connection.dialect).begin(connection, writes=writes, alone=alone)


def before_hook(connection: Connection) -> None:
    """Prepare to notice whether the hook ends the transaction."""
    connection.info[INFO_HOOK] = True
    kind_of(connection.dialect).before_hook(connection)


def check_before_commit(connection: Connection) -> None:
    """Raise StoreError unless a commit would store the whole transaction."""
    kind, driver = kind_of(connection.dialect), connection.connection.dbapi_connection
    hooked: bool = connection.info.pop(INFO_HOOK, False)
    if kind.has_ended(connection, hooked=hooked):
        raise StoreError(
            "found the payment's transaction ended by the hook, expected it open; nothing was "
            "stored. A hook must not commit or roll back details.connection, the store does; on "
            "MySQL CREATE and ALTER commit as well, and a deadlock rolls back, also if it is caught"
        )
    if hooked and kind.has_failed(driver):
        raise StoreError(
            "a statement of the hook failed and the hook went on, expected it to raise, because "
            "PostgreSQL stores nothing of this transaction; wrap a statement that may fail in "
            "details.connection.begin_nested()"
        )


def long_statements(connection: Connection) -> AbstractContextManager[None]:
    """Allow each statement a minute, such as to index all payments in a migration."""
    return kind_of(connection.dialect).long_statements(connection)


def check_server(connection: Connection) -> None:
    """Log a warning if a server's own settings may lose payments.

    Raises ConfigurationError if the store cannot work with them.
    """
    kind_of(connection.dialect).check_server(connection)


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether the wait for another transaction's lock timed out."""
    return any(kind.gave_up_waiting(error) for kind in _KINDS.values())


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether the transaction may be repeated, because all of it was rolled back.

    That is so after a serialization failure, a deadlock, and a connection that was lost before the
    COMMIT was sent.
    """
    # Without a statement it was the COMMIT that failed, and that may have been done.
    lost = error.connection_invalidated and error.statement is not None
    return lost or any(kind.may_be_repeated(error) for kind in _KINDS.values())


def lacks_permission(error: DBAPIError) -> bool:
    """Return whether the database's user may not do this."""
    return any(kind.lacks_permission(error) for kind in _KINDS.values())
