"""Datetimes: the text verbatim, and the moment that it means."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplus_adapters import InvalidValue
from aplus_adapters.messages import Timestamp


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2019-05-28T12:12:12+08:00", "2019-05-28T04:12:12"),
        ("2025-02-20T08:51:49.09Z", "2025-02-20T08:51:49.090000"),
        ("2019-07-12T12:08:56.253+05:30", "2019-07-12T06:38:56.253000"),
        ("2026-11-23T04:02:30-08:00", "2026-11-23T12:02:30"),
        ("2026-11-23T12:00:00.123456789Z", "2026-11-23T12:00:00.123456"),
        ("2026-11-23T12:00:00,5Z", "2026-11-23T12:00:00.500000"),
        ("2026-11-23T12:00:00+0800", "2026-11-23T04:00:00"),
        ("2026-11-23T12:00:00+08", "2026-11-23T04:00:00"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00"),
        ("2024-02-29T00:00:00-00:30", "2024-02-29T00:30:00"),
    ],
)
def test_every_legal_form_is_read_and_kept_as_it_stands(text, utc):
    stamp = Timestamp(text)
    assert stamp.text == str(stamp) == text
    assert stamp.moment.astimezone(UTC).replace(tzinfo=None).isoformat() == utc


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-23", "2026-11-23T12:00:00", "2026-11-23 12:00:00Z", "2026-W48-1T12:00:00Z", "2026-13-01T12:00:00Z",
     "2026-02-29T12:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T12:60:00Z", "2026-11-23T12:00:61Z",
     "2026-11-23T12:00Z", "2026-11-23T12:00:00z", "２０26-11-23T12:00:00Z", "2026-11-23T12:00:00.Z",
     "2026-11-23T12:00:00+24:00", "2026-11-23T12:00:00Z\n", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z",
     "2026-11-23T12:00:00." + "1" * 31 + "Z", None, 5, b"2026-11-23T12:00:00Z"],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example_of_what_is_expected(text):
    with pytest.raises(InvalidValue, match="such as 2026-11-23T12:02:30"):
        Timestamp(text)


def test_we_write_utc_with_milliseconds():
    moment = Timestamp("2026-11-23T20:00:30.0059+08:00").moment
    assert Timestamp.of(moment).text == "2026-11-23T12:00:30.005Z"


@pytest.mark.parametrize("moment", [datetime(2026, 11, 23), None, "2026-11-23"])  # noqa: DTZ001
def test_a_moment_without_a_zone_is_refused(moment):
    with pytest.raises(InvalidValue, match="without a zone"):
        Timestamp.of(moment)


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.0-9]*[Z+-][0-9:]*"))
def test_any_text_gives_a_timestamp_or_our_error(text):
    try:
        assert Timestamp(text).text == text
    except InvalidValue:
        pass


@pytest.mark.parametrize("text", ["0002-01-01T00:00:00Z", "9998-12-31T00:00:00Z"])
def test_every_moment_leaves_room_for_sums_and_other_zones(text):
    moment = Timestamp(text).moment
    for offset in (-24, 24):
        later = moment + timedelta(days=offset)
        assert later.astimezone(timezone(timedelta(hours=offset // 2))) == later


@pytest.mark.parametrize(
    "text", ["0001-12-31T23:59:59Z", "9998-12-31T00:00:01Z", "9999-06-01T00:00:00Z"]
)
def test_a_moment_at_the_edge_of_the_calendar_is_refused(text):
    with pytest.raises(InvalidValue, match="such as 2026-11-23T12:02:30"):
        Timestamp(text)
