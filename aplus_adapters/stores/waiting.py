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

__all__ = ["native", "pause", "turn_of_task", "turn_of_thread"]

# A lock is kept while somebody has it or waits for it. A forked process has its own.
_turns: WeakValueDictionary[tuple[int, int, str], Any] = WeakValueDictionary()


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


@contextmanager
def turn_of_thread(store: object, about: object = None, *, seconds: float) -> Iterator[None]:
    """Keep other threads that repeat something about the same order or payment waiting.

    After so many seconds it goes on all the same. Those who repeat at once against each other, as
    on REPEATABLE READ, would be rolled back again, all but one each time.
    """
    key = getattr(about, "order_ref", None) or getattr(about, "payment_request_id", about)
    # A hook may read inside the transaction that is repeated: its thread has the turn already.
    lock = _turns.setdefault((os.getpid(), id(store), str(key)), RLock())
    is_held = lock.acquire(timeout=seconds)
    try:
        yield
    finally:
        if is_held:
            lock.release()


async def _acquired(lock: asyncio.Lock, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await lock.acquire()
    except TimeoutError:
        return False


def native(driver: Any) -> Any:
    """Return the driver's own connection, without SQLAlchemy's blocking front of an async one."""
    return getattr(driver, "driver_connection", driver)
