"""SQLite's one write lock, waited for in turn.

SQLite keeps no queue: whoever asks at the right moment is next, and somebody may never be. So the
threads of a store stand in a queue, of which only the first asks SQLite. Among processes, those
that have waited longer ask more often.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import Pool

__all__ = ["SQLITE_LOCK", "is_busy", "take_write_lock"]

SQLITE_LOCK = 3.5  # seconds; longer than for a row of PostgreSQL, because all writers share it
_LONGEST_PAUSE, _SHORTEST_PAUSE = 0.02, 0.0005  # seconds between two requests
_BUSY = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, the low byte of every extended code


class _Queue:
    """The threads that want to write by one pool of connections, in the order they came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[object] = []

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


def take_write_lock(connection: Connection, time_limit: float) -> None:
    """Begin a transaction that writes.

    The wait is here and not inside SQLite, which would block all greenlets of gevent. Raises
    OperationalError after `time_limit` seconds.
    """
    started = time.monotonic()
    queue = _queues.setdefault(connection.engine.pool, _Queue())
    with queue.turn(time_limit) as is_first:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                waited = time.monotonic() - started
                if not (is_first and is_busy(error) and waited < time_limit):
                    raise
                pause = max(_SHORTEST_PAUSE, _LONGEST_PAUSE * (1 - waited / time_limit) ** 6)
                time.sleep(pause * random.uniform(0.1, 1.0))  # noqa: S311  # no secret
            else:
                return


def is_busy(error: DBAPIError) -> bool:
    """Return whether another connection had SQLite's lock."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _BUSY
