"""What the simulated Alipay+ does towards the shop, as steps: generators that yield a `Post`.

They are written once. `Simulator` runs them blocking or awaiting.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from aplus_adapters.simulator.notifications import Judged
from aplus_adapters.testing.shop_application import Answer, Post

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
    from aplus_adapters.simulator.notifications import Notification
    from aplus_adapters.testing.clock import VirtualClock

__all__ = ["Deliveries", "Delivery", "Steps"]

T = TypeVar("T")
Steps = Generator[Post, Answer, T]


@frozen(kw_only=True)
class Delivery(Judged):
    """One notification that was sent `at` a time, and what became of it.

    `form` is its form, such as "true" or "forged". `status` is the shop's HTTP status, 0 without an
    answer. `outcome` is "acknowledged", or the reason why it is not. `body` is the shop's answer.
    """

    at: datetime
    payment_request_id: str
    form: str

    @property
    def is_acknowledged(self) -> bool:
        """Return whether the shop said that it has the notification, so that none comes again."""
        return self.outcome == "acknowledged"


class Deliveries:
    """The notifications of one simulated Alipay+ to one shop; `sent` are all so far, in order."""

    def __init__(self, alipayplus: SimulatedAlipayPlus, clock: VirtualClock) -> None:
        self._alipayplus, self._clock = alipayplus, clock
        self.sent: list[Delivery] = []
        self.is_reachable = False

    def due(self) -> Steps[list[Delivery]]:
        """Close expired orders and send the notifications that are due; return these."""
        self._alipayplus.do_what_is_due()
        notifier, known = self._alipayplus.notifier, len(self.sent)
        orders = notifier.take_due()
        try:
            for order in orders:
                sent_at = self._clock.now()
                delivery = yield from self.send(notifier.make(order))
                notifier.record(order, sent_at, delivery)
        finally:  # an error of the shop must not keep the others back for ever
            for order in orders:
                notifier.release(order)
        return self.sent[known:]

    def send(self, notification: Notification) -> Steps[Delivery]:
        """Send one notification and return what became of it."""
        notifier, at = self._alipayplus.notifier, self._clock.now()
        if self.is_reachable:
            answer = yield Post(
                url=notification.url, headers=notification.headers, body=notification.body
            )
            judged = notifier.judge(notification, answer.status, answer.headers, answer.body)
        else:
            judged = notifier.unanswered(notification, "ConnectError")
        delivery = Delivery(
            at=at,
            payment_request_id=notification.order.payment_request_id,
            form=notification.form,
            status=judged.status,
            outcome=judged.outcome,
            body=judged.body,
        )
        self.sent.append(delivery)
        return delivery

    def until(self, moment: datetime) -> Steps[None]:
        """Move the time to `moment`; let happen on the way what becomes due, in order of time."""
        while (due := self._alipayplus.next_due()) is not None and due <= moment:
            self._clock.move_to(due)
            yield from self.due()
        self._clock.move_to(moment)
