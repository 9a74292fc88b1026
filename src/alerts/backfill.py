"""Backfill: fan out events again that an allowlist of the environment kept from the rest (invariant I4).

Nobody hears twice: who has a row for an event on a channel is passed over. The others are judged by the
rules of phase B as of now, quotas included; what is older than `ALERTS_MAX_AGE_HOURS` goes into their
digest (and, where a channel has none, nowhere). Under an allowlist, wider than then, the events stay
restricted. Holds the lock of phase B, so that it and a run never do the same at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from src.alerts.models import Phase
from src.alerts.phases import fanout
from src.alerts.phases.context import PhaseContext
from src.db.connection import load_queries
from src.errors import DatabaseError, Finding

_SQL = load_queries(Path(__file__).parent / "sql", "fanout")


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did, or with a simulating database would do. `finished` is False if it was stopped
    before the last user: run it again."""

    events: int
    deliveries_created: int
    moved_to_digest: int
    skipped_expired: int
    finished: bool


@dataclass(frozen=True, slots=True)
class _EventId:
    id: int


def run(context: PhaseContext) -> Backfilled:
    """Fan out the restricted events of `context.since`. Raises DatabaseError if a run holds phase B."""
    now = context.clock()
    if not context.locks.try_phase(Phase.FANOUT):
        text = "a run is fanning out just now, and nothing was changed: try again when it is done"
        raise DatabaseError(Finding("lock.not_acquired", text))
    try:
        with context.database.simulation(), context.database.session() as session:
            with session.transaction():
                found = session.all(_EventId, _SQL["restricted_events"], {"now": now, "since": now - context.since})
            stale_before = now - context.settings.max_age
            tally, finished = fanout.fan_out(context, session, [event.id for event in found], now, stale_before)
    finally:
        context.locks.release_phase()
    return Backfilled(len(found), tally.created, tally.moved, tally.expired, finished)
