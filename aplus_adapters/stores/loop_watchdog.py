"""Watch the connections of drivers that await, without a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from aplus_adapters.stores.waiting import native
from aplus_adapters.stores.watchdog import Watchdog, cut

__all__ = ["LoopWatchdog"]

_TO_READ = 0.1  # seconds for an answer that has arrived


class LoopWatchdog(Watchdog):
    """Watches the connections of drivers that await, by timers of the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def watch(self, driver: Any, seconds: float) -> None:
        """Cut a driver's connection after `seconds`, unless `leave` is called before."""
        self.leave(driver)
        self._timers[driver] = asyncio.get_running_loop().call_later(
            seconds, self._cut_soon, driver
        )

    def _cut_soon(self, driver: Any) -> None:
        # Timers come before the sockets. If the loop was busy, the answer is there, but not read.
        later = asyncio.get_running_loop().call_later(_TO_READ, cut, native(driver))
        self._timers[driver] = later

    def leave(self, driver: Any) -> None:
        """Stop watching a connection."""
        timer = self._timers.pop(driver, None)
        if timer is not None:
            timer.cancel()
