"""Phase D: queued deliveries of kind digest become the items of one message per user, channel and window.

A user's window is the last closed one of their period: yesterday in `ALERTS_TIMEZONE` (23 or 25 hours
at a clock change), built from `ALERTS_DIGEST_HOUR` on, or the last full hour, counted in UTC so that
the hour that the clocks repeat is two windows. Everything that waits and whose event is older than the
window's end goes into it, so a missed day strands nothing; once that digest is being sent, the rest
waits for the next. Items that waited for more than 7 days expire. Attaching and marking is one
statement. Rules: DESIGN section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from src.alerts.models import Period
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.fanout import day_of
from src.db.connection import Session, load_queries
from src.settings import Settings

DELIVERIES_PER_CHUNK = 20_000
MAX_WAIT = timedelta(days=7)

_SQL = load_queries(Path(__file__).parents[1] / "sql", "digest")


@dataclass(frozen=True, slots=True)
class Window:
    """A closed window; `label` ends the digest's key."""

    start: datetime
    end: datetime
    label: str


@dataclass(frozen=True, slots=True)
class _Built:
    created: int = 0
    attached: int = 0
    marked: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class _Chunk:
    last: int
    final: bool


def run(context: PhaseContext) -> dict[str, Any]:
    """Build the digests that are due; the counts."""
    totals = dict.fromkeys((field.name for field in fields(_Built)), 0)
    with context.database.session() as session:
        params = _params(context, context.clock())
        chunk = _Chunk(last=0, final=False)
        while not chunk.final and context.proceed():
            params["after"] = chunk.last
            with session.transaction():
                chunk = session.one(_Chunk, _SQL["chunk"], params)
                built = _build(session, {**params, "last": chunk.last})
            totals = {name: total + getattr(built, name) for name, total in totals.items()}
    return {
        "digests_created": totals["created"],
        "digest_items_attached": totals["attached"],
        "deliveries_marked_batched": totals["marked"],
        "deliveries_expired": totals["expired"],
    }


def daily_window(now: datetime, settings: Settings) -> Window | None:
    """Yesterday in the settings' time zone; None before the hour from which it is built."""
    if now.astimezone(settings.zone).hour < settings.digest_hour:
        return None
    today, _ = day_of(now, settings.zone)
    start, end = day_of(today - timedelta(microseconds=1), settings.zone)
    return Window(start, end, f"{start:%Y-%m-%d}")


def hourly_window(now: datetime) -> Window:
    """The last full hour (UTC)."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=1)
    return Window(start, end, f"{start:%Y-%m-%dT%H}")


def _params(context: PhaseContext, now: datetime) -> dict[str, Any]:
    params: dict[str, Any] = {
        "now": now,
        "expired_before": now - MAX_WAIT,
        "allowed": context.rollout.allowed_ids,
        "all_hourly": context.settings.digest_period == Period.HOURLY,
        "limit": DELIVERIES_PER_CHUNK,
    }
    windows = {Period.DAILY: daily_window(now, context.settings), Period.HOURLY: hourly_window(now)}
    for period, window in windows.items():
        for name in ("start", "end", "label"):
            params[f"{period}_{name}"] = getattr(window, name) if window else None
    return params


def _build(session: Session, params: dict[str, Any]) -> _Built:
    session.execute(_SQL["tune"])
    expired = session.execute(_SQL["expire"], params)
    built = session.one(_Built, _SQL["build"], params)
    return _Built(built.created, built.attached, built.marked, expired)
