"""Wait for time or for a turn, without a thread of our own where the store awaits.

An awaiting store runs the code of the blocking one in SQLAlchemy's greenlets, in which the driver's
coroutines are awaited. A pause has to be awaited there, too.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from sqlalchemy.util import await_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["native", "pause", "turn_of_task", "turn_to_repeat"]

# A lock is kept while somebody has it or waits for it. A forked process has its own, and so has
# each event loop.
_turns: WeakValueDictionary[tuple[int, int, int, str], _TurnOfTask | _TurnOfThread] = (
    WeakValueDictionary()
)


def pause(seconds: float, *, is_async: bool) -> None:
    """Wait; with `is_async` other tasks run meanwhile."""
    if is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


@contextmanager
def turn_of_task(lock: asyncio.Lock, seconds: float) -> Iterator[bool]:
    """Hold the lock for the block, which gets False if it was not free within `seconds`."""
    is_held = await_only(_acquired(lock, seconds))
    try:
        yield is_held
    finally:
        if is_held:
            lock.release()


class _TurnOfThread:
    """A lock that its thread may take again: a hook reads inside what is repeated."""

    def __init__(self) -> None:
        self._lock = RLock()

    @contextmanager
    def hold(self, seconds: float) -> Iterator[None]:
        is_held = self._lock.acquire(timeout=seconds)
        try:
            yield
        finally:
            if is_held:
                self._lock.release()


class _TurnOfTask:
    """The same for the tasks of one event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @contextmanager
    def hold(self, seconds: float) -> Iterator[None]:
        task = asyncio.current_task()
        if task is self._holder:
            yield
            return
        with turn_of_task(self._lock, seconds) as is_held:
            if is_held:
                self._holder = task
            try:
                yield
            finally:
                if is_held:
                    self._holder = None


def turn_to_repeat(
    store: object, about: object = None, *, seconds: float, is_async: bool
) -> AbstractContextManager[None]:
    """Keep others that repeat something about the same order or payment waiting.

    They are threads, or with `is_async` tasks of this event loop. After so many seconds it goes on
    all the same. Those who repeat at once against each other, as on REPEATABLE READ, would be
    rolled back again, all but one each time.
    """
    subject = getattr(about, "order_ref", None) or getattr(about, "payment_request_id", about)
    loop = id(asyncio.get_running_loop()) if is_async else 0
    new = _TurnOfTask() if is_async else _TurnOfThread()
    return _turns.setdefault((os.getpid(), loop, id(store), str(subject)), new).hold(seconds)


async def _acquired(lock: asyncio.Lock, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await lock.acquire()
    except TimeoutError:
        return False


def native(driver: Any) -> Any:
    """Return the driver's own connection, without SQLAlchemy's blocking front of an async one."""
    return getattr(driver, "driver_connection", driver)
