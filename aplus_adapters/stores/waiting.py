"""Wait without a thread of our own where the store awaits.

An awaiting store runs the code of the blocking one in SQLAlchemy's greenlets, in which the driver's
coroutines are awaited. A pause has to be awaited there, too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import await_only

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["native", "pause", "turn_of_task"]


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


async def _acquired(lock: asyncio.Lock, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await lock.acquire()
    except TimeoutError:
        return False


def native(driver: Any) -> Any:
    """Return the driver's own connection, without SQLAlchemy's blocking front of an async one."""
    return getattr(driver, "driver_connection", driver)
