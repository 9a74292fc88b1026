"""Calendar days and digest windows, as pure functions of the moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.alerts.windows import daily_window, day_of, digest_due, hourly_window

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
HOUR = timedelta(hours=1)
zones = st.sampled_from(("Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Asia/Beirut", "Pacific/Apia")).map(
    ZoneInfo
)
moments = st.integers(1_230_000_000, 1_890_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2026-01-16T12:00", "2026-01-15T23:00", "2026-01-16T23:00"),
        ("2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_a_day_is_that_of_the_zone(now: str, start: str, end: str) -> None:
    assert day_of(utc(now), AMSTERDAM) == (utc(start), utc(end))


@given(moment=moments, zone=zones)
def test_days_hold_their_moment_and_leave_no_gap(moment: datetime, zone: ZoneInfo) -> None:
    """Also where midnight is skipped or repeated."""
    start, end = day_of(moment, zone)
    assert start <= moment < end
    assert day_of(start, zone) == (start, end)
    assert day_of(end, zone)[0] == end


@given(now=moments, zone=zones, hour=st.integers(0, 23))
def test_a_daily_window_is_the_day_before_today(now: datetime, zone: ZoneInfo, hour: int) -> None:
    window = daily_window(now, zone, hour)
    if now.astimezone(zone).hour < hour:
        assert window is None
    else:
        assert window is not None
        assert (window.start, window.end) == day_of(window.start, zone)
        assert window.end == day_of(now, zone)[0]
        assert window.label == window.start.strftime("%Y-%m-%d")


def test_an_hourly_window_is_an_hour_of_utc_wherever_the_clock_stands() -> None:
    now = datetime(2026, 10, 25, 6, 45, tzinfo=ZoneInfo("Asia/Kolkata"))
    window = hourly_window(now)
    assert (window.start, window.end, window.label) == (
        utc("2026-10-25T00:00"),
        utc("2026-10-25T01:00"),
        "2026-10-25T00",
    )


@given(event=moments, wait=st.timedeltas(timedelta(0), timedelta(days=9)), zone=zones, hour=st.integers(0, 23))
def test_a_digest_is_due_as_soon_as_a_window_holds_the_event(
    event: datetime, wait: timedelta, zone: ZoneInfo, hour: int
) -> None:
    """Not earlier than said, and at the moment that was said."""
    now = event + wait
    due = digest_due(event, now, zone, hour)
    window = daily_window(due, zone, hour)
    assert due >= now
    assert window is not None
    assert event < window.end
    if due > now:
        earlier = daily_window(due - timedelta(seconds=1), zone, hour)
        assert earlier is None or earlier.end <= event


def test_an_hourly_digest_is_due_once_the_hour_is_over() -> None:
    assert digest_due(utc("2026-01-16T12:10"), utc("2026-01-16T12:20"), AMSTERDAM, None) == utc("2026-01-16T13:00")
    assert digest_due(utc("2026-01-16T12:10"), utc("2026-01-16T14:20"), AMSTERDAM, None) == utc("2026-01-16T14:20")
