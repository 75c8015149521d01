"""The value that says whether payments go on by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.model import Attempt

__all__ = ["Health"]


@frozen(kw_only=True)
class Health:
    """What says whether payments go on by themselves; all times are aware.

    `at` is when it was asked. `longest_waiting` is the payment that should have been asked about
    first, and `overdue` for how long. `oldest_open` is the open payment that was created first: if
    Alipay+ cannot be reached, payments are asked about in time and stay open all the same.
    `last_notification`, `last_reconcile` (the end of a round) and `last_failed_hook` are None if
    there was none. What a failing hook cannot take is not stored, and comes again.
    `clock_ahead` is our clock minus Alipay+'s at its last answer, with the answer's way to us in
    it; None if there is no answer. `unreported_conflicts` are unknown to the shop's hook,
    `open_conflicts` were resolved by nobody; of each at most 100 are counted. `calls` are the last
    100 answers to pay, refund and cancel each, of the last 24 hours, and `refused` those of them
    that were refused.
    """

    at: datetime
    longest_waiting: Attempt | None = None
    refund_due_at: datetime | None = None
    oldest_open: Attempt | None = None
    last_notification: datetime | None = None
    last_reconcile: datetime | None = None
    last_failed_hook: datetime | None = None
    clock_ahead: timedelta | None = None
    unreported_conflicts: int = 0
    open_conflicts: int = 0
    calls: int = 0
    refused: int = 0

    @property
    def overdue(self) -> timedelta:
        """Return for how long a payment or a refund waits to be asked about; 0 if none does."""
        waiting = self.longest_waiting
        moments = [waiting and waiting.next_call_at, self.refund_due_at]
        return max([timedelta(0), *(self.at - moment for moment in moments if moment)])

    @property
    def refused_share(self) -> float:
        """Return the share of `calls` that were refused, from 0.0 to 1.0."""
        return self.refused / self.calls if self.calls else 0.0
