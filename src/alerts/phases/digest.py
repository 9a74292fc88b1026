"""Phase D: queued deliveries of kind digest become the items of one message per user, channel and window.

A user's window is the last closed one of their period: yesterday in `ALERTS_TIMEZONE` (23 or 25 hours
at a clock change), built from `ALERTS_DIGEST_HOUR` on, or the last full hour, counted in UTC so that
the hour that the clocks repeat is two windows. Everything that waits and whose event is older than the
window's end goes into it, so a missed day strands nothing; once that digest is being sent, the rest
waits for the next. Items that waited for more than 7 days expire. Attaching and marking is one
statement. Rules: DESIGN section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from src.alerts.models import Period
from src.alerts.phases.chunks import Chunk, tuned_transaction, walk
from src.alerts.phases.context import PhaseContext
from src.alerts.windows import daily_window, hourly_window
from src.db.connection import Session, load_queries

DELIVERIES_PER_CHUNK = 20_000
MAX_WAIT = timedelta(days=7)

_SQL = load_queries(Path(__file__).parents[1] / "sql", "digest")


@dataclass(frozen=True, slots=True)
class _Built:
    created: int
    attached: int
    marked: int


def run(context: PhaseContext) -> dict[str, Any]:
    """Build the digests that are due; the counts."""
    counts = dict.fromkeys(
        ("digests_created", "digest_items_attached", "deliveries_marked_batched", "deliveries_expired"), 0
    )
    params = _params(context, context.clock())

    def next_chunk(session: Session, after: int) -> Chunk:
        with session.transaction():
            return session.one(Chunk, _SQL["chunk"], {**params, "after": after})

    def build(session: Session, chunk: Chunk) -> tuple[int, _Built]:
        own = {**params, "after": chunk.after, "last": chunk.last}
        with tuned_transaction(session):
            return session.execute(_SQL["expire"], own), session.one(_Built, _SQL["build"], own)

    with context.database.session() as session:
        for _, (expired, built) in walk(context, session, next_chunk, build):
            counts["digests_created"] += built.created
            counts["digest_items_attached"] += built.attached
            counts["deliveries_marked_batched"] += built.marked
            counts["deliveries_expired"] += expired
    return counts


def _params(context: PhaseContext, now: datetime) -> dict[str, Any]:
    settings = context.settings
    params: dict[str, Any] = {
        "now": now,
        "expired_before": now - MAX_WAIT,
        "allowed": context.rollout.allowed_ids,
        "all_hourly": settings.digest_period == Period.HOURLY,
        "limit": DELIVERIES_PER_CHUNK,
    }
    windows = {
        Period.DAILY: daily_window(now, settings.zone, settings.digest_hour),
        Period.HOURLY: hourly_window(now),
    }
    for period, window in windows.items():
        for name in ("start", "end", "label"):
            params[f"{period}_{name}"] = getattr(window, name) if window else None
    return params
