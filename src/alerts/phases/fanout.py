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
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from src.alerts.phases.context import PhaseContext
from src.db.connection import Session, load_queries

TRIPLES_PER_CHUNK = 60_000  # about a second's work, so that a signal is heard soon
CHANNELS = 3

_SQL = load_queries(Path(__file__).parents[1] / "sql", "fanout")
_FAN_OUT = _SQL["decisions"] + _SQL["fan_out"]


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


@dataclass(frozen=True, slots=True)
class _Chunk:
    last: int
    final: bool


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
    tally = Tally()
    if not events:
        return tally, True
    day_start, day_end = day_of(now, context.settings.zone)
    params: dict[str, Any] = {
        "now": now,
        "events": list(events),
        "allowed": context.rollout.allowed_ids,
        "stale_before": stale_before,
        "day_start": day_start,
        "day_end": day_end,
        "scope": "all" if context.rollout.allowed is None else "allowlist",
        "limit": max(TRIPLES_PER_CHUNK // (len(events) * CHANNELS), 10),
    }
    chunk = _Chunk(last=0, final=False)
    while not chunk.final:
        if not context.proceed():
            return tally, False
        with session.transaction():
            params["after"] = chunk.last
            chunk = session.one(_Chunk, _SQL["chunk"], params)
            session.execute(_SQL["tune"])
            tally += session.one(Tally, _FAN_OUT, {**params, "last": chunk.last})
            if chunk.final and not context.rollout.narrowed:
                session.execute(_SQL["complete"], params)
    return tally, True


def day_of(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end of the calendar day in `zone` around `moment` (23 to 25 hours)."""
    day = moment.astimezone(zone).date()
    return (
        datetime.combine(day, time(), zone),
        datetime.combine(day + timedelta(days=1), time(), zone),
    )
