"""What may be deleted of old payments, and what is forgotten of their buyers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from aplus_adapters.errors import InvalidValue, MessageError
from aplus_adapters.payments.model import FORGOTTEN
from aplus_adapters.protocol import wire
from aplus_adapters.protocol.messages.order import Env
from aplus_adapters.protocol.messages.pay import PayRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.payments.policy import Timing
    from aplus_adapters.payments.search import ConflictRecord

__all__ = [
    "OldPayment",
    "OldPayments",
    "Retention",
    "check_age",
    "refundable_since",
    "without_buyer",
]

_YOUNGEST = timedelta(days=2)
_OLDEST = timedelta(days=36500)
_ALIPAYPLUS = timezone(timedelta(hours=8))


@frozen(kw_only=True)
class OldPayment:
    """A final attempt with all that decides whether it may go."""

    attempt: Attempt
    refunds: tuple[Refund, ...] = ()
    conflicts: tuple[ConflictRecord, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Return whether nothing is left to do: no open refund, no conflict that waits."""
        return (
            self.attempt.state.is_final
            and all(refund.state.is_final for refund in self.refunds)
            and all(record.is_resolved and record.is_reported for record in self.conflicts)
        )

    @property
    def changed_at(self) -> datetime:
        """Return when the attempt, one of its refunds or of its conflicts changed last."""
        resolved = (record.resolved_at for record in self.conflicts)
        moments = [self.attempt.changed_at, *(refund.changed_at for refund in self.refunds)]
        return max([*moments, *(moment for moment in resolved if moment is not None)])


@frozen(kw_only=True)
class OldPayments:
    """Old payments, the longest unchanged first. `after` asks for the next; None: no more."""

    payments: tuple[OldPayment, ...]
    after: tuple[datetime, str] | None = None

    def __iter__(self) -> Iterator[OldPayment]:
        return iter(self.payments)


@frozen(kw_only=True)
class Retention:
    """The rule by which payments are deleted and buyers forgotten; a store asks it under the lock.

    What changed last before `deletes_before` may be deleted, and before `forgets_before` its buyer
    forgotten; None: nothing is. `even_paid` lets paid payments go too, which occupy their orders:
    without its payment an order can be paid again. `refundable_since` still keeps those that
    changed at that moment or later; None keeps none.
    """

    deletes_before: datetime | None = None
    forgets_before: datetime | None = None
    even_paid: bool = False
    refundable_since: datetime | None = None

    @property
    def deletes_paid_before(self) -> datetime | None:
        """Return before which moment a paid payment must have changed last to be deleted."""
        if not self.even_paid or self.deletes_before is None:
            return None
        if self.refundable_since is None:
            return self.deletes_before
        return min(self.deletes_before, self.refundable_since)

    def may_delete(self, old: OldPayment) -> bool:
        """Return whether a payment may be deleted with all that belongs to it."""
        is_paid = old.attempt.occupies_order
        before = self.deletes_paid_before if is_paid else self.deletes_before
        return before is not None and old.is_settled and old.changed_at < before

    def may_forget(self, old: OldPayment) -> bool:
        """Return whether its buyer may be forgotten; not if all of it may be deleted."""
        before = self.forgets_before
        is_old = before is not None and old.changed_at < before
        is_whole = not old.attempt.is_forgotten
        return is_old and is_whole and old.is_settled and not self.may_delete(old)


def refundable_since(now: datetime) -> datetime:
    """Return the moment since which what was paid may still be refunded.

    Source: protocol, "Sibling calls": a refund is possible "within one calendar year", which does
    not say whether 365 days are meant or the year's end. So a payment counts as refundable until
    the end of the calendar year that follows its own, by Alipay+'s days (UTC+8), and for one day
    more for shops in other zones.

    >>> str(refundable_since(datetime(2026, 11, 23, tzinfo=_ALIPAYPLUS)))
    '2025-01-01 00:00:00+08:00'
    """
    this_year = (now.astimezone(_ALIPAYPLUS) - timedelta(days=1)).year
    return datetime(this_year - 1, 1, 1, tzinfo=_ALIPAYPLUS)


def check_age(name: str, age: Any, timing: Timing) -> None:
    """Raise InvalidValue unless an age is a timedelta of two days to a hundred years.

    Alipay+ sends a notification again for 24 h 22 min, and one is taken while it is younger than
    `Timing.max_age`. For a payment that is gone it would be lost. Source: protocol,
    "notifyPayment".
    """
    youngest = max(_YOUNGEST, timing.max_age)
    if not isinstance(age, timedelta) or not youngest <= age <= _OLDEST:
        raise InvalidValue(
            f"prune {name}: found {str(age)[:80]}, expected {_days(youngest)} to "
            f"{_days(_OLDEST)}: notifications may still come for what is younger; write "
            f"{name}=timedelta(days=400), or 400d in a command"
        )


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):g} days"


def without_buyer(attempt: Attempt) -> Attempt:
    """Return a final attempt whose pay request no longer says anything of the buyer.

    `buyer`, `shipping` and `env` of its order go: names, mail, phone, addresses, user agent, ids.
    The rest stays a pay request that can be read, and is marked as forgotten. An open attempt needs
    its request as it is: it is sent again byte for byte.
    """
    mark = {FORGOTTEN: "true"}
    try:
        request: Any = PayRequest.decode(attempt.request_body)
        # Without a user agent it could not be read back. `extra` holds what could not be read.
        env = Env(user_agent="forgotten")
        order = evolve(request.order, buyer=None, shipping=None, env=env, extra={})
        body = evolve(request, order=order, extra=mark).encode()
    except (MessageError, InvalidValue):
        # No pay request that this version can read: what stays is known from elsewhere.
        amount = {"currency": attempt.amount.currency, "value": str(attempt.amount.value)}
        ids = {"paymentRequestId": attempt.payment_request_id, "paymentAmount": amount}
        body = wire.dumps({**ids, **mark})
    return evolve(attempt, request_body=body)
