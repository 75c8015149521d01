"""Datetimes of the protocol: the text in a message and the moment that it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue

__all__ = ["Timestamp"]

# fromisoformat takes week dates, hour 24 and other forms that the protocol does not know.
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:[.,][0-9]{1,30})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
)


_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
_LATEST = datetime(9998, 12, 31, tzinfo=UTC)


@frozen
class Timestamp:
    """A datetime with its zone, verbatim.

    `text` is what was or will be signed and is never re-formatted; `moment` is the same as an
    aware datetime, cut to microseconds. Two are equal when their texts are. Source: protocol,
    "Transport": ISO 8601 with zone, fraction of any length, Z or an offset.

    >>> Timestamp("2019-07-12T12:08:56.253+05:30").moment.isoformat()
    '2019-07-12T12:08:56.253000+05:30'
    """

    text: str
    moment: datetime = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "moment", _parse(self.text))

    @classmethod
    def of(cls, moment: datetime) -> Timestamp:
        """Write an aware datetime the way we send it: UTC with milliseconds.

        >>> Timestamp.of(datetime(2026, 11, 23, 12, 0, 30, 5999, tzinfo=UTC)).text
        '2026-11-23T12:00:30.005Z'
        """
        check_aware(moment)
        utc = moment.astimezone(UTC).isoformat(timespec="milliseconds")
        return cls(utc.removesuffix("+00:00") + "Z")

    def __str__(self) -> str:
        return self.text


def check_aware(moment: datetime) -> None:
    """Raise InvalidValue unless this is a datetime with its zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidValue(
            f"datetime: found {type(moment).__name__} without a zone, expected an aware "
            "datetime; pass datetime.now(UTC) or attach a timezone"
        )


def _parse(text: str) -> datetime:
    if not isinstance(text, str) or _ISO.fullmatch(text) is None:
        raise _illegal(text)
    leaps = text[17:19] == "60"  # a second that ISO 8601 allows and datetime does not know
    try:
        moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if leaps else text)
        moment += timedelta(seconds=leaps)
        # A year's room on both sides, so that no sum and no change of zone leaves the calendar.
        if not _EARLIEST <= moment <= _LATEST:
            raise _illegal(text)
        return moment
    except (ValueError, OverflowError):
        raise _illegal(text) from None


def _illegal(text: object) -> InvalidValue:
    found = repr(text[:60]) if isinstance(text, str) else type(text).__name__
    return InvalidValue(
        f"datetime: found {found}, expected ISO 8601 with a zone, "
        "such as 2026-11-23T12:02:30+08:00 or 2026-11-23T04:02:30.000Z"
    )
