"""Transactions and time-outs on MySQL and MariaDB.

A deadlock rolls back the whole transaction, and DDL commits it, both without an end that the driver
shows. So a savepoint before the shop's hook tells whether the transaction is still the same one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.connection_info import INFO_RESTORE, INFO_TIME_LIMIT
from aplus_adapters.stores.waiting import native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Dialect, Table

    from aplus_adapters.stores.watchdog import Watchdog

__all__ = [
    "ASYNC_DRIVERS",
    "CONNECT",
    "DRIVERS",
    "READ",
    "before_hook",
    "begin",
    "begins_quickly",
    "check_server",
    "connect",
    "gave_up_waiting",
    "has_ended",
    "has_failed",
    "has_transaction",
    "inexact",
    "lacks_permission",
    "long_statements",
    "may_be_repeated",
    "ping",
    "prepare",
    "restore",
]

log = logging.getLogger("aplus_adapters")

DRIVERS: tuple[str, ...] = ("pymysql",)
# Not aiomysql: with PyMySQL 1.2.3 and later it cannot send bytes (aio-libs/aiomysql#1080).
ASYNC_DRIVERS: tuple[str, ...] = ("asyncmy",)

# Seconds. An answer is due within 5. MySQL counts the wait for a lock in whole seconds.
CONNECT = 2  # to reach the server
_GREET = 2.5  # to reach it and be admitted, which takes several messages
_LOCK = 2
_STATEMENT = 3
_MINUTE = 60
READ = _MINUTE + 5  # for the driver itself, longer than any statement; the watchdog cuts earlier

_IN_TRANSACTION = 0x0001  # of the server's status
_FOUND_ROWS = 0x0002  # of the client's flags
_SAVEPOINT = "aplus_hook"

_NO_SUCH_SAVEPOINT = 1305
_IN_PROGRESS = 1568  # the isolation level of an open transaction cannot be changed
_WAITED = {1205, 1969, 3024}  # for a lock; max_statement_time; max_execution_time
# A deadlock; a row changed since the snapshot (MariaDB 11.6); a table changed since it.
_ROLLED_BACK = {1213, 1020, 1412}
_DENIED = {1044, 1142, 1143}  # for the database, a table, a column


def _limit(is_mariadb: bool) -> str:
    """Return the name of the variable that limits a statement; MySQL's is for SELECT only."""
    return "max_statement_time" if is_mariadb else "max_execution_time"


def _units(seconds: int, is_mariadb: bool) -> int:
    return seconds if is_mariadb else seconds * 1000


def _values(is_mariadb: bool) -> dict[str, str]:
    """Return our settings as expressions: lower time-outs are kept, other modes are kept."""
    limit, most = _limit(is_mariadb), _units(_STATEMENT, is_mariadb)
    return {
        "innodb_lock_wait_timeout": f"LEAST(@@innodb_lock_wait_timeout, {_LOCK})",
        "lock_wait_timeout": f"LEAST(@@lock_wait_timeout, {_LOCK})",
        limit: f"IF(@@{limit} > 0, LEAST(@@{limit}, {most}), {most})",  # 0 is no limit
        # Without it a value that is too long would be cut, with nothing but a warning.
        "sql_mode": "CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_TRANS_TABLES')",
        "autocommit": "0",
    }


def _set(values: dict[str, str], isolation: str = "") -> str:
    changes = [f"@@{name} = {value}" for name, value in values.items()]
    return "SET " + ", ".join([*changes, *([isolation] if isolation else [])])


def _isolation(is_mariadb: bool, scope: str = "") -> str:
    """Return the setting of READ COMMITTED; SERIALIZABLE, which reads under locks, is kept.

    In REPEATABLE READ a row that is read after its lock may be older than the lock.
    """
    name = "tx_isolation" if is_mariadb else "transaction_isolation"
    strict = f"IF(@@{name} = 'SERIALIZABLE', 'SERIALIZABLE', 'READ-COMMITTED')"
    return f"@@{scope}{name} = {strict}"  # without a scope it is for the next transaction only


def has_transaction(driver: Any) -> bool:
    """Return whether a transaction is open on a driver's connection, as far as the driver knows.

    The drivers see it after a statement that writes, some of them not after one that reads.
    """
    return bool(native(driver).server_status & _IN_TRANSACTION)


def before_hook(connection: Connection) -> None:
    """Set the savepoint that ends with the transaction."""
    connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")


def has_ended(connection: Connection, *, hooked: bool) -> bool:
    """Return whether the hook ended our transaction, or a deadlock that the hook has caught."""
    if not hooked:
        return False
    try:
        connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    except DBAPIError as error:
        if _code(error) != _NO_SUCH_SAVEPOINT:
            raise
        return True
    return False


def has_failed(driver: Any) -> bool:
    """Return False: a failed statement does not undo the others."""
    _ = driver
    return False


def begins_quickly(dialect: Dialect) -> bool:
    """Return False: the first statement opens a transaction, and may wait for a lock."""
    _ = dialect
    return False


def begin(connection: Connection, *, writes: bool, alone: bool) -> bool:
    """Prepare a transaction, which the first statement opens: time-outs, strictness, isolation.

    `prepare` has done so for our own connections. Others keep the old settings in variables of the
    session. Raises ConfigurationError if the shop has begun a transaction that reads old rows.
    """
    _ = writes, alone  # all begin alike
    if INFO_TIME_LIMIT in connection.info:
        return True
    driver: Any = connection.connection.dbapi_connection
    if not getattr(native(driver), "client_flag", _FOUND_ROWS) & _FOUND_ROWS:
        raise ConfigurationError(
            "store: found connections that count only the rows which an UPDATE has changed, "
            "expected CLIENT.FOUND_ROWS; set client_flag=CLIENT.FOUND_ROWS where you connect"
        )
    is_mariadb = _is_mariadb(driver)
    keep = [f"@aplus_{name} = @@{name}" for name in _values(is_mariadb)]
    change = _set(_values(is_mariadb)).replace("SET ", f"SET {', '.join(keep)}, ", 1)
    try:
        connection.exec_driver_sql(f"{change}, {_isolation(is_mariadb)}")
    except DBAPIError as error:
        if _code(error) != _IN_PROGRESS:
            raise
        _check_isolation(connection, is_mariadb)
        connection.exec_driver_sql(change)
    names = [*_values(is_mariadb)]
    if "isolation_level" in connection.get_execution_options():
        names.remove("autocommit")  # SQLAlchemy restores it
    connection.info[INFO_RESTORE] = {"names": names}
    return True


def _check_isolation(connection: Connection, is_mariadb: bool) -> None:
    name = "tx_isolation" if is_mariadb else "transaction_isolation"
    level = str(connection.exec_driver_sql(f"SELECT @@{name}").scalar_one()).replace("-", " ")
    if level not in {"READ COMMITTED", "SERIALIZABLE"}:
        raise ConfigurationError(
            f"store: found a transaction in {level} that an event listener of the shop has "
            "begun, expected READ COMMITTED, because a payment's row could be read as it was "
            "before it was locked; pass an engine with isolation_level='READ COMMITTED'"
        )


def restore(driver: Any, before: dict[str, Any]) -> None:
    """Restore the settings that a connection had before our transaction."""
    values = {name: f"@aplus_{name}" for name in before["names"]}
    _execute(driver, _set(values))


def connect(
    watchdog: Watchdog, dialect: Dialect, _record: Any, arguments: Any, options: dict[str, Any]
) -> Any:
    """Return a new connection, or None for one that awaits, whose time is limited in `options`.

    The drivers limit only the time to reach the server, but one that is frozen is reached and says
    nothing.
    """
    module: Any = dialect.loaded_dbapi
    if dialect.is_async:
        open_one = import_module(dialect.driver).connect

        async def within_limit(*arguments: Any, **options: Any) -> Any:
            try:
                return await asyncio.wait_for(open_one(*arguments, **options), _GREET)
            except TimeoutError:
                raise module.OperationalError(2013, "no answer to the connection") from None

        options["async_creator_fn"] = within_limit
        return None
    driver = module.connect(*arguments, **options, defer_connect=True)
    watchdog.watch(driver, _GREET)
    try:
        driver.connect()
    finally:
        watchdog.leave(driver)
    return driver


def ping(driver: Any) -> None:
    """Raise the driver's error if the server does not answer."""
    driver.ping(False)  # noqa: FBT003  # no new connection in its place; by position in each driver


def prepare(driver: Any, info: dict[Any, Any]) -> None:
    """Set the time-outs, strictness and isolation of one of our new connections."""
    is_mariadb = _is_mariadb(driver)
    _execute(driver, _set(_values(is_mariadb), _isolation(is_mariadb, "SESSION.")))
    info[INFO_TIME_LIMIT] = float(_STATEMENT)


def check_server(connection: Connection) -> None:
    """Log a warning if a commit may be lost in a power cut; only the server can change that.

    Raises ConfigurationError if the server writes a log that READ COMMITTED cannot be written to,
    or if the connection does not carry every character that there is.
    """
    for name in ("character_set_client", "character_set_connection", "character_set_results"):
        found = connection.exec_driver_sql(f"SELECT @@{name}").scalar_one()
        if found != "utf8mb4":
            raise ConfigurationError(
                f"store: found {name} {found}, expected utf8mb4, because a payment whose "
                "message has a character that cannot be stored would never be acknowledged; set "
                "charset=utf8mb4 where you connect (Django before 5.2: in the OPTIONS of DATABASES)"
            )
    query = "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@binlog_format"
    flush, has_log, form = connection.exec_driver_sql(query).one()
    if has_log and str(form).upper() == "STATEMENT":
        raise ConfigurationError(
            "store: found a server with binlog_format=STATEMENT, expected MIXED or ROW, because "
            "InnoDB refuses to write in READ COMMITTED with it"
        )
    if flush != 1:
        log.warning(
            "found a database server with innodb_flush_log_at_trx_commit=%s, expected 1: payments "
            "that were acknowledged may be lost in a power cut; set it to 1 on the server",
            flush,
            extra={"event": "flush_not_durable"},
        )


@contextmanager
def long_statements(connection: Connection) -> Iterator[None]:
    """Allow each statement a minute, such as to index all payments in a migration.

    The wait for a table is short, because buyers of older workers wait behind it.
    """
    is_mariadb = _is_mariadb(connection.connection.dbapi_connection)
    name = _limit(is_mariadb)
    time_limit = connection.info.get(INFO_TIME_LIMIT)
    if time_limit:
        connection.info[INFO_TIME_LIMIT] = float(_MINUTE)
    connection.exec_driver_sql(
        f"SET @aplus_long = @@{name}, @@{name} = {_units(_MINUTE, is_mariadb)}, "
        "@aplus_wait = @@lock_wait_timeout, @@lock_wait_timeout = 1"
    )
    try:
        yield
    finally:
        if time_limit:
            connection.info[INFO_TIME_LIMIT] = time_limit
        if not connection.invalidated:
            connection.exec_driver_sql(
                f"SET @@{name} = @aplus_long, @@lock_wait_timeout = @aplus_wait"
            )


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether the wait for another transaction's lock timed out."""
    return _code(error) in _WAITED


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether the whole transaction was rolled back, as after a deadlock."""
    return _code(error) in _ROLLED_BACK


def lacks_permission(error: DBAPIError) -> bool:
    """Return whether the database's user may not do this."""
    return _code(error) in _DENIED


def _code(error: DBAPIError) -> int | None:
    """Return the number of a server's or driver's error, None if it has none."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _is_mariadb(driver: Any) -> bool:
    return "MariaDB" in native(driver).get_server_info()


def _execute(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


_EXACTNESS = text(
    "SELECT column_name AS name, collation_name AS collation, datetime_precision AS fsp "
    "FROM information_schema.columns "
    "WHERE table_schema = coalesce(:schema, database()) AND table_name = :table"
)
_EXACTNESS_NAMES = {"collation": "collation", "fsp": "fractional seconds of"}


def inexact(connection: Connection, table: Table, schema: str | None) -> Iterator[str]:
    """Yield what keeps columns of MySQL from keeping and comparing values exactly.

    A shop's own migration makes them with the database's collation, which takes the orders "a-1"
    and "A-1" for the same one, and with times that are rounded to seconds.
    """
    rows = connection.execute(_EXACTNESS, {"schema": schema, "table": table.name}).mappings()
    for row in rows:
        column = table.columns.get(row["name"])
        if column is None:
            continue
        kind: Any = column.type.dialect_impl(connection.dialect)
        kind = getattr(kind, "impl_instance", kind)
        for key, name in _EXACTNESS_NAMES.items():
            value = getattr(kind, key, None)
            if value not in (None, row[key]):
                yield f"{name} {value} in column {table.name}.{column.name}"
