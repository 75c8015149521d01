"""The real time, pauses and randomness."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where time and randomness come from; tests pass their own."""

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        ...

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """Pause this task."""
        ...

    def draw(self) -> float:
        """Return a random float in [0, 1)."""
        ...

    def new_request_id(self) -> str:
        """Return a new paymentRequestId that cannot be guessed, at most 64 characters."""
        ...


class SystemClock:
    """The machine's clock, and ids of 160 random bits."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Pause this task."""
        await asyncio.sleep(seconds)

    def draw(self) -> float:
        """Return a random float in [0, 1)."""
        return random.random()  # noqa: S311  # jitter, not a secret

    def new_request_id(self) -> str:
        """Return `pay` and 40 hexadecimal digits."""
        # Not to be guessed, because it is in the address of the payment's page.
        return f"pay{secrets.token_hex(20)}"
