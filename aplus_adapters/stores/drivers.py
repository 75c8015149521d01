"""What differs between the databases' drivers: whether a transaction is open, and ours alone.

SQLAlchemy's `begin()` promises less than it seems: an AUTOCOMMIT engine makes no transaction, a
failed statement that somebody caught turns PostgreSQL's COMMIT into a ROLLBACK without a word. So
each transaction of ours is looked at after its beginning and before its commit.
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

# Seconds. An answer is due within 5: a lock gives up before its statement does, and that before
# the watchdog cuts the connection, so that the error says what was waited for.
LOCK = 2.5
STATEMENT = 3.0
_MINUTE = 60.0
CONNECT = 2  # the least that PostgreSQL's client library takes

INFO_OPEN = "aplus_open"  # a transaction was open when the pool handed the connection out
INFO_TIME_LIMIT = (
    "aplus_time_limit"  # seconds for a statement; its time-outs belong to the connection
)
_INFO_RESTORE = "aplus_restore"  # what the connection was like before our transaction

_DRIVERS = {"sqlite": ("pysqlite",), "postgresql": ("psycopg", "psycopg2")}
_IDLE, _IN_TRANSACTION, _FAILED = 0, 2, 3  # libpq's PGTransactionStatusType
_STALE = 517  # SQLITE_BUSY_SNAPSHOT: waiting cannot help, beginning again does


def _at_most(name: str, milliseconds: int, local: str) -> str:
    """Return SQL that lowers a time-out of PostgreSQL; one that is lower already stays."""
    now = f"current_setting('{name}')"
    lower = f"{now}::interval BETWEEN '1us' AND '{milliseconds}ms'"
    return f"set_config('{name}', CASE WHEN {lower} THEN {now} ELSE '{milliseconds}' END, {local})"


def _durable(local: str) -> str:
    """Return SQL that makes a commit wait for the disk; what is stricter already stays."""
    name = "synchronous_commit"
    now = f"current_setting('{name}')"
    return f"set_config('{name}', CASE {now} WHEN 'off' THEN 'on' ELSE {now} END, {local})"


_TIMEOUTS = {"lock_timeout": int(LOCK * 1000), "statement_timeout": int(STATEMENT * 1000)}


def _settings(local: str, except_for: str = "") -> str:
    timeouts = [_at_most(*one, local) for one in _TIMEOUTS.items() if one[0] not in except_for]
    return "SELECT " + ", ".join([*timeouts, _durable(local)])


_OF_THE_TRANSACTION = _settings("true")


def check_dialect(dialect: Dialect) -> None:
    """Raise ConfigurationError for a database or a driver that the store was not proved on."""
    name, driver = dialect.name, dialect.driver
    if name not in _DRIVERS:
        raise ConfigurationError(
            f"SQLStore: found a database of the kind {name}, expected sqlite or postgresql; its "
            "locks and transactions differ, so keep the payments in one of these two"
        )
    if driver not in _DRIVERS[name]:
        kind = "the awaiting driver" if dialect.is_async else "the driver"
        expected = " or ".join(f"{name}+{one}" for one in _DRIVERS[name])
        raise ConfigurationError(
            f"SQLStore: found {kind} {name}+{driver}, expected {expected}; an application may "
            "use another one beside it for its own tables"
        )


def check_engine(engine: Engine) -> None:
    """Raise ConfigurationError for an engine on which no transaction can be ours alone."""
    check_dialect(engine.dialect)
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise ConfigurationError(
            f"SQLStore: found an engine with a {type(engine.pool).__name__} (an in-memory SQLite "
            "has one), expected a pool that never lends one connection twice, because a payment's "
            "transaction would commit other people's work; use a file, or MemoryStore() in tests"
        )
    refuse_blocking_gevent(engine)


def refuse_blocking_gevent(engine: Engine) -> None:
    """Raise ConfigurationError for a driver that stops every greenlet while one buyer waits.

    Asked at each use: with gunicorn --preload gevent comes when the store is there already.
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
                "after it, because it blocks the whole process now while one buyer waits for a "
                "lock; call gevent.monkey.patch_all() first, or leave gunicorn's --preload out"
            )


def has_transaction(driver: Any) -> bool:
    """Return whether a transaction is open on a driver's connection."""
    if hasattr(driver, "in_transaction"):
        # With autocommit=False (Python 3.12) sqlite3 always has one, most often an empty one.
        return bool(driver.in_transaction and getattr(driver, "autocommit", None) is not False)
    return bool(driver.info.transaction_status != _IDLE)


def begin(connection: Connection, *, writes: bool) -> None:
    """Make what SQLAlchemy has begun a transaction of the database, with our time-outs.

    What has to be changed on a connection of the shop's for it is put back by `restore` when the
    connection returns to its pool. Raises ConfigurationError if work of others is in it.
    """
    if connection.info.get(INFO_OPEN):
        raise ConfigurationError(
            "SQLStore: the pool lent a connection on which another transaction is open, expected "
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
                "SQLStore: found an AUTOCOMMIT engine whose 'begin' event opens transactions by "
                "hand, expected either; give SQLStore an engine without it"
            )
        driver.autocommit = False
        if "isolation_level" not in connection.get_execution_options():
            connection.info[_INFO_RESTORE] = {"autocommit": True}  # otherwise SQLAlchemy does it
    if INFO_TIME_LIMIT not in connection.info:
        connection.exec_driver_sql(_OF_THE_TRANSACTION)
        if not has_transaction(driver):
            raise ConfigurationError(
                "SQLStore: the first statement of a transaction left none open, expected an "
                "engine that can begin one; is a pooler in statement mode in between?"
            )


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a transaction that reads first could not be upgraded later."""
    driver: Any = connection.connection.dbapi_connection
    before = {"busy_timeout": 0, "synchronous": 0}
    for pragma in before:
        before[pragma] = driver.execute(f"PRAGMA {pragma}").fetchone()[0]
    if driver.in_transaction:  # a listener of the shop's has begun it, just now
        driver.rollback()
    if getattr(driver, "autocommit", -1) != -1:  # Python 3.12: True or False
        before["autocommit"] = driver.autocommit
        driver.rollback()
        driver.autocommit = -1
    connection.info[_INFO_RESTORE] = before
    if before["synchronous"] < 2:  # FULL: what is acknowledged survives a power cut
        driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA busy_timeout=0")
    patience = min(before["busy_timeout"] / 1000, SQLITE_LOCK)
    take_write_lock(connection, patience)
    driver.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")


def restore(driver: Any, info: dict[Any, Any]) -> None:
    """Put a connection of the shop's back to what it was before our transaction."""
    before = info.pop(_INFO_RESTORE, None)
    if before is None or driver is None:
        return
    for pragma in ("busy_timeout", "synchronous"):
        if pragma in before:
            driver.execute(f"PRAGMA {pragma}={before[pragma]}")
    if "autocommit" in before:
        driver.autocommit = before["autocommit"]


def check_before_commit(connection: Connection, *, writes: bool) -> None:
    """Raise StoreError unless a commit would make all of the transaction durable."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        ended, failed = writes and not driver.in_transaction, False
    else:
        status = driver.info.transaction_status
        ended, failed = status == _IDLE, status == _FAILED
    if ended:
        raise StoreError(
            "the payment's transaction was ended inside it, so that nothing of it may count; a "
            "hook must not commit or roll back details.connection, the store does"
        )
    if failed:
        raise StoreError(
            "a statement failed inside the payment's transaction and the hook went on, so that "
            "PostgreSQL would keep nothing of it; wrap what may fail in "
            "details.connection.begin_nested()"
        )


def prepare_postgresql(driver: Any, info: dict[Any, Any], options: str) -> None:
    """Give a new connection of our own its time-outs, unless a pooler is in between.

    `options` are those of the address: a time-out that it names is left alone. Behind a pooler
    (the server process is not the one that answered the start) what is set for a connection would
    be set for somebody else's: there each transaction sets its own.
    """
    driver.autocommit = True
    cursor = driver.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    if cursor.fetchone()[0] == driver.info.backend_pid:
        cursor.execute(_settings("false", options))
        cursor.execute("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)")
        info[INFO_TIME_LIMIT] = float(cursor.fetchone()[0])
    elif hasattr(driver, "prepare_threshold"):
        driver.prepare_threshold = None  # the next transaction may be another server's
    cursor.close()
    driver.autocommit = False


@contextmanager
def long_statements(connection: Connection) -> Iterator[None]:
    """Allow statements a minute: what makes an index of all payments needs more than a buyer's."""
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
    """Return PostgreSQL's five characters for what went wrong."""
    state: str | None = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether somebody else's transaction held what was needed for too long."""
    return sqlstate(error) in {"55P03", "57014"} or is_busy(error)


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether the whole transaction may be done again, because nothing of it was kept.

    That is so after a serialization failure (40001), a deadlock (40P01), SQLite's stale snapshot,
    and a connection that was lost before the commit was asked for.
    """
    lost = error.connection_invalidated and error.statement is not None
    stale = getattr(error.orig, "sqlite_errorcode", None) == _STALE
    return lost or stale or sqlstate(error) in {"40001", "40P01"}
