"""All pauses and limits as data that can be printed, and the accounts that they apply to."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.payments.model import Attempt, Refund
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY
from aplus_adapters.protocol.signed_messages import MAX_AGE, MAX_AHEAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aplus_adapters.protocol.account import Account

__all__ = [
    "CANCEL",
    "FAR",
    "FARTHEST",
    "INQUIRY",
    "PAY",
    "REFUND",
    "PaymentConfig",
    "Retry",
    "Timing",
    "has_come",
]


@frozen(kw_only=True)
class Retry:
    """When to send the identical request again.

    `pauses` are the seconds before each repetition, `jitter` the part of each pause by which it is
    randomly lengthened or shortened, `deadline` the seconds for all of it: no repetition begins
    after it, and the last one's time-out is cut to what is left. Raises InvalidValue for a pause or
    deadline that is not above 0, and a pause over FAR.

    >>> print(Retry(pauses=(1.0, 2.0), jitter=0.2, deadline=10.0))
    send, after 1 s again, after 2 s again; each pause +-20 %, none begun after 10 s
    >>> Retry(pauses=(1.0, 2.0)).pause(1, 0.5)
    2.0
    """

    pauses: tuple[float, ...] = ()
    jitter: float = 0.2
    deadline: float = 10.0

    def __attrs_post_init__(self) -> None:
        for pause in self.pauses:
            _check("Retry pauses", pause, FAR.total_seconds())
        _check("Retry deadline", self.deadline, math.inf)
        # More than all of a pause would make it negative, which cannot be slept.
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            raise InvalidValue(f"Retry jitter: found {self.jitter!r}, expected 0 or a part of 1")

    @property
    def longest(self) -> float:
        """Return the most seconds that all sends take, 0 if nothing is repeated."""
        return self.deadline if self.pauses else 0.0

    def pause(self, repetition: int, draw: float) -> float:
        """Return the seconds before a repetition (0 is the first); `draw` is random in [0, 1)."""
        return self.pauses[repetition] * (1 + self.jitter * (2 * draw - 1))

    def __str__(self) -> str:
        again = "".join(f", after {pause:g} s again" for pause in self.pauses)
        return (
            f"send{again}; each pause +-{self.jitter:.0%}".replace("%", " %")
            + f", none begun after {self.deadline:g} s"
        )


FAR = timedelta(minutes=2)
"""The limit for planned calls about an attempt: a wrong clock planned what is further ahead."""

FARTHEST = timedelta(minutes=15)
"""The same limit for refunds and for disputed attempts."""


_CENTURY = timedelta(days=36_500)  # what is much longer leads out of the calendar
_UNDER_WAY = timedelta(minutes=1)  # the longest that a request may be in the network, and act then


def _check(name: str, value: Any, limit: timedelta | float) -> None:
    """Raise InvalidValue unless a value is of the limit's type, above 0 and below the limit."""
    least: Any = timedelta(0) if isinstance(limit, timedelta) else 0
    try:
        is_between = least < value < limit
    except TypeError:  # of another type
        is_between = False
    if not is_between:
        found = str(value) if isinstance(value, timedelta) else repr(value)
        raise InvalidValue(f"{name}: found {found}, expected more than 0 and less than {limit}")


def has_come(item: Attempt | Refund, now: datetime) -> bool:
    """Return whether the next call about an item is due, or planned too far ahead."""
    when = item.next_call_at
    # These may wait for `after_conflict`, which is longer than FAR without any wrong clock.
    is_far = FARTHEST if isinstance(item, Refund) or item.disputed is not None else FAR
    return when is not None and not now < when <= now + is_far


# Sources: protocol, "Time" and "Sibling calls". Every call may be repeated as it is: pay and refund
# by their request ids, cancelPayment as it is idempotent, inquiryPayment as it only reads.
PAY = Retry(pauses=(1.0, 2.0), deadline=20.0)  # at most 3 sends, as in Alipay+'s published code
INQUIRY = Retry(pauses=(1.0, 2.0), deadline=20.0)
CANCEL = Retry(pauses=(2.0, 3.0, 3.0, 5.0, 5.0), deadline=45.0)  # the pauses of that code
REFUND = Retry(pauses=(1.0, 2.0, 5.0), deadline=30.0)


@frozen(kw_only=True)
class Timing:
    """The pauses, time-outs and limits of payments.

    Sources: protocol, "Time": pay is repeated up to 3 requests; the first inquiry comes 15 to 25 s
    after the code was shown, later ones 3 to 5 s apart. Time-outs are seconds for one HTTP call.
    `claim` is how long one worker may call Alipay+ about an attempt; a call that could outlast it
    is not begun. If no inquiry is answered, an expired code is cancelled after `grace`. `cancel`
    are the seconds between cancellations that bring no S. After these it is tried every
    `after_refusal`, with an error in the log; so is a refund, but a minute apart at least. A
    disputed attempt is asked about again `after_conflict`. `attempts_per_hour` limits the rows and
    calls that one order can cause. `max_age` of a notification allows for the last re-send, 24 h
    22 min late.

    Raises InvalidValue for a pause, time-out or age that is not above 0, a pause over FAR
    (`after_conflict`: FARTHEST), a claim that is shorter than a call, and no attempt at all.
    """

    pay: Retry = Retry(pauses=(0.5, 1.0), deadline=10.0)
    refund: Retry = Retry(pauses=(0.5, 1.0), deadline=10.0)
    timeout: float = 8.0  # as documented for pay, refund and cancelPayment
    inquiry_timeout: float = 5.0  # as documented for inquiryPayment
    claim: timedelta = timedelta(seconds=20)  # a worker that died holds a payment up for no longer
    grace: timedelta = timedelta(seconds=30)
    retry_pay: timedelta = timedelta(seconds=2)
    first_inquiry: timedelta = timedelta(seconds=20)
    inquiry: timedelta = timedelta(seconds=4)
    cancel: tuple[float, ...] = CANCEL.pauses
    after_refusal: timedelta = timedelta(seconds=60)
    after_conflict: timedelta = timedelta(minutes=10)
    expiry: timedelta = DEFAULT_EXPIRY
    attempts_per_hour: int = 12
    max_age: timedelta = MAX_AGE
    max_ahead: timedelta = MAX_AHEAD

    def __attrs_post_init__(self) -> None:
        pauses = ("claim", "retry_pay", "first_inquiry", "inquiry", "after_refusal")
        # A longer pause would count as planned by a wrong clock, and be due at once.
        most: dict[str, timedelta | float] = dict.fromkeys(pauses, FAR)
        most |= {"after_conflict": FARTHEST, "expiry": DEFAULT_EXPIRY + timedelta(microseconds=1)}
        most |= dict.fromkeys(("grace", "max_age", "max_ahead"), _CENTURY)
        most |= dict.fromkeys(("timeout", "inquiry_timeout"), FAR.total_seconds())
        for name, limit in most.items():
            _check(f"Timing {name}", getattr(self, name), limit)
        for pause in self.cancel:
            _check("Timing cancel", pause, FAR.total_seconds())
        _check("Timing attempts_per_hour", self.attempts_per_hour, 10**6)
        longest = max(self.timeout, self.inquiry_timeout, self.pay.longest)
        # Otherwise another worker could call Alipay+ while the first one's call still runs.
        if self.claim.total_seconds() < longest:
            raise InvalidValue(
                f"Timing claim: found {self.claim}, expected at least the {longest:g} s that a "
                "call may take"
            )

    @property
    def refund_pause(self) -> timedelta:
        """Return the pause between two claims of a refund: `after_refusal`, or a minute if longer.

        Alipay+'s refusal is believed only if no request of an earlier claim can still arrive.
        """
        return max(self.after_refusal, _UNDER_WAY)

    @property
    def refund_claim(self) -> timedelta:
        """Return how long one worker may call Alipay+ about a refund."""
        calls = max(self.timeout, self.refund.longest) + self.inquiry_timeout
        return max(self.refund_pause, timedelta(seconds=calls))

    def __str__(self) -> str:
        return (
            f"pay: {self.pay}, then every {self.retry_pay.total_seconds():g} s while it is wanted\n"
            f"inquiry: {self.first_inquiry.total_seconds():g} s after the code, then every "
            f"{self.inquiry.total_seconds():g} s; cancelled when still open after expiry\n"
            f"cancel: {Retry(pauses=self.cancel, jitter=0, deadline=sum(self.cancel) + 5)}, then "
            f"every {self.after_refusal.total_seconds():g} s with an alarm in the log\n"
            f"refund: {self.refund}, then every {self.refund_pause.total_seconds():g} s"
        )


@frozen(kw_only=True)
class PaymentConfig:
    """Accounts by client id, the first one being the default, and the rules of time."""

    accounts: Mapping[str, Account]
    timing: Timing = field(factory=Timing)

    @property
    def default_account(self) -> Account:
        """Return the account that takes payments unless the order names another."""
        return next(iter(self.accounts.values()))

    def is_free(self, item: Attempt | Refund, moment: datetime) -> bool:
        """Return whether no claim of an attempt or a refund is in force.

        A claim that ends too far ahead was made by a wrong clock, so it does not count.
        """
        until, longest = item.claimed_until, max(self.timing.claim, self.timing.refund_claim)
        return until is None or not moment < until <= moment + longest

    def is_due(self, item: Attempt | Refund, moment: datetime) -> bool:
        """Return whether it is time to call Alipay+ about an attempt or a refund of ours."""
        # Nothing can be signed for an account whose keys are not here.
        is_ours = item.client_id in self.accounts
        return is_ours and self.is_free(item, moment) and has_come(item, moment)

    def account(self, client_id: str | None) -> Account:
        """Return the account of a client id (None: the default); ConfigurationError if unknown."""
        if client_id is None:
            return self.default_account
        if client_id not in self.accounts:
            raise ConfigurationError(
                f"client id {client_id[:128]!r}: found no such account, expected one of "
                f"{', '.join(self.accounts)}; pass every account to AplusPay"
            )
        return self.accounts[client_id]
