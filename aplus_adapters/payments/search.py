"""The values of an operator's questions: which payments and which conflicts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue
from aplus_adapters.payments.model import WALLET_LENGTH, State
from aplus_adapters.payments.order_checks import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aplus_adapters.payments.model import Attempt, Conflict

__all__ = [
    "ConflictRecord",
    "Page",
    "PaymentFilter",
    "check_limit",
    "page_key",
    "page_of",
]

_MOST = 1000  # payments or conflicts of one answer
_KEY = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{6})-(.{1,64})", re.DOTALL)
_KEY_TIME = "%Y%m%dT%H%M%S.%f"


def page_key(created_at: datetime, payment_request_id: str) -> str:
    """Return the key of a payment in the order of pages; it may stand in a URL as it is.

    >>> page_key(datetime(2026, 11, 23, 12, tzinfo=UTC), "pay1")
    '20261123T120000.000000-pay1'
    """
    return f"{created_at.astimezone(UTC).strftime(_KEY_TIME)}-{payment_request_id}"


def _check_optional(kind: type, expected: str) -> Callable[[Any, Any, Any], None]:
    def check(_instance: object, attribute: Any, value: object) -> None:
        if value is not None and not isinstance(value, kind):
            found = f"{type(value).__name__} {str(value)[:80]!r}"
            raise InvalidValue(f"payments {attribute.name}: found {found}, expected {expected}")
        if isinstance(value, str):
            check_id(f"payments {attribute.name}", value)

    return check


def _check_aware(instance: object, attribute: Any, value: Any) -> None:
    _check_optional(datetime, "a datetime with a time zone")(instance, attribute, value)
    if value is not None and value.tzinfo is None:
        raise InvalidValue(
            f"payments {attribute.name}: found {value}, expected a time zone too; write "
            "datetime.now(UTC), or replace(tzinfo=...)"
        )


_TEXT = _check_optional(str, "text")
_MOMENT: Any = field(default=None, validator=_check_aware)


@frozen(kw_only=True)
class PaymentFilter:
    """Which payments are wanted: those that meet each condition that is set.

    `since` and `until` limit `Attempt.created_at`: at `since` or later, and before `until`.
    `account` is a client id. Of a wallet's name the first 128 characters are compared.
    `needs_attention` asks for payments with a conflict that nobody has resolved. `after` is
    `Page.after` of the page before. Pages begin with the newest payment, or with the oldest if
    `oldest_first`. Raises InvalidValue for a value of another kind.
    """

    state: State | None = field(default=None, validator=_check_optional(State, "a State"))
    since: datetime | None = _MOMENT
    until: datetime | None = _MOMENT
    order_ref: str | None = field(default=None, validator=_TEXT)
    wallet: str | None = field(default=None, validator=_TEXT)
    account: str | None = field(default=None, validator=_TEXT)
    needs_attention: bool = False
    oldest_first: bool = False
    after: str | None = field(default=None, validator=_TEXT)

    def __attrs_post_init__(self) -> None:
        _ = self.position  # a wrong key is refused here, before anything is asked

    @property
    def position(self) -> tuple[datetime, str] | None:
        """Return the creation time and the id of the payment after which the page begins."""
        if self.after is None:
            return None
        match = _KEY.fullmatch(self.after)
        try:
            if match is not None:
                moment = datetime.strptime(match[1], _KEY_TIME).replace(tzinfo=UTC)
                return moment, match[2]
        except ValueError:  # such as a 13th month
            pass
        raise InvalidValue(
            f"payments after: found {self.after[:80]!r}, expected the `after` of a page; leave it "
            "out for the first page"
        )

    @property
    def wallet_key(self) -> str | None:
        """Return what is compared with `Attempt.wallet_key`."""
        return self.wallet and self.wallet[:WALLET_LENGTH]

    def matches(self, attempt: Attempt) -> bool:
        """Return whether an attempt meets the conditions; `needs_attention` is not looked at."""
        key = attempt.created_at, attempt.payment_request_id
        position = self.position
        is_behind = position is None or (key > position if self.oldest_first else key < position)
        return (
            is_behind
            and (self.state is None or attempt.state is self.state)
            and (self.since is None or attempt.created_at >= self.since)
            and (self.until is None or attempt.created_at < self.until)
            and self.order_ref in (None, attempt.order_ref)
            and self.wallet_key in (None, attempt.wallet_key)
            and self.account in (None, attempt.client_id)
        )


@frozen(kw_only=True)
class Page:
    """One page of payments. `after` is the key for the next page, None if this is the last.

    A page may be iterated over as its `attempts`.
    """

    attempts: tuple[Attempt, ...]
    after: str | None = None

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self.attempts)

    def __len__(self) -> int:
        return len(self.attempts)


def page_of(attempts: Iterable[Attempt], wanted: PaymentFilter, limit: int) -> Page:
    """Return the page of a store that holds all its attempts in memory."""
    keyed = [
        ((attempt.created_at, attempt.payment_request_id), attempt)
        for attempt in attempts
        if wanted.matches(attempt)
    ]
    keyed.sort(key=lambda pair: pair[0], reverse=not wanted.oldest_first)
    after = page_key(*keyed[limit - 1][0]) if len(keyed) > limit else None
    return Page(attempts=tuple(attempt for _, attempt in keyed[:limit]), after=after)


@frozen(kw_only=True)
class ConflictRecord:
    """A stored conflict and what became of it.

    `conflict.attempt` is the payment as it is now. `is_reported` says whether the shop's hook has
    returned. `resolved_at`, `resolved_by` and `note` say who settled it; they are None until then.
    """

    conflict: Conflict
    is_reported: bool = False
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    note: str | None = None

    @property
    def key(self) -> str:
        """Return the key by which the conflict is resolved."""
        return self.conflict.key

    @property
    def is_resolved(self) -> bool:
        """Return whether somebody has resolved it."""
        return self.resolved_at is not None


def check_limit(limit: Any) -> None:
    """Raise InvalidValue unless `limit` is a whole number from 1 to 1000."""
    if type(limit) is not int or not 1 <= limit <= _MOST:
        raise InvalidValue(f"limit: found {limit!r}, expected a whole number from 1 to {_MOST}")
