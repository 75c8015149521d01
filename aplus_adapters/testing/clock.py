"""A clock that moves by hand, shared by the shop and the simulated Alipay+."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aplus_adapters.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["VirtualClock"]


class VirtualClock(SystemClock):
    """Time that stands still until `advance`, or until the shop sleeps, which takes no time.

    It starts at `start`, an aware datetime, or at the machine's time. Pauses are not varied by
    chance. Pass it as `AplusPay(clock=...)`, or let `Simulator.connect` do that.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._travel: Callable[[datetime], None] = self.move_to
        self._travel_async: Callable[[datetime], Awaitable[None]] | None = None

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        return self._now

    def advance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Move time forward; what becomes due meanwhile happens, in order of time.

        Codes expire, and notifications come to the shop by Alipay+'s schedule. The shop's own
        worker does not run: call `pay.reconcile()`. Raises ValueError for a negative duration.
        """
        self._travel(self._after(seconds, minutes, hours, days))

    async def advance_async(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Do what `advance` does, awaiting."""
        moment = self._after(seconds, minutes, hours, days)
        if self._travel_async is None:
            self.move_to(moment)
        else:
            await self._travel_async(moment)

    def sleep(self, seconds: float) -> None:
        """Move time forward at once; what becomes due waits for the next `advance`."""
        self._now += timedelta(seconds=seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Do what `sleep` does, and let other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def draw(self) -> float:
        """Return 0.5, so that each pause has its middle length."""
        return 0.5

    def move_to(self, moment: datetime) -> None:
        """Set the time, but never back; nothing happens meanwhile."""
        self._now = max(self._now, moment)

    def attach(
        self,
        travel: Callable[[datetime], None],
        travel_async: Callable[[datetime], Awaitable[None]],
    ) -> None:
        """Let a simulator move the time in `advance`, so that what is due happens on the way."""
        self._travel, self._travel_async = travel, travel_async

    def _after(self, seconds: float, minutes: float, hours: float, days: float) -> datetime:
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if duration < timedelta(0):
            raise ValueError(f"clock: found {duration}, expected a duration that is not negative")
        return self._now + duration
