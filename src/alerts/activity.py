"""The last hours at a glance: what was sent and failed by hour and channel, and why what failed did.

No ids of people, no addresses: a failure is its reason, and the provider's status and code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from src.alerts.models import ChannelName, FailureReason
from src.db.connection import Session, load_queries

HOUR = timedelta(hours=1)
_SQL = load_queries(Path(__file__).parent / "sql", "activity")
_OUTAGE = "nothing if it was short; after an outage, `invoke retry-failed` queues them again"
MENDS = {
    FailureReason.INVALID_DESTINATION: "nothing: the user has to correct the address",
    FailureReason.MISSING_DESTINATION: "nothing: the user has to add an address",
    FailureReason.BLOCKED_BY_USER: "nothing: the user does not want us there",
    FailureReason.CONTENT_REJECTED: "look at the code with the provider; if it is our text, report it",
    FailureReason.RATE_LIMITED: "lower the channel's ALERTS_RATE_LIMIT_…_PER_MINUTE, then `invoke retry-failed`",
    FailureReason.PROVIDER_UNAVAILABLE: _OUTAGE,
    FailureReason.TIMEOUT: _OUTAGE,
    FailureReason.CONNECTION: _OUTAGE,
    FailureReason.CREDENTIALS: "correct the channel's key or sender; preflight names its variables",
    FailureReason.ACCOUNT: "look at the account with the provider: quota, credit, verification",
    FailureReason.OUTCOME_UNKNOWN: "it may have arrived; ALERTS_UNKNOWN_OUTCOME decides about such messages",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages of one channel in one hour."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Hour:
    """`channels` has those that sent or failed anything within the whole stretch."""

    start: datetime
    channels: Mapping[str, Sent]


@dataclass(frozen=True, slots=True)
class Failure:
    """Messages that failed alike. `reason` is a `FailureReason`; `detail` is provider, status and code."""

    queue: str
    channel: str
    reason: str
    detail: str | None
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Activity:
    """Hours of UTC, the oldest first, the last one under way; `mends`: reason → what to do about it."""

    hours: tuple[Hour, ...]
    failures: tuple[Failure, ...]
    mends: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _HourRow:
    start: datetime
    channel: str
    sent: int
    failed: int


def activity(session: Session, now: datetime, hours: int) -> Activity:
    """The hour around `now` and those before it, `hours` in all. Raises DatabaseError."""
    latest = now.replace(minute=0, second=0, microsecond=0)
    starts = [latest - HOUR * back for back in reversed(range(hours))]
    with session.transaction():
        rows = session.all(_HourRow, _SQL["hours"], {"since": starts[0]})
        failures = session.all(Failure, _SQL["failures"], {"since": now - HOUR * hours})
    found = {(row.start, row.channel): Sent(row.sent, row.failed) for row in rows}
    channels = [name.value for name in ChannelName if any(row.channel == name for row in rows)]
    by_hour = (Hour(start, {name: found.get((start, name), Sent()) for name in channels}) for start in starts)
    reasons = {failure.reason for failure in failures}
    return Activity(tuple(by_hour), tuple(failures), {reason: MENDS[reason] for reason in MENDS if reason in reasons})
