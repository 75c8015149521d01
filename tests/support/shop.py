"""A shop that takes notes, and a clock that moves by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aplus_adapters import Amount, MemoryStore, OrderToPay

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOTIFY_URL = "https://shop.example/aplus/notify"


class Clock:
    """Time that moves only by sleeping or by hand, ids and randomness that repeat."""

    def __init__(self, start=NOON):
        self.moment = start
        self.slept = []
        self.made = 0

    def now(self):
        return self.moment

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)

    async def sleep_async(self, seconds):
        self.sleep(seconds)

    def draw(self):
        return 0.5

    def new_request_id(self):
        self.made += 1
        return f"pay{self.made:040x}"


class SeenStore(MemoryStore):
    """A store that commands see: tests run them in the very process that has the payments."""


class Shop:
    """A shop's hooks that note every call; `price` None means that there is no such order."""

    def __init__(self):
        self.price = Amount.parse("42.00", "USD")
        self.changes = []
        self.conflicts = []
        self.fail = None

    def load_order(self, details):
        return self.price and OrderToPay(amount=self.price, description="2 tickets")

    def payment_changed(self, details):
        if self.fail is not None:
            raise self.fail
        self.changes.append((details.attempt.order_ref, details.attempt.state.value))

    def payment_conflict(self, details):
        self.conflicts.append(details.conflict)


class AsyncShop(Shop):
    async def load_order(self, details):
        return super().load_order(details)

    async def payment_changed(self, details):
        super().payment_changed(details)

    async def payment_conflict(self, details):
        super().payment_conflict(details)


class Skewed(Clock):
    """Alipay+'s clock, `off` from ours."""

    def __init__(self, ours, off):
        super().__init__()
        self.ours, self.off = ours, off

    def now(self):
        return self.ours.now() + self.off
