"""The health document and the last run's phases in Prometheus' text format (version 0.0.4).

Names of metrics are a contract: alerts of other people rely on them. Numbers are those of the window named
in the help text, so all of them are gauges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from src.alerts.engine_observability import PhaseRecord

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample: TypeAlias = tuple[Mapping[str, str], float | None]


def prometheus_text(health: Mapping[str, Any], phases: Iterable[PhaseRecord]) -> str:
    """`health`: a document that could be computed; what it does not know is left out."""
    return "".join(_lines(health, phases))


def _lines(health: Mapping[str, Any], phases: Iterable[PhaseRecord]) -> Iterator[str]:
    states = [({"status": name}, float(name == health["status"])) for name in ("pass", "warn", "fail")]
    yield _metric("alerts_health", "1 for the status of the service", states)
    yield _metric("alerts_deliveries", "Deliveries of the last 24 hours", _deliveries(health["deliveries_24h"]))
    digests = [
        ({"channel": channel, "status": status}, count)
        for channel, statuses in health["digests_7d"].items()
        for status, count in statuses.items()
    ]
    yield _metric("alerts_digests", "Digests of the last 7 days", digests)
    ages = [({"queue": name}, age and age * 60) for name, age in health["oldest_queued_minutes"].items()]
    yield _metric("alerts_oldest_queued_seconds", "Age of the oldest due message; absent if none is due", ages)
    yield _metric("alerts_held", "Messages held by the allowlist or a channel without keys", [({}, health["held"])])
    yield _metric(
        "alerts_stuck_sending", "Messages that a run claimed and nobody sends", [({}, health["stuck_sending"])]
    )
    succeeded = _seconds(health["last_success_at"])
    yield _metric("alerts_last_success_timestamp_seconds", "When a run last succeeded", [({}, succeeded)])
    yield from _last_run(health["last_run"], phases)


def _last_run(run: Mapping[str, Any] | None, phases: Iterable[PhaseRecord]) -> Iterator[str]:
    if run is None:
        return
    yield _metric("alerts_last_run_timestamp_seconds", "When the last run began", [({}, _seconds(run["started_at"]))])
    yield _metric("alerts_last_run_failed", "1 if the last run failed", [({}, float(run["status"] == "failed"))])
    duration = run["duration_ms"]
    yield _metric(
        "alerts_last_run_duration_seconds", "How long the last run took", [({}, duration and duration / 1000)]
    )
    totals = [({"result": result}, count) for result, count in run["totals"].items()]
    yield _metric("alerts_last_run_messages", "What the last run did with its messages", totals)
    durations = [({"phase": str(phase.phase)}, phase.duration_ms and phase.duration_ms / 1000) for phase in phases]
    yield _metric("alerts_last_run_phase_duration_seconds", "How long its phases took", durations)


def _deliveries(channels: Mapping[str, Any]) -> Iterator[Sample]:
    for channel, kinds in channels.items():
        for kind, statuses in kinds.items():
            for status, count in statuses.items():
                yield {"channel": channel, "kind": kind, "status": status}, count


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _metric(name: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}\n", f"# TYPE {name} gauge\n"]
    for labels, value in samples:
        if value is not None:
            shown = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
            lines.append(f"{name}{{{shown}}} {value}\n" if shown else f"{name} {value}\n")
    return "".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
