"""Cut a connection whose server does not answer in time; a frozen server never does."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from aplus_adapters.stores.connection_info import INFO_OURS, INFO_RESTED, INFO_TIME_LIMIT
from aplus_adapters.stores.postgresql import STATEMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

__all__ = ["IS_FIRST_QUICK", "Watchdog", "cut"]

_GRACE = 0.5  # seconds after the server's own time-out, whose error says what it waited for
_PING = 1.0  # seconds for a connection from the pool to prove that it is alive
_MOST_UNCHECKED = 1.0  # seconds in the pool after which it is checked
_INTERVAL = 0.25  # seconds between two checks
_INFO_RESTING = "aplus_resting"  # time of the return to the pool

IS_FIRST_QUICK = ContextVar("is_first_quick", default=False)
"""Whether the connection is for a statement that a server answers at once, if it answers at all."""


class Watchdog:
    """Watches the connections of our own engines, with one thread in each process."""

    def __init__(self) -> None:
        self._watches: dict[int, _Watch] = {}

    def guard(self, engine: Engine, ping: Callable[[Any], None]) -> None:
        """Watch every statement, commit and rollback of an engine, and each pooled connection.

        `ping` raises if the server does not answer a driver's connection.
        """

        def begin(connection: Any, *_: Any) -> None:
            if connection.invalidated:  # the connection is lost already
                return
            limit = connection.info.get(INFO_TIME_LIMIT, STATEMENT)
            if connection.info.pop(INFO_RESTED, False):
                self.watch(connection.connection.dbapi_connection, _PING)
            elif limit:  # 0: the address asks for no limit
                self.watch(connection.connection.dbapi_connection, limit + _GRACE)

        def finish(connection: Any) -> None:
            # SQLAlchemy tells of no end. The store returns its connections then, which ends the
            # watch; the shop may keep one of this engine and do nothing with it for long.
            if not connection.invalidated and connection.info.get(INFO_OURS):
                begin(connection)

        def end(connection: Any, *_: Any) -> None:
            self.leave(connection.connection.dbapi_connection)

        def failed(context: Any) -> None:
            if context.connection is not None and not context.connection.invalidated:
                end(context.connection)

        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", failed)
        event.listen(engine, "commit", finish)
        event.listen(engine, "rollback", finish)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "checkout", partial(self._checked_out, ping))

    def watch(self, driver: Any, seconds: float) -> None:
        """Cut a driver's connection after `seconds`, unless `leave` is called before."""
        # By process id: a lock held by the parent at the fork would stay locked for ever.
        pid = os.getpid()
        watch = self._watches.get(pid) or self._watches.setdefault(pid, _Watch())
        watch.add(driver, time.monotonic() + seconds)

    def leave(self, driver: Any) -> None:
        """Stop watching a connection."""
        watch = self._watches.get(os.getpid())
        if watch is not None:
            watch.remove(driver)

    def _checked_in(self, driver: Any, record: Any) -> None:
        self.leave(driver)
        record.info.pop(INFO_OURS, None)
        record.info[_INFO_RESTING] = time.monotonic()

    def _checked_out(
        self, ping: Callable[[Any], None], driver: Any, record: Any, _proxy: Any
    ) -> None:
        """Check a pooled connection; if it is dead, the pool makes a new one.

        A connection that was used within the last second is not checked. If it is dead, its first
        statement fails and the transaction is repeated on a new one. Nor is it checked where the
        first statement is a quick one, which gets the time of a check.
        """
        resting_since = record.info.get(_INFO_RESTING)
        record.info.pop(INFO_RESTED, None)
        if resting_since is None or time.monotonic() - resting_since < _MOST_UNCHECKED:
            return
        if IS_FIRST_QUICK.get():
            record.info[INFO_RESTED] = True
            return
        self.watch(driver, _PING)
        try:
            ping(driver)
        except Exception as error:
            raise DisconnectionError(str(error)) from error
        finally:
            self.leave(driver)


class _Watch:
    """The deadlines of one process, and the thread that checks them."""

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
                self._condition.wait(None if self._idle else _INTERVAL)
                self._idle = False
                now = time.monotonic()
                late = [driver for driver, deadline in self._deadlines.items() if deadline < now]
                for driver in late:
                    if not _has_answer(driver):
                        del self._deadlines[driver]
                        cut(driver)


def _has_answer(driver: Any) -> bool:
    """Return whether an answer has arrived which this process was too busy to read."""
    with contextlib.suppress(Exception), selectors.DefaultSelector() as selector:
        selector.register(getattr(driver, "_sock", driver), selectors.EVENT_READ)
        return bool(selector.select(0))
    return False


def cut(driver: Any) -> None:
    """Shut the socket; the driver that waits for it then raises."""
    if hasattr(driver, "terminate"):  # asyncpg, which shows no socket
        driver.terminate()
    elif hasattr(driver, "ensure_closed"):  # asyncmy
        driver.close()
    else:
        # PyMySQL's close() would not wake a thread that reads, and no public name has its socket.
        # Without it, the driver's own `read_timeout` ends the wait later.
        shown = getattr(driver, "_sock", driver)
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(shown.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
