"""The buyer in a test: presses the shop's pay button, scans the code, pays or does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aplus_adapters.simulator.ledger import Order, OrderState
from aplus_adapters.testing.deliveries import Delivery
from aplus_adapters.testing.shop_application import Post
from aplus_adapters.web.routing import NOTIFY_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.testing.deliveries import Steps
    from aplus_adapters.testing.simulator import Simulator

__all__ = ["Buyer", "NotPayable", "NotStarted"]

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "Mozilla/5.0 (a buyer of aplus_adapters.testing)",
}
_OK = 200


class NotStarted(AssertionError):
    """The shop started no payment when the buyer pressed its button; says what it answered."""


class NotPayable(AssertionError):
    """The buyer cannot pay: the code is closed or was paid before."""


class Buyer:
    """One buyer; `which` names the order as for `Simulator.order`: by default the newest.

    Whatever the buyer does, the shop is notified of it at once. Each method that reaches the shop
    has a twin for tests that await, whose name ends in `_async`.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def press(self, order_ref: str, headers: Mapping[str, str] | None = None) -> Attempt:
        """Press the pay button of an order; return the payment, as the shop has stored it.

        This posts to the route `pay` beside the notify URL; `headers` are added, such as a session
        cookie. Raises NotStarted if the shop refuses.
        """
        request_id = self._simulator.run(self._press(order_ref, headers or {}))
        return _stored(self._simulator.pay.find(request_id))

    async def press_async(
        self, order_ref: str, headers: Mapping[str, str] | None = None
    ) -> Attempt:
        """Do what `press` does, awaiting."""
        request_id = await self._simulator.run_async(self._press(order_ref, headers or {}))
        return _stored(await self._simulator.pay.find_async(request_id))

    def scan(self, which: Attempt | Order | str | None = None) -> Order:
        """Return the order that the wallet shows for a code: its `amount`, `state` and `request`.

        Raises NotPayable if the wallet would not let the buyer pay it.
        """
        self._simulator.alipayplus.do_what_is_due()
        order = self._simulator.order(which)
        if order.state is not OrderState.OPEN:
            raise NotPayable(f"order {order.payment_request_id}: found it {order.state}, not OPEN")
        return order

    def pay(self, which: Attempt | Order | str | None = None) -> Delivery:
        """Pay an order; return the notification that the shop got. Raises NotPayable.

        Where a fault such as `never` or `late` holds it back, its `outcome` says so.
        """
        return self._simulator.run(self._decide(which, "pay"))

    async def pay_async(self, which: Attempt | Order | str | None = None) -> Delivery:
        """Do what `pay` does, awaiting."""
        return await self._simulator.run_async(self._decide(which, "pay"))

    def refuse(self, which: Attempt | Order | str | None = None) -> Delivery:
        """Refuse to pay an order; return the notification as `pay` does. Raises NotPayable."""
        return self._simulator.run(self._decide(which, "refuse"))

    async def refuse_async(self, which: Attempt | Order | str | None = None) -> Delivery:
        """Do what `refuse` does, awaiting."""
        return await self._simulator.run_async(self._decide(which, "refuse"))

    def wait(self, duration: timedelta | None = None) -> None:
        """Do nothing for a time; by default until the newest order's code has expired.

        The clock moves so far, and what becomes due happens: see `VirtualClock.advance`.
        """
        self._simulator.clock.advance(seconds=self._seconds(duration))

    async def wait_async(self, duration: timedelta | None = None) -> None:
        """Do what `wait` does, awaiting."""
        await self._simulator.clock.advance_async(seconds=self._seconds(duration))

    def _press(self, order_ref: str, headers: Mapping[str, str]) -> Steps[str]:
        address = self._simulator.account.notify_url.partition("?")[0].removesuffix(NOTIFY_PATH)
        body = json.dumps({"order_ref": order_ref}).encode()
        answer = yield Post(url=f"{address}/pay", headers={**_HEADERS, **headers}, body=body)
        try:
            page = json.loads(answer.body)["page"] if answer.status == _OK else None
        except (ValueError, TypeError, KeyError):  # another page, such as the shop's log-in
            page = None
        if page is None:
            raise NotStarted(
                f"pay button of {order_ref}: found HTTP {answer.status} as the shop's answer to "
                f"{address}/pay, expected a payment: {answer.body[:300].decode(errors='replace')}"
            )
        return str(page).rpartition("/")[2]

    def _decide(self, which: Any, decision: str) -> Steps[Delivery]:
        order = self.scan(which)
        self._simulator.alipayplus.decide(order, decision)
        sent = yield from self._simulator.steps.due()
        for delivery in sent:
            if delivery.payment_request_id == order.payment_request_id:
                return delivery
        return Delivery(
            at=self._simulator.clock.now(),
            payment_request_id=order.payment_request_id,
            form="",
            status=0,
            outcome="not sent: a fault holds the notification back",
            body=b"",
        )

    def _seconds(self, duration: timedelta | None) -> float:
        if duration is not None:
            return duration.total_seconds()
        left = self._simulator.order().expires_at - self._simulator.clock.now()
        return max(left.total_seconds(), 0.0)


def _stored(attempt: Attempt | None) -> Attempt:
    if attempt is None:
        raise NotStarted("pay button: the shop's answer names a payment that its store lacks")
    return attempt
