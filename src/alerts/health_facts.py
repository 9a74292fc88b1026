"""What health is judged by: the state of the queues, the last day's numbers, the run history. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from src.alerts.models import SKIPS, ChannelName
from src.alerts.rollout import Rollout
from src.db.connection import Database, load_queries
from src.db.embedded import resolve
from src.errors import DatabaseError, Finding
from src.settings import Settings

STUCK_AFTER = timedelta(minutes=15)  # longer than any request, and than the usual wait for the next run
LATELY = timedelta(minutes=30)
_SQL = load_queries(Path(__file__).parent / "sql", "health")


class Count(NamedTuple):
    """Messages of one channel, kind and status (or `batched`)."""

    channel: str
    kind: str
    status: str
    number: int


class Waiting(NamedTuple):
    """One queue: rows held back, creation of the oldest due row, and since when a row has been due."""

    queue: str
    held: int = 0
    oldest_at: datetime | None = None
    due_since: datetime | None = None


class LastRun(NamedTuple):
    run_id: str
    phase: str | None
    status: str
    triggered_by: str | None
    started_at: datetime | None
    duration_ms: int | None
    counts: Any


class Schedule(NamedTuple):
    last_started_at: datetime | None
    last_success_at: datetime | None


class Facts(NamedTuple):
    """As of `now`. `interval`: the cadence of runs; `switched_off`: the settings let no message out;
    `stopped`: messages have been due for `LATELY`, and for as long none was sent."""

    now: datetime
    interval: timedelta
    switched_off: bool
    deliveries: list[Count]
    digests: list[Count]
    waiting: Mapping[str, Waiting]
    stuck: int
    last_run: LastRun | None
    schedule: Schedule
    stopped: bool


def gather(
    settings: Settings, rollout: Rollout, channels: list[ChannelName], now: datetime, database: Database | None = None
) -> Facts:
    """Look at the database, or else at that of the settings, as of `now`. `channels`: those that are configured.

    Raises DatabaseError.
    """
    if settings.database_url is None:
        raise DatabaseError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server"))
    database = database or Database(resolve(settings.database_url))
    params: dict[str, Any] = {
        "now": now,
        "day_ago": now - timedelta(hours=24),
        "week_ago": now - timedelta(days=7),
        "stuck_before": now - STUCK_AFTER,
        "lately": now - LATELY,
        "max_age": settings.max_age,
        "channels": channels,
        "skips": sorted(SKIPS),
        "allowed": rollout.allowed_ids,
    }
    with database.session() as session, session.transaction(by_index=True):
        waiting = {row.queue: row for row in session.all(Waiting, _SQL["waiting"], params)}
        overdue = any(row.due_since and row.due_since <= params["lately"] for row in waiting.values())
        runs = session.all(LastRun, _SQL["last_run"])
        return Facts(
            now=now,
            interval=settings.expected_interval,
            switched_off=not settings.enabled or rollout.max_send == 0,
            deliveries=session.all(Count, _SQL["deliveries"], params),
            digests=session.all(Count, _SQL["digests"], params),
            waiting=waiting,
            stuck=session.value(_SQL["stuck"], params),
            last_run=runs[0] if runs else None,
            schedule=session.one(Schedule, _SQL["schedule"], params),
            stopped=overdue and not session.value(_SQL["sent_lately"], params),
        )
