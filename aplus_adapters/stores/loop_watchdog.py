"""Watch the connections of drivers that await, without a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from aplus_adapters.stores.waiting import native
from aplus_adapters.stores.watchdog import Watchdog, cut

__all__ = ["LoopWatchdog"]

_TO_READ = 0.1  # seconds for an answer that has arrived
_MOST_CHECKS = 10  # then a connection is cut however busy the event loop is


class LoopWatchdog(Watchdog):
    """Watches the connections of drivers that await, by timers of the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def watch(self, driver: Any, seconds: float) -> None:
        """Cut a driver's connection after `seconds`, unless `leave` is called before."""
        self._check_after(driver, seconds, _MOST_CHECKS)

    def _check_after(self, driver: Any, seconds: float, checks: int) -> None:
        self.leave(driver)
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._timers[driver] = loop.call_later(seconds, self._check, driver, due, checks)

    def _check(self, driver: Any, due: float, checks: int) -> None:
        # If the loop was busy, the answer may be there, and its task has not had its turn yet.
        was_busy = asyncio.get_running_loop().time() - due > _TO_READ
        if checks == _MOST_CHECKS or (was_busy and checks > 0):
            self._check_after(driver, _TO_READ, checks - 1)
        else:
            cut(native(driver))

    def leave(self, driver: Any) -> None:
        """Stop watching a connection."""
        timer = self._timers.pop(driver, None)
        if timer is not None:
            timer.cancel()
