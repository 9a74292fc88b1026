"""Phase B: open events × interested users become queued deliveries, in one pass over the users.

Each chunk of users is one statement and one transaction, and crosses all open events, so that quotas
are settled within it: severest first, then oldest. A chunk that ran already finds its rows there, so a
run that was stopped or killed is simply repeated; `fanout_completed_at` commits with the last chunk.

Units of the counts: (event, user, channel) over the channels that the user's plan offers, each counted
at the first gate that stops it. Rules: DESIGN section 5 and invariants I1, I4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from src.alerts.phases.chunks import Chunk, tuned_transaction, walk
from src.alerts.phases.context import PhaseContext
from src.alerts.rollout import Rollout
from src.alerts.windows import day_of
from src.db.connection import Session, load_queries
from src.settings import Settings

PAIRS_PER_CHUNK = 30_000  # events × users: about a second's work, so that a signal is heard soon

_SQL = load_queries(Path(__file__).parents[1] / "sql", "fanout")
DECISIONS = _SQL["decisions"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the triples that were looked at; `users` are those inside the allowlist."""

    users: int = 0
    created: int = 0
    allowlist: int = 0
    prefs: int = 0
    missing_dest: int = 0
    quota: int = 0
    expired: int = 0
    moved: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class _EventId:
    id: int


def run(context: PhaseContext) -> dict[str, Any]:
    """Fan out every open event of the look-back; the counts."""
    now = context.clock()
    with context.database.session() as session:
        with session.transaction():
            found = session.all(_EventId, _SQL["open_events"], {"now": now, "since": now - context.since})
        events = [event.id for event in found]
        tally, done = fan_out(context, session, events, now)
    return {
        "events_processed": len(events) if done else 0,
        "users_considered": tally.users,
        "deliveries_created": tally.created,
        "deliveries_skipped_allowlist": tally.allowlist,
        "deliveries_skipped_prefs": tally.prefs,
        "deliveries_skipped_missing_dest": tally.missing_dest,
        "deliveries_skipped_quota": tally.quota,
        "moved_to_digest": tally.moved,
    }


def fan_out(
    context: PhaseContext, session: Session, events: Sequence[int], now: datetime, stale_before: datetime | None = None
) -> tuple[Tally, bool]:
    """Cross `events` with all users; the tally, and whether the last user was reached.

    Events created before `stale_before` are too old for an instant: they go into digests, or nowhere.
    """
    tally, done = Tally(), not events
    if events:
        wave = _Wave(context, rule_params(session, context.settings, context.rollout, events, now, stale_before))
        for chunk, part in walk(context, session, wave.next_chunk, wave.cross):
            tally += part
            done = chunk.final
    return tally, done


def rule_params(
    session: Session,
    settings: Settings,
    rollout: Rollout,
    events: Sequence[int],
    now: datetime,
    stale_before: datetime | None = None,
) -> dict[str, Any]:
    """What the statement `decisions` needs beside the range of users."""
    day_start, day_end = day_of(now, settings.zone)
    with session.transaction():
        days_events = session.all(_EventId, _SQL["days_events"], {"day_start": day_start, "max_age": settings.max_age})
    return {
        "days_events": [event.id for event in days_events],
        "now": now,
        "events": list(events),
        "allowed": rollout.allowed_ids,
        "stale_before": stale_before,
        "day_start": day_start,
        "day_end": day_end,
    }


class _Wave:
    """The events of one pass, and what the statements need to know."""

    def __init__(self, context: PhaseContext, rules: dict[str, Any]) -> None:
        self._completes = not context.rollout.narrowed
        self._params = {
            "limit": max(PAIRS_PER_CHUNK // len(rules["events"]), 1),
            "scope": "all" if context.rollout.allowed is None else "allowlist",
            **rules,
        }

    def next_chunk(self, session: Session, after: int) -> Chunk:
        with session.transaction():
            return session.one(Chunk, _SQL["chunk"], {**self._params, "after": after})

    def cross(self, session: Session, chunk: Chunk) -> Tally:
        """Create the deliveries of a chunk; with the last one the events are done."""
        params = {**self._params, "after": chunk.after, "last": chunk.last}
        with tuned_transaction(session):
            tally = session.one(Tally, DECISIONS + _SQL["fan_out"], params)
            if chunk.final and self._completes:
                session.execute(_SQL["complete"], params)
        return tally
