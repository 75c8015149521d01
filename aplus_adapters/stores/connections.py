"""Engines: opened from an address with time-outs everywhere, and kept from a forked parent.

Nothing is connected here. A connection belongs to the process that made it: two that talk over
one socket read each other's answers, so whatever was inherited by a fork is put aside unused, in
engines of the shop's too.
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

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.drivers import (
    CONNECT,
    INFO_OPEN,
    check_dialect,
    check_engine,
    has_transaction,
    prepare_postgresql,
    restore,
)
from aplus_adapters.stores.sqlite_lock import SQLITE_LOCK
from aplus_adapters.stores.watchdog import Watchdog

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["keep_to_this_process", "open_engine"]

_POOL = 3  # seconds for a connection of the pool to become free
_PING = 1.0  # seconds for a new connection's settings
_PROCESS = "aplus_process"  # who made the connection

_LOADED_BY, _LOADED_AT = os.getpid(), time.time()
_HOMES: weakref.WeakKeyDictionary[Engine, int] = weakref.WeakKeyDictionary()
_LOCKS: dict[int, Lock] = {}
# What a parent made is never closed either: closing tells the server, or SQLite's lock files.
_INHERITED: list[object] = []


def open_engine(address: str) -> Engine:
    """Return an engine for an address; ConfigurationError if it cannot be used."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # its text may hold the password
        raise ConfigurationError(
            "SQLStore: cannot use the database address: found text that is none, expected one "
            "such as sqlite:///payments.db or postgresql+psycopg://user@host/shop"
        ) from None
    try:
        check_dialect(_dialect_by_name(url))
        engine = create_engine(
            url,
            pool_timeout=_POOL,
            # Threads that wait for SQLite's write lock hold a connection: all others need one too.
            **({"max_overflow": -1} if url.get_backend_name() == "sqlite" else {}),
            connect_args=_connect_args(url),
            hide_parameters=True,
        )
        check_engine(engine)
    except (ArgumentError, ImportError, ValueError) as error:
        # What the address holds, such as a password, is shown by no error but of a missing module.
        shown = isinstance(error, ImportError | NoSuchModuleError)
        reason = f": {error}"[:200] if shown else ""
        raise ConfigurationError(
            f"SQLStore: cannot use the database address ({type(error).__name__}{reason}), expected "
            "one such as sqlite:///payments.db or postgresql+psycopg://user@host/shop with its "
            "driver installed"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        watchdog = Watchdog()
        prepare = partial(_prepare_postgresql, watchdog, str(url.query.get("options", "")))
        event.listen(engine, "connect", prepare)
        keep_to_this_process(engine)  # before a connection is asked for a sign of life
        watchdog.guard(engine)
    keep_to_this_process(engine)
    return engine


def _dialect_by_name(url: URL) -> Any:
    """Return the dialect, or its name alone where it is refused whether installed or not."""
    name = url.get_backend_name()
    if name == "sqlite":
        database, mode = url.database or ":memory:", url.query.get("mode")
        if ":memory:" in database or mode == "memory":
            raise ConfigurationError(
                "SQLStore: found an in-memory SQLite, expected a file such as "
                "sqlite:///payments.db; use MemoryStore() to keep nothing"
            )
    elif name in {"mysql", "mariadb", "oracle", "mssql"}:
        return _Named(name)
    return url.get_dialect()


class _Named:
    """A dialect of which only the name is known."""

    driver, is_async = "", False

    def __init__(self, name: str) -> None:
        self.name = name


def _connect_args(url: URL) -> dict[str, Any]:
    """Return our time-outs for connecting; what the address says itself is left alone."""
    ours = {"timeout": SQLITE_LOCK}
    if url.get_backend_name() != "sqlite":
        ours = {"connect_timeout": CONNECT}
    return {name: value for name, value in ours.items() if name not in url.query}


def _prepare_sqlite(driver: Any, _record: Any) -> None:
    # Readers do not wait for writers; a commit survives the process's death and the machine's.
    deadline = time.monotonic() + SQLITE_LOCK
    while True:
        try:
            driver.execute("PRAGMA journal_mode=WAL")
        except driver.OperationalError:  # another is switching, for which SQLite does not wait
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA foreign_keys=ON")


def _prepare_postgresql(watchdog: Watchdog, options: str, driver: Any, record: Any) -> None:
    watchdog.watch(driver, _PING)
    try:
        prepare_postgresql(driver, record.info, options)
    finally:
        watchdog.leave(driver)


def keep_to_this_process(engine: Engine) -> None:
    """Never let a connection of an engine be used by two processes; call it before each use.

    In a new process the engine gets a new pool, whose locks no thread of the parent holds.
    """
    here = os.getpid()
    if _HOMES.get(engine) == here:
        return
    # By process: what was locked by a thread of the parent at a fork stays locked for ever.
    with _LOCKS.setdefault(here, Lock()):
        home = _HOMES.get(engine)
        if home is None:
            _listen(engine)
        elif home != here:
            _renew(engine)
        _HOMES[engine] = here


def _listen(engine: Engine) -> None:
    event.listen(engine, "connect", _connected)
    event.listen(engine, "checkout", _checked_out)
    event.listen(engine, "checkin", _checked_in)
    if hasattr(os, "register_at_fork"):  # which uWSGI does not run
        os.register_at_fork(after_in_child=partial(_forked, weakref.ref(engine)))


def _forked(reference: weakref.ref[Engine]) -> None:
    engine = reference()
    if engine is not None:
        keep_to_this_process(engine)


def _renew(engine: Engine) -> None:
    _INHERITED.append(engine.pool)
    engine.dispose(close=False)


def _connected(_driver: Any, record: Any) -> None:
    record.info[_PROCESS] = os.getpid()


def _checked_out(driver: Any, record: Any, proxy: Any) -> None:
    here = os.getpid()
    maker = record.info.get(_PROCESS)
    if maker is None and here == _LOADED_BY and record.starttime >= _LOADED_AT:
        maker = record.info[_PROCESS] = here  # made before this engine was given to a store
    if maker != here:
        _INHERITED.append(driver)
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("the connection was made by another process, before a fork")
    record.info[INFO_OPEN] = has_transaction(driver)


def _checked_in(driver: Any, record: Any) -> None:
    restore(driver, record.info)
