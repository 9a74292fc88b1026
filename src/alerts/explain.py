"""Why does this user hear of this event, or not? The verdict of the fan-out, gate by gate and channel by channel.

It comes from the statement that decides in phase B (`decisions` in fanout.sql), as of `now`; for an event
whose fan-out is done it says what the same gates say today, and what became of the delivery. Changes
nothing, and shows no address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from src.alerts.models import FailureReason, Kind, MessageStatus, Period
from src.alerts.phases.fanout import DECISIONS, rule_params
from src.alerts.rollout import Rollout
from src.alerts.windows import digest_due
from src.db.connection import Database, load_queries
from src.errors import Finding, UsageError
from src.settings import Settings

_SQL = load_queries(Path(__file__).parent / "sql", "explain")


@dataclass(frozen=True, slots=True)
class Gate:
    """One question on the way. `passed` is None where an earlier gate left nothing to ask."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class ChannelVerdict:
    """`outcome` is what phase B does (`instant`, `digest`, `nothing`), or the status of what it did;
    `due_at` is when the message may leave at the earliest."""

    channel: str
    outcome: str
    stopped_by: str | None
    due_at: datetime | None
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    user_id: int
    event_id: int
    alert_type: str
    headline: str
    severity: int
    created_at: datetime
    plan: str
    fanned_out: bool
    fanout_scope: str | None
    channels: tuple[ChannelVerdict, ...]

    def document(self) -> dict[str, Any]:
        """JSON-ready; times in ISO 8601."""
        document: dict[str, Any] = _ready(asdict(self))
        return document


@dataclass(frozen=True, slots=True)
class _Subject:
    event_id: int
    alert_type: str
    headline: str
    severity: int
    created_at: datetime
    fanned_out: bool
    fanout_scope: str | None
    user_exists: bool
    rivals: list[int]


@dataclass(frozen=True, slots=True)
class _Verdict:
    channel: str
    plan: str
    offered: bool
    type_offered: bool
    type_wished: bool
    region_wished: bool
    asset_wished: bool
    threshold_reached: bool
    switched_on: bool
    mode_offered: bool
    reachable: bool
    instants_per_day: int
    hourly: bool
    taken: int | None
    place: int | None
    gate: str | None
    kind: str | None
    moved: bool
    delivery_kind: str | None
    status: str | None
    failure_reason: str | None
    next_retry_at: datetime | None
    sent_at: datetime | None


def explain(
    database: Database,
    settings: Settings,
    rollout: Rollout,
    user_id: int,
    event_id: int,
    now: datetime,
    since: timedelta = timedelta(hours=24),
) -> Explanation:
    """The verdict as of `now`; `since` is the look-back of the run in question, whose other open events
    compete for the places of the day. Raises UsageError for an unknown user or event."""
    with database.session() as session, session.transaction():
        params = {"user_id": user_id, "event_id": event_id, "now": now, "since": now - since}
        subjects = session.all(_Subject, _SQL["subject"], params)
        if not subjects:
            raise UsageError(Finding("explain.unknown_event", f"there is no alert event {event_id}"))
        (subject,) = subjects
        if not subject.user_exists:
            raise UsageError(Finding("explain.unknown_user", f"there is no user {user_id}"))
        everybody = Rollout(None, None, rollout.max_send)  # the allowlist is a gate here like the others
        rules = rule_params(session, settings, everybody, [event_id, *subject.rivals], now)
        verdicts = session.all(
            _Verdict, DECISIONS + _SQL["verdicts"], {**rules, **params, "after": user_id - 1, "last": user_id}
        )
    allowed = rollout.allowed is None or user_id in rollout.allowed
    return Explanation(
        user_id=user_id,
        event_id=event_id,
        alert_type=subject.alert_type,
        headline=subject.headline,
        severity=subject.severity,
        created_at=subject.created_at,
        plan=verdicts[0].plan,
        fanned_out=subject.fanned_out,
        fanout_scope=subject.fanout_scope,
        channels=tuple(_channel(verdict, subject, settings, rollout, allowed, now) for verdict in verdicts),
    )


def _channel(
    row: _Verdict, subject: _Subject, settings: Settings, rollout: Rollout, allowed: bool, now: datetime
) -> ChannelVerdict:
    gates: list[Gate] = []
    for name, passed, detail in _gates(row, subject, rollout, allowed):
        open_way = all(gate.passed for gate in gates)
        gates.append(Gate(name, passed if open_way else None, detail if open_way else "not asked"))
    stopped_by = next((gate.name for gate in gates if not gate.passed), None)
    if row.status is not None:
        outcome = f"{row.delivery_kind}: {row.failure_reason or row.status}"
    elif stopped_by not in (None, "cap"):
        outcome = "nothing"
    else:
        outcome = row.kind or "nothing"
    return ChannelVerdict(
        row.channel, outcome, stopped_by, _due_at(row, subject, settings, stopped_by, now), tuple(gates)
    )


def _gates(row: _Verdict, subject: _Subject, rollout: Rollout, allowed: bool) -> Iterator[tuple[str, bool, str]]:
    """The questions in the order in which the fan-out asks them."""
    yield "plan", row.offered, f"the plan {row.plan} {'offers' if row.offered else 'does not offer'} {row.channel}"
    yield "allowlist", allowed, "no allowlist, or on it" if allowed else "not on the allowlist"
    verb = "allows" if row.type_offered else "does not allow"
    yield "alert_type_plan", row.type_offered, f"the plan {row.plan} {verb} {subject.alert_type}"
    wished = "wishes for" if row.type_wished else "does not wish for"
    yield "alert_type", row.type_wished, f"the user {wished} {subject.alert_type}"
    yield "region", row.region_wished, "a wish for the region, or Global" if row.region_wished else "no wish for it"
    yield "asset", row.asset_wished, "no asset named, or the right one" if row.asset_wished else "another asset wished"
    yield "threshold", row.threshold_reached, "reached, or none" if row.threshold_reached else "the score is below it"
    yield "channel", row.switched_on, "on" if row.switched_on else "switched off by the user"
    yield "kind", row.mode_offered, _kind(row)
    yield "destination", row.reachable, "there" if row.reachable else "none, or an address that is not verified"
    if row.status is None:
        yield "quota", row.gate != "quota", _quota(row)
    yield "cap", rollout.max_send > 0, f"a run sends at most {rollout.max_send} messages"


def _kind(row: _Verdict) -> str:
    if not row.mode_offered:
        return f"digests wished, and {row.channel} has none"
    if row.delivery_kind or row.kind:
        return str(row.delivery_kind or row.kind) + (", moved there by the quota" if row.moved else "")
    return "instant or digest"


def _quota(row: _Verdict) -> str:
    if row.place is None:
        return "not needed: it goes into the digest"
    over = ": over it" if row.moved or row.gate == "quota" else ""
    return f"{row.instants_per_day} a day, {row.taken} taken, this would be number {(row.taken or 0) + row.place}{over}"


def _due_at(
    row: _Verdict, subject: _Subject, settings: Settings, stopped_by: str | None, now: datetime
) -> datetime | None:
    """When a message may leave; None if none will, or if it has left."""
    batched = row.failure_reason == FailureReason.BATCHED_INTO_DIGEST
    if row.status is not None and (row.status != MessageStatus.QUEUED or batched):
        return None
    if row.status is None and (stopped_by not in (None, "cap") or row.kind is None):
        return None
    if (row.delivery_kind or row.kind) == Kind.DIGEST:
        hourly = row.hourly or settings.digest_period == Period.HOURLY
        return digest_due(subject.created_at, now, settings.zone, None if hourly else settings.digest_hour)
    return max(row.next_retry_at or now, now)


def _ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_ready(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
