"""Cutting a connection whose server has not answered in time: a frozen one never would."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from aplus_adapters.stores.drivers import INFO_TIME_LIMIT, STATEMENT

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Watchdog"]

_GRACE = 0.5  # seconds more than the server's own time-out, which says what it waited for
_PING = 1.0  # seconds for a connection from the pool to prove that it is alive
_RESTED = 1.0  # seconds in the pool after which it has to
_LOOK = 0.25  # seconds between two looks
_INFO_RESTING = "aplus_resting"  # since when the connection lies in the pool


class Watchdog:
    """Watches the connections of our own engines, by a thread of each process that uses them."""

    def __init__(self) -> None:
        self._watches: dict[int, _Watch] = {}

    def guard(self, engine: Engine) -> None:
        """Watch every statement, commit and rollback of an engine, and each pooled connection."""

        def begin(connection: Any, *_: Any) -> None:
            if connection.invalidated:  # lost: the rollback has nobody to go to
                return
            limit = connection.info.get(INFO_TIME_LIMIT, STATEMENT)
            if limit:  # 0 is an address that wants no limit
                self.watch(connection.connection.dbapi_connection, limit + _GRACE)

        def end(connection: Any, *_: Any) -> None:
            self.leave(connection.connection.dbapi_connection)

        def failed(context: Any) -> None:
            if context.connection is not None and not context.connection.invalidated:
                end(context.connection)

        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", failed)
        event.listen(engine, "commit", begin)
        event.listen(engine, "rollback", begin)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "checkout", self._checked_out)

    def watch(self, driver: Any, seconds: float) -> None:
        """Cut a driver's connection after so many seconds unless it is left before."""
        # By process: what was locked by a thread of the parent at a fork stays locked for ever.
        pid = os.getpid()
        watch = self._watches.get(pid) or self._watches.setdefault(pid, _Watch())
        watch.add(driver, time.monotonic() + seconds)

    def leave(self, driver: Any) -> None:
        """Watch a connection no longer."""
        watch = self._watches.get(os.getpid())
        if watch is not None:
            watch.remove(driver)

    def _checked_in(self, driver: Any, record: Any) -> None:
        self.leave(driver)
        record.info[_INFO_RESTING] = time.monotonic()

    def _checked_out(self, driver: Any, record: Any, _proxy: Any) -> None:
        """Ask a connection that has rested for a sign of life; the pool makes another one if not.

        One that was used a moment ago is not asked: should it be dead all the same, its first
        statement says so at once, and the transaction is repeated on a new one.
        """
        since = record.info.get(_INFO_RESTING)
        if since is None or time.monotonic() - since < _RESTED:
            return
        self.watch(driver, _PING)
        try:
            driver.autocommit = True
            cursor = driver.cursor()
            cursor.execute("SELECT 1")
            cursor.close()
            driver.autocommit = False
        except Exception as error:
            raise DisconnectionError(str(error)) from error
        finally:
            self.leave(driver)


class _Watch:
    """The deadlines of one process, and the thread that looks at them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._deadlines: dict[Any, float] = {}
        self._thread: threading.Thread | None = None
        self._idle = False

    def add(self, driver: Any, deadline: float) -> None:
        with self._condition:
            self._deadlines[driver] = deadline
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, daemon=True, name="aplus-watchdog"
                )
                self._thread.start()
            elif self._idle:
                self._condition.notify()

    def remove(self, driver: Any) -> None:
        with self._condition:
            self._deadlines.pop(driver, None)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._idle = not self._deadlines
                self._condition.wait(None if self._idle else _LOOK)
                self._idle = False
                moment = time.monotonic()
                late = [driver for driver, when in self._deadlines.items() if when < moment]
                for driver in late:
                    del self._deadlines[driver]
                    _cut(driver)


def _cut(driver: Any) -> None:
    """End the connection under whoever waits for it; the driver then raises."""
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
