"""Health: is the service well, what ran, what waits and how old it is. Changes nothing, names nobody.

`fail` only when something is broken, `warn` when it is busy or late; a schedule does get dropped, and
rows that the allowlist or a missing configuration holds back are no sign of either. The document
(DESIGN 3.3) always has all its keys: what is not known is null or empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from src.alerts.channels.configuration import configuration
from src.alerts.checks import Check, Severity, run_checks
from src.alerts.health_facts import Count, Facts, LastRun, Waiting, gather
from src.alerts.models import ChannelName, Kind, MessageStatus, RunStatus, StopReason
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.errors import AlertsError, Finding
from src.settings import Settings

SCHEMA_VERSION = 1
LATE_AFTER = timedelta(minutes=15)
MISSED_RUNS = 3
TOTALS = ("sent", "failed", "retried", "skipped")


def health(
    settings: Settings,
    errors: list[Finding],
    warnings: list[Finding],
    rollout: Rollout,
    now: datetime,
    database: Database | None = None,
) -> dict[str, Any]:
    """The document as of `now`. `errors`, `warnings`: what reading the settings found; `database`: the one to
    ask if not that of the settings. Never raises for trouble with the database."""
    channels = [name for name, channel in configuration(settings).items() if channel.complete]
    try:
        facts = gather(settings, rollout, channels, now, database)
    except AlertsError as error:
        return _document(now, "fail", None, channels, errors=[*errors, *error.findings], warnings=warnings)
    report = run_checks(CHECKS, facts)
    status = "fail" if errors or report.errors else "warn" if report.warnings else "pass"
    findings = {"errors": [*errors, *report.errors], "warnings": [*warnings, *report.warnings]}
    return _document(now, status, facts, channels, **findings)


def computed(document: Mapping[str, Any]) -> bool:
    """Whether a document says how the service is, rather than that nobody could find out."""
    return document["held"] is not None


def _not_sending(facts: Facts) -> Iterable[Finding]:
    if facts.stopped and not facts.switched_off:
        mend = "look at the last run's errors, and whether the schedule runs"
        yield Finding("sending.stopped", f"messages are due and none was sent for 30 minutes: {mend}")


def _switched_off(facts: Facts) -> Iterable[Finding]:
    if facts.switched_off and any(waiting.due_since for waiting in facts.waiting.values()):
        mend = "ALERTS_V2_ENABLED is false or ALERTS_MAX_SEND_PER_RUN is 0: change that to send"
        yield Finding("sending.switched_off", f"messages are due and stay queued: {mend}")


def _stuck(facts: Facts) -> Iterable[Finding]:
    if facts.stuck:
        mend = "run phase c, which picks up what a killed run had claimed"
        yield Finding("sending.stuck", f"messages that are claimed while no run sends them: {facts.stuck}: {mend}")


def _failed_run(facts: Facts) -> Iterable[Finding]:
    run = facts.last_run
    if run and run.status == RunStatus.FAILED:
        yield Finding("run.failed", f"the last run failed: invoke runs --run {run.run_id} says why")


def _late(facts: Facts) -> Iterable[Finding]:
    minutes = _minutes(facts, "deliveries")
    if minutes is not None and minutes > LATE_AFTER / timedelta(minutes=1):
        mend = "raise ALERTS_MAX_SEND_PER_RUN or the rate limits if this lasts"
        yield Finding("sending.late", f"the oldest due alert waits for {minutes} minutes: {mend}")


def _no_run(facts: Facts) -> Iterable[Finding]:
    last, limit = facts.schedule.last_started_at, MISSED_RUNS * facts.interval
    if last is None or facts.now - last > limit:
        since = f"for more than {limit // timedelta(minutes=1)} minutes" if last else "so far"
        mend = "GitHub drops schedules at times: if it lasts, see whether the workflow is enabled"
        yield Finding("schedule.no_run", f"no run has started {since}: {mend}")


CHECKS: tuple[Check[Facts], ...] = (
    Check(Severity.ERROR, _not_sending),
    Check(Severity.ERROR, _stuck),
    Check(Severity.ERROR, _failed_run),
    Check(Severity.WARNING, _switched_off),
    Check(Severity.WARNING, _late),
    Check(Severity.WARNING, _no_run),
)


def _minutes(facts: Facts, queue: str) -> int | None:
    """Whole minutes since the oldest due row of a queue was created."""
    oldest = facts.waiting.get(queue, Waiting(queue)).oldest_at
    return None if oldest is None else max((facts.now - oldest) // timedelta(minutes=1), 0)


def _document(
    now: datetime, status: str, facts: Facts | None, channels: list[ChannelName], **findings: list[Finding]
) -> dict[str, Any]:
    queues = ("deliveries", "digests")
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": _moment(now),
        "status": status,
        "deliveries_24h": _deliveries(facts.deliveries, channels) if facts else {},
        "digests_7d": _digests(facts.digests, channels) if facts else {},
        "oldest_queued_minutes": {queue: _minutes(facts, queue) if facts else None for queue in queues},
        "held": sum(waiting.held for waiting in facts.waiting.values()) if facts else None,
        "stuck_sending": facts.stuck if facts else None,
        "last_run": _last_run(facts.last_run) if facts and facts.last_run else None,
        "last_success_at": _moment(facts.schedule.last_success_at) if facts else None,
        "warnings": [str(finding) for finding in findings["warnings"]],
        "errors": [str(finding) for finding in findings["errors"]],
    }


def _deliveries(counts: list[Count], channels: list[ChannelName]) -> dict[str, Any]:
    """By channel, of those that are configured or have rows."""
    return {
        channel.value: {
            "instant": _by_status(counts, channel, Kind.INSTANT, tuple(MessageStatus)),
            "digest": _by_status(counts, channel, Kind.DIGEST, (MessageStatus.QUEUED, "batched")),
        }
        for channel in ChannelName
        if channel in channels or any(count.channel == channel and count.number for count in counts)
    }


def _digests(counts: list[Count], channels: list[ChannelName]) -> dict[str, Any]:
    """The same for digests; SMS has none."""
    return {
        channel.value: _by_status(counts, channel, Kind.DIGEST, tuple(MessageStatus))
        for channel in (ChannelName.EMAIL, ChannelName.TELEGRAM)
        if channel in channels or any(count.channel == channel and count.number for count in counts)
    }


def _by_status(counts: list[Count], channel: ChannelName, kind: Kind, statuses: tuple[str, ...]) -> dict[str, int]:
    found = Counter[str]()
    for count in counts:
        if (count.channel, count.kind) == (channel, kind):
            found[count.status] += count.number
    return {str(status): found[status] for status in statuses}


def _last_run(run: LastRun) -> dict[str, Any]:
    counts = run.counts if isinstance(run.counts, dict) else {}
    reason = counts.get("stop_reason")
    return {
        "run_id": run.run_id,
        "phase": run.phase,
        "status": run.status,
        "triggered_by": run.triggered_by,
        "started_at": _moment(run.started_at),
        "duration_ms": run.duration_ms,
        "totals": {name: counts[name] if isinstance(counts.get(name), int) else 0 for name in TOTALS},
        "stopped_early": reason not in (None, StopReason.CHANNEL_HALTED),
        "stop_reason": reason,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
