"""The times that may have been signed in place of the header's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from aplus_adapters.cli.verify.values import Cause, Variant
from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["likely_times", "near_times"]

_NEAR = 5000  # milliseconds between two readings of a clock
_VERBATIM = "sign the very text that the header holds, and never read and write the time again"
_HALF_HOURS = (3.5, 4.5, 5.5, 5.75, 6.5, 9.5, 10.5)


def likely_times(time: str, others: tuple[tuple[str, str], ...]) -> list[Variant]:
    """Return the header's time first, then other headers' and other texts of the same moment."""
    seen = {time: Variant(time.encode())}
    for text, meaning in others:
        cause = Cause(code="other_time", text=f"signed was {meaning} ({text})", remedy=_VERBATIM)
        seen.setdefault(text, Variant(text.encode(), cause))
    for text in _same_moment(time):
        cause = Cause(
            code="time_reformatted",
            text=f"the time was written again: signed was {text}, the header says {time}",
            remedy=_VERBATIM,
        )
        seen.setdefault(text, Variant(text.encode(), cause))
    return list(seen.values())


def near_times(time: str) -> Iterator[Variant]:
    """Yield the times up to 5 s away, which a sender that reads the clock twice may sign."""
    try:
        moment = Timestamp(time).moment
    except InvalidValue:
        return
    own = _zone_text(time)
    start = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    both = (sign * step for step in range(1, _NEAR) for sign in (1, -1))
    # In other zones only a fraction that was cut off is looked for.
    steps = {zone: range(1000) for zone in ("Z", "+00:00", "+08:00")} | {own: (0, *both)}
    for zone in (own, *(other for other in steps if other != own)):
        local = start.astimezone(_zone(zone))
        for step in steps[zone]:
            near = local + timedelta(milliseconds=step)
            whole = near.isoformat(timespec="seconds")[:19]
            text = f"{whole}.{near.microsecond // 1000:03d}{zone}"
            yield Variant(text.encode(), _read_twice(text, time, near - moment))
            if near.microsecond == 0:
                text = whole + zone
                yield Variant(text.encode(), _read_twice(text, time, near - moment))


def _read_twice(text: str, time: str, away: timedelta) -> Cause:
    cut = timedelta(0) <= away < timedelta(seconds=1) and "." not in time
    why = "its fraction was cut off" if cut else "the clock was read twice"
    return Cause(
        code="time_reformatted" if cut else "clock_read_twice",
        text=f"signed was the time {text}, the header says {time}: {why}",
        remedy="take the time once, and sign and send the same text",
    )


def _same_moment(time: str) -> Iterator[str]:
    yield time.strip()
    yield from (time.replace(" ", "+"), time.replace(" ", "T"), time.replace("T", " "))
    try:
        moment = Timestamp(time.strip()).moment
    except InvalidValue:
        yield from _of_epoch(time)
        return
    own, east = moment.tzinfo or UTC, timezone(timedelta(hours=8))
    milliseconds = int(moment.timestamp() * 1000)
    yield from (str(milliseconds), str(milliseconds // 1000), "")
    offsets = (timezone(timedelta(hours=hours)) for hours in (*range(-12, 15), *_HALF_HOURS))
    for zone in (own, UTC, east, *offsets):
        for local in (moment.astimezone(zone), moment.replace(tzinfo=zone)):
            for whole in _fractions(local):
                offset = local.strftime("%z")
                with_colon = f"{offset[:3]}:{offset[3:]}"
                yield whole + with_colon
                if zone in (own, UTC, east):
                    yield from (whole + offset, whole + offset[:3], whole)
                if offset == "+0000":
                    yield whole + "Z"


def _fractions(local: datetime) -> Iterator[str]:
    whole = local.strftime("%Y-%m-%dT%H:%M:%S")
    yield whole
    digits = f"{local.microsecond:06d}000"
    for count in (3, 6, 9, 1, 2):
        yield f"{whole}.{digits[:count]}"
    if trimmed := digits.rstrip("0"):
        yield f"{whole}.{trimmed}"


def _of_epoch(time: str) -> Iterator[str]:
    """Yield ISO texts of seconds or milliseconds since 1970."""
    if re.fullmatch(r"[0-9]{10}|[0-9]{13}", time):
        moment = datetime.fromtimestamp(int(time[:10]), UTC)
        milliseconds = time[10:] or "000"
        for zone in ("Z", "+00:00"):
            yield moment.strftime("%Y-%m-%dT%H:%M:%S") + zone
            yield moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{milliseconds}{zone}"


def _zone_text(time: str) -> str:
    match = re.search(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)\Z", time)
    return match[0] if match else "Z"


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)
