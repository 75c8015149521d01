"""Wait without a thread of our own where the store awaits.

An awaiting store runs the code of the blocking one in SQLAlchemy's greenlets, in which the driver's
coroutines are awaited. A pause has to be awaited there, too.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy.util import await_only

__all__ = ["native", "pause"]


def pause(seconds: float, *, is_async: bool) -> None:
    """Wait; with `is_async` other tasks run meanwhile."""
    if is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def native(driver: Any) -> Any:
    """Return the driver's own connection, without SQLAlchemy's blocking front of an async one."""
    return getattr(driver, "driver_connection", driver)
