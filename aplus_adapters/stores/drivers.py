"""Begin and check transactions that are ours alone, for each database driver.

SQLAlchemy's `begin()` is not enough: an AUTOCOMMIT engine opens no transaction, and after a failed
statement whose error was caught, PostgreSQL turns COMMIT into ROLLBACK without an error. So each
of our transactions is checked after its beginning and before its commit.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import SingletonThreadPool, StaticPool

from aplus_adapters.errors import ConfigurationError, StoreError
from aplus_adapters.stores.sqlite_lock import SQLITE_LOCK, is_busy, take_write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.exc import DBAPIError

__all__ = [
    "CONNECT",
    "DIALECTS",
    "INFO_OPEN",
    "INFO_TIME_LIMIT",
    "LOCK",
    "STATEMENT",
    "begin",
    "check_before_commit",
    "check_dialect",
    "check_engine",
    "gave_up_waiting",
    "has_transaction",
    "long_statements",
    "may_be_repeated",
    "prepare_postgresql",
    "refuse_blocking_gevent",
    "restore",
    "sqlstate",
]

# Seconds. An answer is due within 5. A lock times out before its statement, and the statement
# before the watchdog cuts the connection, so that the error says what was waited for.
LOCK = 2.5
STATEMENT = 3.0
_MINUTE = 60.0
CONNECT = 2  # the least that libpq accepts

INFO_OPEN = "aplus_open"  # a transaction was open when the pool handed the connection out
INFO_TIME_LIMIT = "aplus_time_limit"  # seconds for a statement, if set for the connection
_INFO_RESTORE = "aplus_restore"  # settings of the connection before our transaction

_DRIVERS = {"sqlite": ("pysqlite",), "postgresql": ("psycopg", "psycopg2")}
DIALECTS = tuple(_DRIVERS)
_IDLE, _IN_TRANSACTION, _FAILED = 0, 2, 3  # libpq's PGTransactionStatusType
_STALE = 517  # SQLITE_BUSY_SNAPSHOT: only a new transaction helps


def _at_most(name: str, milliseconds: int, local: str) -> str:
    """Return SQL that lowers a time-out of PostgreSQL; a lower one is kept."""
    old = f"current_setting('{name}')"
    lower = f"{old}::interval BETWEEN '1us' AND '{milliseconds}ms'"
    return f"set_config('{name}', CASE WHEN {lower} THEN {old} ELSE '{milliseconds}' END, {local})"


def _durable(local: str) -> str:
    """Return SQL that makes a commit wait for the disk; a stricter setting is kept."""
    name = "synchronous_commit"
    old = f"current_setting('{name}')"
    return f"set_config('{name}', CASE {old} WHEN 'off' THEN 'on' ELSE {old} END, {local})"


_TIMEOUTS = {"lock_timeout": int(LOCK * 1000), "statement_timeout": int(STATEMENT * 1000)}


def _settings(local: str, except_for: str = "") -> str:
    timeouts = [
        _at_most(name, limit, local) for name, limit in _TIMEOUTS.items() if name not in except_for
    ]
    return "SELECT " + ", ".join([*timeouts, _durable(local)])


_TRANSACTION_SETTINGS = _settings("true")


def check_dialect(dialect: Dialect) -> None:
    """Raise ConfigurationError for a database or driver that the store is not tested with."""
    name, driver = dialect.name, dialect.driver
    if name not in _DRIVERS:
        raise ConfigurationError(
            f"SQLStore: found a database of the kind {name}, expected sqlite or postgresql; its "
            "locks and transactions differ, so keep the payments in one of these two"
        )
    if driver not in _DRIVERS[name]:
        kind = "the async driver" if dialect.is_async else "the driver"
        expected = " or ".join(f"{name}+{choice}" for choice in _DRIVERS[name])
        raise ConfigurationError(
            f"SQLStore: found {kind} {name}+{driver}, expected {expected}; the shop's "
            "own tables may use another one"
        )


def check_engine(engine: Engine) -> None:
    """Raise ConfigurationError if an engine cannot open a transaction that is ours alone."""
    check_dialect(engine.dialect)
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise ConfigurationError(
            f"SQLStore: found an engine with a {type(engine.pool).__name__} (an in-memory SQLite "
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
                "SQLStore: found psycopg2 under gevent, which blocks the whole process while one "
                "buyer waits for a lock; use postgresql+psycopg, or call "
                "psycogreen.gevent.patch_psycopg() before the store is made"
            )
    elif engine.dialect.driver == "psycopg":
        waiting: Any = import_module("psycopg.waiting")
        if waiting.wait is getattr(waiting, "wait_c", None):
            raise ConfigurationError(
                "SQLStore: found psycopg imported before gevent patched the process, expected "
                "after it, because it now blocks the whole process while one buyer waits for a "
                "lock; call gevent.monkey.patch_all() first, or run gunicorn without --preload"
            )


def has_transaction(driver: Any) -> bool:
    """Return whether a transaction is open on a driver's connection."""
    if hasattr(driver, "in_transaction"):
        # With autocommit=False (Python 3.12) sqlite3 always has one open, mostly an empty one.
        return bool(driver.in_transaction and getattr(driver, "autocommit", None) is not False)
    return bool(driver.info.transaction_status != _IDLE)


def begin(connection: Connection, *, writes: bool) -> None:
    """Open a transaction in the database, with our time-outs.

    `restore` undoes the changed settings when the connection returns to its pool. Raises
    ConfigurationError if the connection already has other work in a transaction.
    """
    if connection.info.get(INFO_OPEN):
        raise ConfigurationError(
            "SQLStore: the pool lent a connection with another transaction open on it, expected "
            "one that nobody else uses; leave pool_reset_on_return at its default"
        )
    if connection.dialect.name == "sqlite":
        if writes:
            _begin_sqlite(connection)
    else:
        _begin_postgresql(connection)


def _begin_postgresql(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    if driver.autocommit:
        if has_transaction(driver):
            raise ConfigurationError(
                "SQLStore: found an AUTOCOMMIT engine whose 'begin' event opens transactions, "
                "expected only one of the two; pass an engine without that event"
            )
        driver.autocommit = False
        if "isolation_level" not in connection.get_execution_options():
            connection.info[_INFO_RESTORE] = {"autocommit": True}  # else SQLAlchemy restores it
    if INFO_TIME_LIMIT not in connection.info:
        connection.exec_driver_sql(_TRANSACTION_SETTINGS)
        if not has_transaction(driver):
            raise ConfigurationError(
                "SQLStore: found no open transaction after its first statement, expected an "
                "engine that can begin one; set a pooler in statement mode to transaction mode"
            )


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once, because a read lock cannot always be upgraded later."""
    driver: Any = connection.connection.dbapi_connection
    before = {"busy_timeout": 0, "synchronous": 0}
    for pragma in before:
        before[pragma] = driver.execute(f"PRAGMA {pragma}").fetchone()[0]
    if driver.in_transaction:  # an event listener of the shop has begun it just old
        driver.rollback()
    if getattr(driver, "autocommit", -1) != -1:  # Python 3.12: True or False
        before["autocommit"] = driver.autocommit
        driver.rollback()
        driver.autocommit = -1
    connection.info[_INFO_RESTORE] = before
    if before["synchronous"] < 2:  # FULL: an acknowledged commit survives a power cut
        driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA busy_timeout=0")
    time_limit = min(before["busy_timeout"] / 1000, SQLITE_LOCK)
    take_write_lock(connection, time_limit)
    driver.execute(f"PRAGMA busy_timeout={int(time_limit * 1000)}")


def restore(driver: Any, info: dict[Any, Any]) -> None:
    """Restore the settings that a connection had before our transaction."""
    before = info.pop(_INFO_RESTORE, None)
    if before is None or driver is None:
        return
    for pragma in ("busy_timeout", "synchronous"):
        if pragma in before:
            driver.execute(f"PRAGMA {pragma}={before[pragma]}")
    if "autocommit" in before:
        driver.autocommit = before["autocommit"]


def check_before_commit(connection: Connection, *, writes: bool) -> None:
    """Raise StoreError unless a commit would store the whole transaction."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        ended, failed = writes and not driver.in_transaction, False
    else:
        status = driver.info.transaction_status
        ended, failed = status == _IDLE, status == _FAILED
    if ended:
        raise StoreError(
            "found the payment's transaction ended by the hook, expected it open; nothing was "
            "stored. A hook must not commit or roll back details.connection, the store does"
        )
    if failed:
        raise StoreError(
            "a statement of the hook failed and the hook went on, expected it to raise, because "
            "PostgreSQL stores nothing of this transaction; wrap a statement that may fail in "
            "details.connection.begin_nested()"
        )


def prepare_postgresql(driver: Any, info: dict[Any, Any], options: str) -> None:
    """Set the time-outs of one of our new connections, unless it goes through a pooler.

    `options` are those of the address; a time-out in them is kept. Behind a pooler the backend's
    process id has changed since the start. There a setting of the connection would reach other
    clients, so each transaction sets its own.
    """
    driver.autocommit = True
    cursor = driver.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    if cursor.fetchone()[0] == driver.info.backend_pid:
        cursor.execute(_settings("false", options))
        cursor.execute("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)")
        info[INFO_TIME_LIMIT] = float(cursor.fetchone()[0])
    elif hasattr(driver, "prepare_threshold"):
        driver.prepare_threshold = None  # the next transaction may be on another server
    cursor.close()
    driver.autocommit = False


@contextmanager
def long_statements(connection: Connection) -> Iterator[None]:
    """Allow each statement a minute, such as to index all payments in a migration."""
    if connection.dialect.name != "postgresql":
        yield
        return
    time_limit = connection.info.get(INFO_TIME_LIMIT)
    if time_limit:
        connection.info[INFO_TIME_LIMIT] = _MINUTE
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(_MINUTE * 1000)}")
    try:
        yield
    finally:
        if time_limit:
            connection.info[INFO_TIME_LIMIT] = time_limit


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's SQLSTATE of an error, or None."""
    state: str | None = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether the wait for another transaction's lock timed out."""
    return sqlstate(error) in {"55P03", "57014"} or is_busy(error)


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether the transaction may be repeated, because all of it was rolled back.

    That is so after a serialization failure (40001), a deadlock (40P01), SQLite's stale snapshot,
    and a connection that was lost before the COMMIT was sent.
    """
    # Without a statement it was the COMMIT that failed, and that may have been done.
    lost = error.connection_invalidated and error.statement is not None
    stale = getattr(error.orig, "sqlite_errorcode", None) == _STALE
    return lost or stale or sqlstate(error) in {"40001", "40P01"}
