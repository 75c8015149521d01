"""Transactions and time-outs on PostgreSQL.

After a failed statement whose error was caught, PostgreSQL turns COMMIT into ROLLBACK without an
error. So the state of the connection is asked before each commit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.connection_info import INFO_RESTED, INFO_RESTORE, INFO_TIME_LIMIT
from aplus_adapters.stores.waiting import native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.exc import DBAPIError

__all__ = [
    "ASYNC_DRIVERS",
    "CONNECT",
    "DRIVERS",
    "LOCK",
    "STATEMENT",
    "before_hook",
    "begin",
    "begins_quickly",
    "check_server",
    "gave_up_waiting",
    "has_ended",
    "has_failed",
    "has_transaction",
    "lacks_permission",
    "long_statements",
    "may_be_repeated",
    "ping",
    "prepare",
    "restore",
]

DRIVERS: tuple[str, ...] = ("psycopg", "psycopg2")
ASYNC_DRIVERS: tuple[str, ...] = ("psycopg", "asyncpg")

# Seconds. An answer is due within 5. A lock times out before its statement, and the statement
# before the watchdog cuts the connection, so that the error says what was waited for.
LOCK = 2.5
STATEMENT = 3.0
_MINUTE = 60.0
CONNECT = 2  # the least that libpq accepts

_IDLE, _FAILED = 0, 3  # libpq's PGTransactionStatusType
_ASYNCPG = "is_in_transaction"  # what asyncpg's connection has instead of libpq's `info`


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


_ENCODINGS = {
    "server_encoding": "use a database that was made with ENCODING 'UTF8'",
    "client_encoding": "set client_encoding=utf8 where you connect",
}

_TRANSACTION_SETTINGS = _settings("true")


def has_transaction(driver: Any) -> bool:
    """Return whether a transaction is open on a driver's connection."""
    own = native(driver)
    if hasattr(own, _ASYNCPG):
        return bool(own.is_in_transaction())
    return bool(own.info.transaction_status != _IDLE)


def before_hook(connection: Connection) -> None:
    """Do nothing: the driver shows whether the transaction is open."""
    _ = connection


def has_ended(connection: Connection, *, hooked: bool) -> bool:
    """Return whether our transaction is over before its commit."""
    _ = hooked  # the driver shows it anyway
    return not has_transaction(connection.connection.dbapi_connection)


def has_failed(driver: Any) -> bool:
    """Return whether a COMMIT would store nothing, because a statement has failed."""
    own = native(driver)
    if not hasattr(own, _ASYNCPG):
        return bool(own.info.transaction_status == _FAILED)
    try:  # asyncpg does not show it, and a COMMIT would be answered as if it had stored all
        driver.cursor().execute("SELECT 1")
    except driver.dbapi.Error:
        return True
    return False


def begins_quickly(dialect: Dialect) -> bool:
    """Return whether `begin` can send BEGIN by itself: it proves that the server answers."""
    return dialect.driver == "psycopg"


def begin(connection: Connection, *, writes: bool, alone: bool) -> bool:
    """Open a transaction in the database, with our time-outs; return whether one is open.

    On our own connections, which have their time-outs already, a statement that is alone commits by
    itself: one message in place of three.
    """
    _ = writes  # readers and writers begin alike
    driver: Any = connection.connection.dbapi_connection
    if INFO_TIME_LIMIT in connection.info:
        is_checked = not alone and INFO_RESTED in connection.info
        if alone or is_checked:  # the driver sends no BEGIN of its own then
            driver.autocommit = True
            connection.info[INFO_RESTORE] = {"autocommit": False}
        if is_checked:
            connection.exec_driver_sql("BEGIN")
        return not alone
    if driver.autocommit:
        if has_transaction(driver):
            raise ConfigurationError(
                "store: found an AUTOCOMMIT engine whose 'begin' event opens transactions, "
                "expected only one of the two; pass an engine without that event"
            )
        driver.autocommit = False
        if "isolation_level" not in connection.get_execution_options():
            connection.info[INFO_RESTORE] = {"autocommit": True}  # else SQLAlchemy restores it
    connection.exec_driver_sql(_TRANSACTION_SETTINGS)
    if not has_transaction(driver):
        raise ConfigurationError(
            "store: found no open transaction after its first statement, expected an "
            "engine that can begin one; set a pooler in statement mode to transaction mode"
        )
    return True


def restore(driver: Any, before: dict[str, Any]) -> None:
    """Restore the settings that a connection had before our transaction."""
    if "autocommit" in before:
        driver.autocommit = before["autocommit"]


def check_server(connection: Connection) -> None:
    """Raise ConfigurationError unless the database keeps every character that there is.

    Commits are no matter of the server: each transaction makes its own durable.
    """
    for name, remedy in _ENCODINGS.items():
        query = f"SELECT current_setting('{name}')"
        found = str(connection.exec_driver_sql(query).scalar_one())
        if found != "UTF8":
            raise ConfigurationError(
                f"store: found {name} {found}, expected UTF8, because a payment whose message "
                f"has a character that cannot be stored would never be acknowledged; {remedy}"
            )


def ping(driver: Any) -> None:
    """Raise the driver's error if the server does not answer."""
    driver.autocommit = True  # the check leaves no transaction open
    cursor = driver.cursor()
    cursor.execute("SELECT 1")
    cursor.close()
    driver.autocommit = False


def prepare(driver: Any, info: dict[Any, Any], options: str) -> None:
    """Set the time-outs of one of our new connections, unless it goes through a pooler.

    `options` are those of the address; a time-out in them is kept. Behind a pooler the backend's
    process id has changed since the start. There a setting of the connection would reach other
    clients, so each transaction sets its own.
    """
    own = native(driver)
    is_asyncpg = hasattr(own, _ASYNCPG)
    pid = own.get_server_pid() if is_asyncpg else own.info.backend_pid
    driver.autocommit = True
    cursor = driver.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    if cursor.fetchone()[0] == pid:
        cursor.execute(_settings("false", options))
        cursor.execute("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)")
        info[INFO_TIME_LIMIT] = float(cursor.fetchone()[0])
    elif is_asyncpg:
        raise ConfigurationError(
            "AsyncSQLStore: found asyncpg behind a pooler in transaction mode, where a statement "
            "is prepared on one server and executed on another; use postgresql+psycopg"
        )
    elif hasattr(own, "prepare_threshold"):
        own.prepare_threshold = None  # the next transaction may be on another server
    cursor.close()
    driver.autocommit = False


@contextmanager
def long_statements(connection: Connection) -> Iterator[None]:
    """Allow each statement a minute, such as to index all payments in a migration."""
    time_limit = connection.info.get(INFO_TIME_LIMIT)
    if time_limit:
        connection.info[INFO_TIME_LIMIT] = _MINUTE
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(_MINUTE * 1000)}")
    try:
        yield
    finally:
        if time_limit:
            connection.info[INFO_TIME_LIMIT] = time_limit


def _sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's SQLSTATE of an error, or None."""
    state: str | None = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether the wait for another transaction's lock timed out."""
    return _sqlstate(error) in {"55P03", "57014"}


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether it was a serialization failure (40001) or a deadlock (40P01)."""
    return _sqlstate(error) in {"40001", "40P01"}


def lacks_permission(error: DBAPIError) -> bool:
    """Return whether the database's role may not do this."""
    return _sqlstate(error) == "42501"
