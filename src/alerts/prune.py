"""Prune: delete finished rows that are older than wanted, in chunks that a run hardly notices.

Finished is what was sent, failed or skipped. What waits stays, whatever its age; so does what a digest
refers to that stays itself, and what keeps an event from reaching somebody twice. Events, and rows that
other software keeps in the same tables, are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from psycopg2 import sql

from src.alerts.phases.digest import MAX_WAIT
from src.db.connection import Database, Session, load_queries
from src.errors import Finding, UsageError

ROWS_PER_CHUNK = 10_000
MIN_AGE = MAX_WAIT + timedelta(days=1)
"""Quotas, digests and health look back a week at most."""

Progress = Callable[[str, int, int], None]
"""Called after each chunk with the stage, the last id looked at, and the last id there is."""

_SQL = load_queries(Path(__file__).parent / "sql", "prune")
_STAGES = {"digests": "user_alert_digests", "deliveries": "user_alert_deliveries", "runs": "alerts_engine_runs"}


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows deleted. `finished` is False if it was stopped: run it again."""

    digests: int
    deliveries: int
    runs: int
    finished: bool


def parse_age(text: str) -> timedelta:
    """`90d` as a duration. Raises UsageError for anything else, and for less than `MIN_AGE`."""
    match = re.fullmatch(r"([0-9]{1,5})d", text)
    if not match or timedelta(days=int(match[1])) < MIN_AGE:
        raise UsageError(
            Finding("usage.age", f"--older-than must be a number of days from {MIN_AGE.days}d, such as 90d")
        )
    return timedelta(days=int(match[1]))


def prune(
    database: Database, older_than: timedelta, now: datetime, progress: Progress, proceed: Callable[[], bool]
) -> Pruned:
    """Delete what was finished before `now - older_than`; `proceed` is asked after each chunk."""
    deleted = dict.fromkeys(_STAGES, 0)
    with database.session() as session:
        for stage in _STAGES:
            for rows in _chunks(session, stage, now - older_than, progress):
                deleted[stage] += rows
                if not proceed():
                    return Pruned(**deleted, finished=False)
    return Pruned(**deleted, finished=True)


def _chunks(session: Session, stage: str, before: datetime, progress: Progress) -> Iterator[int]:
    """Rows deleted, chunk by chunk; each is a transaction."""
    table = {"table": sql.Identifier(_STAGES[stage])}
    last_id = sql.SQL(_SQL["last_id"]).format(**table)
    chunk_end = sql.SQL(_SQL["chunk_end"]).format(**table)
    with session.transaction():
        end = session.value(last_id)
    done = 0
    while done < end:
        with session.transaction():
            last = session.value(chunk_end, {"after": done, "limit": ROWS_PER_CHUNK})
            if last is None:
                return
            rows = session.execute(_SQL[stage], {"after": done, "last": last, "before": before})
        done = last
        progress(stage, done, end)
        yield rows
