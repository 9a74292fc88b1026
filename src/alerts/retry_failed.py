"""Give messages another chance that failed for no fault of their recipient or content: an outage, a wait.

What the recipient or our content caused stays failed, and so does what may have been sent already
(`outcome_unknown`), what has become too old, and whatever is for somebody outside the allowlist. Phase C
checks each message again when it claims it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from psycopg2 import sql

from src.alerts.models import FailureReason
from src.alerts.phases.outbound import Queue
from src.alerts.retry import OUTAGES
from src.db.connection import Session, load_queries
from src.settings import Settings

CHUNK = 5000
TRANSIENT = OUTAGES | {FailureReason.RATE_LIMITED}
_SQL = load_queries(Path(__file__).parent / "sql", "retry_failed")


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What failed: `eligible` may be tried again, channel → reason → how many; `left` may not, why → how many.
    `requeued`: how many were queued again."""

    eligible: Mapping[str, Mapping[str, int]]
    left: Mapping[str, int]
    requeued: int

    @property
    def total(self) -> int:
        """How many may be tried again."""
        return sum(sum(reasons.values()) for reasons in self.eligible.values())


@dataclass(frozen=True, slots=True)
class _Group:
    channel: str
    failure_reason: str | None
    refusal: str | None
    count: int


def retry_failed(
    session: Session, settings: Settings, kind: Queue, since: timedelta, now: datetime, *, execute: bool
) -> RetryReport:
    """Count what was made within `since` before `now` and failed; with `execute`, queue again what may be.

    Raises DatabaseError; what was queued until then stays queued.
    """
    failed = sql.SQL(_SQL[f"failed_{kind}"])
    params = {
        "transient": sorted(TRANSIENT),
        "now": now,
        "oldest": now - settings.max_age,
        "since": now - since,
        "allowed": None if settings.allowlist is None else sorted(settings.allowlist),
        "chunk": CHUNK,
    }
    with session.transaction():
        groups = session.all(_Group, sql.SQL(_SQL["count"]).format(failed=failed), params)
    eligible: dict[str, dict[str, int]] = {}
    left: Counter[str] = Counter()
    for group in groups:
        if group.refusal:
            left[group.refusal] += group.count
        else:
            eligible.setdefault(group.channel, {})[str(group.failure_reason)] = group.count
    requeued = 0
    requeue = sql.SQL(_SQL["requeue"]).format(failed=failed, table=sql.Identifier(f"user_alert_{kind}"))
    chunk = int(execute)
    while chunk:
        with session.transaction():
            chunk = session.execute(requeue, params)
        requeued += chunk
    return RetryReport(eligible, left, requeued)
