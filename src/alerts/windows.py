"""Calendar days and digest windows: pure functions of the moment and the time zone (invariant I9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Window:
    """A closed stretch of time; `label` ends the keys of its digests."""

    start: datetime
    end: datetime
    label: str


def day_of(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end of the calendar day in `zone` around `moment`; 23 or 25 hours at a clock change."""
    day = moment.astimezone(zone).date()
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def daily_window(now: datetime, zone: ZoneInfo, hour: int) -> Window | None:
    """Yesterday in `zone`; None before the local hour from which its digest is built."""
    local = now.astimezone(zone)
    if local.hour < hour:
        return None
    yesterday = local.date() - timedelta(days=1)
    end = datetime.combine(local.date(), time(), zone)
    return Window(datetime.combine(yesterday, time(), zone), end, f"{yesterday:%Y-%m-%d}")


def hourly_window(now: datetime) -> Window:
    """The last full hour of UTC, where no hour comes twice."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=1)
    return Window(start, end, f"{start:%Y-%m-%dT%H}")


def digest_due(moment: datetime, now: datetime, zone: ZoneInfo, hour: int | None) -> datetime:
    """When the digest that holds something of `moment` can be built, `now` at the earliest: from the local
    hour on of a day after its own, or (`hour` None) once its full hour is over."""
    if hour is None:
        return max(now, moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
    day = max(moment.astimezone(zone).date() + timedelta(days=1), now.astimezone(zone).date())
    return max(now, datetime.combine(day, time(hour), zone))
