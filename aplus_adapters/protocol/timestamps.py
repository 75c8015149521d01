"""Datetimes of the protocol: the text as it stands in a message and the moment that it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue

__all__ = ["Timestamp"]

# fromisoformat takes week dates and other forms that the protocol does not know.
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,30}))?(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)"
)


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
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise InvalidValue(
                f"datetime: found {type(moment).__name__} without a zone, expected an aware "
                "datetime; pass datetime.now(UTC) or attach a timezone"
            )
        utc = moment.astimezone(UTC)
        return cls(f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z")

    def __str__(self) -> str:
        return self.text


def _parse(text: str) -> datetime:
    match = _ISO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _illegal(text)
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    zone = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    leap = timedelta(seconds=max(0, second - 59))  # ISO 8601 allows second 60
    if leap > timedelta(seconds=1):
        raise _illegal(text)
    try:
        return (
            datetime(
                year,
                month,
                day,
                hour,
                minute,
                second - leap.seconds,
                int((fraction or "0")[:6].ljust(6, "0")),
                tzinfo=timezone(-zone if sign == "-" else zone) if zone else UTC,
            )
            + leap
        )
    except (ValueError, OverflowError):
        raise _illegal(text) from None


def _illegal(text: object) -> InvalidValue:
    found = repr(text[:60]) if isinstance(text, str) else type(text).__name__
    return InvalidValue(
        f"datetime: found {found}, expected ISO 8601 with a zone, "
        "such as 2026-11-23T12:02:30+08:00 or 2026-11-23T04:02:30.000Z"
    )
