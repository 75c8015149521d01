"""Transactions on SQLite, and its one write lock, which is waited for in turn.

SQLite keeps no queue: whoever asks at the right moment is next, and somebody may never be. So the
threads of a store stand in a queue, of which only the first asks SQLite. Among processes and tasks,
those that have waited longer ask more often.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aplus_adapters.stores.connection_info import INFO_RESTORE
from aplus_adapters.stores.waiting import pause, turn_of_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import Pool

__all__ = [
    "ASYNC_DRIVERS",
    "DRIVERS",
    "LOCK",
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
    "restore",
]

DRIVERS: tuple[str, ...] = ("pysqlite",)
ASYNC_DRIVERS: tuple[str, ...] = ("aiosqlite",)

LOCK = 3.5  # seconds; longer than for a row of PostgreSQL, because all writers share it
_LONGEST_PAUSE, _SHORTEST_PAUSE = 0.02, 0.0005  # seconds between two requests
_BUSY = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, the low byte of every extended code
_STALE = 517  # SQLITE_BUSY_SNAPSHOT: only a new transaction helps


def _own(driver: Any) -> Any:
    """Return sqlite3's or aiosqlite's connection, without SQLAlchemy's front of the latter."""
    return getattr(driver, "driver_connection", driver)


def has_transaction(driver: Any) -> bool:
    """Return whether a transaction is open on a driver's connection."""
    own = _own(driver)
    # With autocommit=False (Python 3.12) sqlite3 always has one open, mostly an empty one.
    return bool(own.in_transaction and getattr(own, "autocommit", None) is not False)


def before_hook(connection: Connection) -> None:
    """Do nothing: the driver shows whether the transaction is open."""
    _ = connection


def has_ended(connection: Connection, *, hooked: bool) -> bool:
    """Return whether a transaction that we began is over."""
    _ = hooked  # the driver shows it anyway
    return not _own(connection.connection.dbapi_connection).in_transaction


def has_failed(driver: Any) -> bool:
    """Return False: a failed statement of SQLite does not undo the others."""
    _ = driver
    return False


def begins_quickly(dialect: Dialect) -> bool:
    """Return False: a transaction that writes begins with the wait for the lock."""
    _ = dialect
    return False


def begin(connection: Connection, *, writes: bool, alone: bool) -> bool:
    """Take the write lock at once, because a read lock cannot always be upgraded later."""
    _ = alone  # one statement waits for the lock as well as several
    if not writes:
        return False
    driver: Any = connection.connection.dbapi_connection
    own = _own(driver)
    before = {pragma: _read(driver, pragma) for pragma in ("busy_timeout", "synchronous")}
    if own.in_transaction:  # an event listener of the shop has begun it just old
        driver.rollback()
    if getattr(own, "autocommit", -1) != -1:  # Python 3.12: True or False
        before["autocommit"] = own.autocommit
        driver.rollback()
        own.autocommit = -1
    connection.info[INFO_RESTORE] = before
    if before["synchronous"] < 2:  # FULL: an acknowledged commit survives a power cut
        driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA busy_timeout=0")
    time_limit = min(before["busy_timeout"] / 1000, LOCK)
    _take_write_lock(connection, driver, time_limit)
    driver.execute(f"PRAGMA busy_timeout={int(time_limit * 1000)}")
    # What is as it was needs no statement at the end.
    if before["busy_timeout"] == int(time_limit * 1000):
        del before["busy_timeout"]
    if before["synchronous"] >= 2:
        del before["synchronous"]
    return True


def _read(driver: Any, pragma: str) -> int:
    cursor = driver.cursor()
    cursor.execute(f"PRAGMA {pragma}")
    (value,) = cursor.fetchone()
    cursor.close()
    return int(value)


def restore(driver: Any, before: dict[str, Any]) -> None:
    """Restore the settings that a connection had before our transaction."""
    for pragma in ("busy_timeout", "synchronous"):
        if pragma in before:
            driver.execute(f"PRAGMA {pragma}={before[pragma]}")
    if "autocommit" in before:
        _own(driver).autocommit = before["autocommit"]


@contextmanager
def long_statements(connection: Connection) -> Iterator[None]:
    """Do nothing: SQLite has no limit for a statement."""
    _ = connection
    yield


def gave_up_waiting(error: DBAPIError) -> bool:
    """Return whether another connection kept SQLite's lock for too long."""
    return _is_busy(error.orig)


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _BUSY


def may_be_repeated(error: DBAPIError) -> bool:
    """Return whether the transaction had a stale snapshot, which a new one has not."""
    return getattr(error.orig, "sqlite_errorcode", None) == _STALE


def lacks_permission(error: DBAPIError) -> bool:
    """Return False: SQLite has no users."""
    _ = error
    return False


def check_server(connection: Connection) -> None:
    """Do nothing: SQLite has no server."""
    _ = connection


class _Queue:
    """The threads or tasks that want to write by one pool of connections, in their order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[object] = []
        # By event loop. A lock lives as long as a task holds it or waits for it.
        self._locks: weakref.WeakValueDictionary[int, asyncio.Lock] = weakref.WeakValueDictionary()

    def lock_of_loop(self) -> asyncio.Lock:
        """Return the lock that tasks of this event loop take in turn."""
        return self._locks.setdefault(id(asyncio.get_running_loop()), asyncio.Lock())

    @contextmanager
    def turn(self, timeout: float) -> Iterator[bool]:
        """Stand in the queue; the block gets whether it is first, after `timeout` s at most."""
        place = object()
        with self._changed:
            self._waiting.append(place)
        try:
            with self._changed:
                is_first = self._changed.wait_for(lambda: self._waiting[0] is place, timeout)
            yield is_first
        finally:
            with self._changed:
                self._waiting.remove(place)
                self._changed.notify_all()


_queues: weakref.WeakKeyDictionary[Pool, _Queue] = weakref.WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_queues.clear)  # those who wait are not in the child


def _take_write_lock(connection: Connection, driver: Any, time_limit: float) -> None:
    """Begin a transaction that writes.

    The wait is here and not inside SQLite, which would block all greenlets of gevent. Raises
    OperationalError after `time_limit` seconds.
    """
    deadline = time.monotonic() + time_limit
    is_async = connection.dialect.is_async
    queue = _queues.setdefault(connection.engine.pool, _Queue())
    # Tasks of one thread cannot stand in a queue of threads.
    turn = turn_of_task(queue.lock_of_loop(), time_limit) if is_async else queue.turn(time_limit)
    with turn as is_first:
        while is_first and (left := deadline - time.monotonic()) > 0:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except connection.dialect.loaded_dbapi.OperationalError as error:
                if not _is_busy(error):
                    break
                longest = max(_SHORTEST_PAUSE, _LONGEST_PAUSE * (left / time_limit) ** 6)
                pause(longest * random.uniform(0.1, 1.0), is_async=is_async)  # noqa: S311  # no secret
            else:
                return
        # The last time through SQLAlchemy, whose error is the one that callers know.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
