"""Open engines from an address, and keep every connection in the process that made it.

Nothing connects at import. Two processes on one socket would read each other's answers. So
connections inherited by a fork are set aside unused, also those of the shop's own engines.
"""

from __future__ import annotations

import os
import time
import weakref
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores import mysql, postgresql, sqlite
from aplus_adapters.stores.connection_info import INFO_OPEN, INFO_RESTORE
from aplus_adapters.stores.drivers import check_dialect, check_engine, kind_of
from aplus_adapters.stores.loop_watchdog import LoopWatchdog
from aplus_adapters.stores.waiting import pause
from aplus_adapters.stores.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect
    from sqlalchemy.engine import URL

__all__ = ["keep_to_this_process", "open_engine"]

_POOL_TIMEOUT = 3  # seconds for a connection of the pool to become free
_SETTINGS_TIMEOUT = 2.0  # seconds for a new connection's settings
_PROCESS = "aplus_process"  # id of the process that made the connection

_EXAMPLES = {
    False: ("SQLStore", "sqlite:///payments.db or postgresql+psycopg://user@host/shop"),
    True: (
        "AsyncSQLStore",
        "sqlite+aiosqlite:///payments.db or postgresql+asyncpg://user@host/shop",
    ),
}

_IMPORT_PID, _IMPORT_TIME = os.getpid(), time.time()
_OWNERS: weakref.WeakKeyDictionary[Engine, int] = weakref.WeakKeyDictionary()
_LOCKS: dict[int, Lock] = {}
# Kept, so that they are not closed: closing would end the parent's connection or SQLite lock.
_INHERITED: list[object] = []


def open_engine(address: str, *, is_async: bool) -> Engine:
    """Return an engine for an address; raise ConfigurationError if it cannot be used.

    With `is_async` it is the `sync_engine` of an AsyncEngine, which works in its greenlets.
    """
    store, example = _EXAMPLES[is_async]
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # its text may hold the password
        raise ConfigurationError(
            f"{store}: cannot use the database address: found text that is not one, expected one "
            f"such as {example}"
        ) from None
    try:
        check_dialect(_dialect_by_name(url, is_async=is_async), is_async=is_async)
        as_made: Any = (_create_async_engine() if is_async else create_engine)(
            url,
            pool_timeout=_POOL_TIMEOUT,
            **_sqlite_pool(is_async=is_async) if url.get_backend_name() == "sqlite" else {},
            connect_args=_connect_args(url),
            hide_parameters=True,
        )
        engine: Engine = as_made.sync_engine if is_async else as_made
        check_engine(engine)
    except (ArgumentError, ImportError, ValueError) as error:
        # Only the error about a missing module is sure not to hold the address and its password.
        shown = isinstance(error, ImportError | NoSuchModuleError)
        reason = f": {error}"[:200] if shown else ""
        raise ConfigurationError(
            f"{store}: cannot use the database address ({type(error).__name__}{reason}), expected "
            f"one such as {example} with its driver installed"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_prepare_sqlite, engine.dialect))
    else:
        watchdog = LoopWatchdog() if is_async else Watchdog()
        ping, prepare = mysql.ping, mysql.prepare
        if engine.dialect.name == "postgresql":
            ping = postgresql.ping
            prepare = partial(postgresql.prepare, options=str(url.query.get("options", "")))
        else:
            event.listen(engine, "do_connect", partial(mysql.connect, watchdog))
        event.listen(engine, "connect", partial(_prepare, watchdog, prepare))
        keep_to_this_process(engine)  # its check comes before the watchdog's
        watchdog.guard(engine, ping)
    keep_to_this_process(engine)
    return engine


def _dialect_by_name(url: URL, *, is_async: bool) -> Any:
    """Return the dialect, or only its name if it is refused anyway, installed or not."""
    name = url.get_backend_name()
    if name == "sqlite":
        database, mode = url.database or ":memory:", url.query.get("mode")
        if ":memory:" in database or mode == "memory":
            raise ConfigurationError(
                "store: found an in-memory SQLite, expected a file such as "
                "sqlite:///payments.db; use MemoryStore() to keep nothing"
            )
    elif name in {"oracle", "mssql"}:
        return _Named(name)
    dialect = url.get_dialect()
    # One driver's name may mean a blocking and an awaiting one.
    return dialect.get_async_dialect_cls(url) if is_async else dialect


class _Named:
    """A dialect whose driver was not loaded; only its name is known."""

    driver, is_async = "", False

    def __init__(self, name: str) -> None:
        self.name = name


def _create_async_engine() -> Callable[..., Any]:
    """Return SQLAlchemy's function, which cannot be imported without greenlet."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # an extra

    return create_async_engine


def _sqlite_pool(*, is_async: bool) -> dict[str, Any]:
    """Return the pool's options: those who wait for the write lock hold a connection each."""
    pool = AsyncAdaptedQueuePool if is_async else QueuePool  # older SQLAlchemy took others
    return {"poolclass": pool, "max_overflow": -1}


def _connect_args(url: URL) -> dict[str, Any]:
    """Return our time-outs for connecting, without those that the address sets itself.

    The encoding is always UTF-8: the environment or a file of options may ask for another one.
    """
    timeouts: dict[str, float] = {"timeout": sqlite.LOCK}
    encoding: dict[str, str] = {}
    if url.get_driver_name() == "asyncpg":  # it knows no other encoding
        timeouts = {"timeout": postgresql.CONNECT}
    elif url.get_backend_name() == "postgresql":
        timeouts = {"connect_timeout": postgresql.CONNECT}
        encoding = {"client_encoding": "utf8"}
    elif url.get_backend_name() != "sqlite":
        timeouts = {"connect_timeout": mysql.CONNECT}
        encoding = {"charset": "utf8mb4"}
        if url.get_driver_name() == "pymysql":
            timeouts |= {"read_timeout": mysql.READ, "write_timeout": mysql.READ}
    missing = {name: value for name, value in timeouts.items() if name not in url.query}
    return {**missing, **encoding}


def _prepare_sqlite(dialect: Dialect, driver: Any, _record: Any) -> None:
    # WAL: readers do not wait for writers. FULL: a commit survives a crash of the machine.
    deadline = time.monotonic() + sqlite.LOCK
    while True:
        try:
            driver.execute("PRAGMA journal_mode=WAL")
        except (
            dialect.loaded_dbapi.OperationalError
        ):  # another process is switching, and SQLite does not wait
            if time.monotonic() > deadline:
                raise
            pause(0.01, is_async=dialect.is_async)
        else:
            break
    driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA foreign_keys=ON")


def _prepare(
    watchdog: Watchdog, prepare: Callable[[Any, dict[Any, Any]], None], driver: Any, record: Any
) -> None:
    watchdog.watch(driver, _SETTINGS_TIMEOUT)
    try:
        prepare(driver, record.info)
    finally:
        watchdog.leave(driver)


def keep_to_this_process(engine: Engine) -> None:
    """Keep an engine from sharing connections with another process; call it before each use.

    In a new process the engine gets a new pool, whose locks no thread of the parent holds.
    """
    pid = os.getpid()
    if _OWNERS.get(engine) == pid:
        return
    # By process id: a lock held by the parent at the fork would stay locked for ever.
    with _LOCKS.setdefault(pid, Lock()):
        owner = _OWNERS.get(engine)
        if owner is None:
            _listen(engine)
        elif owner != pid:
            _replace_pool(engine)
        _OWNERS[engine] = pid


def _listen(engine: Engine) -> None:
    kind = kind_of(engine.dialect)
    event.listen(engine, "connect", _connected)
    event.listen(engine, "checkout", partial(_checked_out, kind.has_transaction))
    event.listen(engine, "checkin", partial(_checked_in, kind.restore))
    if hasattr(os, "register_at_fork"):  # uWSGI does not call it
        os.register_at_fork(after_in_child=partial(_forked, weakref.ref(engine)))


def _forked(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        keep_to_this_process(engine)


def _replace_pool(engine: Engine) -> None:
    _INHERITED.append(engine.pool)
    engine.dispose(close=False)


def _connected(_driver: Any, record: Any) -> None:
    record.info[_PROCESS] = os.getpid()


def _checked_out(
    has_transaction: Callable[[Any], bool], driver: Any, record: Any, proxy: Any
) -> None:
    pid = os.getpid()
    owner = record.info.get(_PROCESS)
    if owner is None and pid == _IMPORT_PID and record.starttime >= _IMPORT_TIME:
        owner = record.info[_PROCESS] = pid  # made before this engine was given to a store
    if owner != pid:
        _INHERITED.append(driver)
        record.dbapi_connection = proxy.dbapi_connection = None
        # On this error the pool opens a new connection in its place.
        raise DisconnectionError("the connection was made by another process, before a fork")
    record.info[INFO_OPEN] = has_transaction(driver)


def _checked_in(restore: Callable[[Any, dict[str, Any]], None], driver: Any, record: Any) -> None:
    """Restore the settings that the connection had before our transaction."""
    before = record.info.pop(INFO_RESTORE, None)
    if before is not None and driver is not None:
        try:
            restore(driver, before)
        except Exception as error:  # a lost connection, which nobody shall get from the pool
            record.invalidate(error)
