"""Sends the simulator's notifications over HTTP, for the simulator that is a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from aplus_adapters.simulator.notifications import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aplus_adapters.simulator.ledger import Order
    from aplus_adapters.simulator.notifications import Judged, Notifier

__all__ = ["Delivery"]


class Delivery:
    """Posts what `notifier` makes, and brings it the shop's answers."""

    def __init__(self, notifier: Notifier, clock: Callable[[], datetime]) -> None:
        self._notifier, self._clock = notifier, clock
        self._client = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False)

    async def send(self, order: Order, form: str = "") -> Judged:
        """Send one notification; return how it went.

        `form` is one of `notifications.FORMS`; without one it is as faults order.
        """
        notification = self._notifier.make(order, form)
        try:
            response = await self._client.post(
                notification.url, content=notification.body, headers=dict(notification.headers)
            )
        except Exception as error:  # an address that nobody can call is a shop that does not answer
            return self._notifier.unanswered(notification, type(error).__name__)
        return self._notifier.judge(
            notification, response.status_code, response.headers, response.content
        )

    async def send_due(self, order: Order) -> None:
        """Send the notification of an order that `Notifier.take_due` returned, and record it."""
        sent_at = self._clock()
        try:
            judged = await self.send(order)
        except BaseException:
            self._notifier.release(order)
            raise
        self._notifier.record(order, sent_at, judged)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
