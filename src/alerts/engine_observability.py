"""The run history: every real run leaves a row in `alerts_engine_runs` and one per phase in its items.

Each write is a transaction of its own, so that what happened is on record even if the run fails
later. Callers decide what a failure to write means (for a run: a warning, never its end).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from src.alerts.models import PhaseResult, RunStatus
from src.db.connection import Session, load_queries
from src.db.locks import RunLocks

SUMMARY_LIMIT = 2000
_CUT_MARK = " … (cut)"
_GONE = "run.gone: the process ended before it could finish this record; the next run picks up what it had claimed"
_SQL = load_queries(Path(__file__).parent / "sql", "runs")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `status` is a `RunStatus`, or a word of older software; times are UTC."""

    run_id: str
    phase: str | None
    dry_run: bool
    triggered_by: str | None
    actor: str | None
    git_sha: str | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    status: str | None
    counts: Mapping[str, Any] | None
    error_summary: str | None
    rollout: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One phase of a run."""

    phase: str | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    status: str | None
    counts: Mapping[str, Any] | None
    error_summary: str | None


@dataclass(frozen=True, slots=True)
class RunDetail:
    run: RunRecord
    phases: tuple[PhaseRecord, ...]


@dataclass(frozen=True, slots=True)
class _RunId:
    run_id: str


def start_run(
    session: Session,
    *,
    run_id: str,
    phase: str,
    dry_run: bool = False,
    triggered_by: str,
    started_at: datetime,
    git_sha: str | None,
    actor: str | None,
    rollout: Mapping[str, Any],
) -> None:
    """Record that a run begins. The caller holds the run's lock already, by which others know that it lives."""
    params = {
        "run_id": run_id,
        "phase": phase,
        "dry_run": dry_run,
        "triggered_by": triggered_by,
        "started_at": started_at,
        "git_sha": git_sha,
        "actor": actor,
        "rollout": dict(rollout),
    }
    with session.transaction():
        session.execute(_SQL["start_run"], params)


def finish_phase(session: Session, run_id: str, result: PhaseResult, finished_at: datetime) -> None:
    """Record what a phase did."""
    params = {
        "run_id": run_id,
        "phase": result.phase,
        "started_at": result.started_at,
        "finished_at": finished_at,
        "duration_ms": result.duration_ms,
        "status": result.status,
        "counts": result.counts,
        "error_summary": _cut(result.error),
    }
    with session.transaction():
        session.execute(_SQL["finish_phase"], params)


def finish_run(
    session: Session,
    *,
    run_id: str,
    finished_at: datetime,
    duration_ms: int,
    status: RunStatus,
    counts: Mapping[str, Any],
    error_summary: str | None,
) -> None:
    """Record how a run ended; a summary past `SUMMARY_LIMIT` characters is cut, and says so."""
    params = {
        "run_id": run_id,
        "finished_at": finished_at,
        "duration_ms": duration_ms,
        "status": status,
        "counts": dict(counts),
        "error_summary": _cut(error_summary),
    }
    with session.transaction():
        session.execute(_SQL["finish_run"], params)


def close_dead_runs(session: Session, locks: RunLocks, now: datetime, own_run_id: str) -> int:
    """Mark runs as failed that are on record as running while nobody holds their lock; how many."""
    with session.transaction():
        unfinished = session.all(_RunId, _SQL["unfinished_runs"], {"own_run_id": own_run_id})
    gone = [run.run_id for run in unfinished if not locks.is_alive(run.run_id)]
    with session.transaction():
        return sum(
            session.execute(_SQL["close_run"], {"run_id": run_id, "now": now, "error_summary": _GONE})
            for run_id in gone
        )


def list_runs(session: Session, limit: int) -> list[RunRecord]:
    """The newest runs first, at most `limit`."""
    with session.transaction():
        return session.all(RunRecord, _SQL["list_runs"], {"limit": limit})


def run_detail(session: Session, run_id: str) -> RunDetail | None:
    """A run with its phases; None if there is no such run."""
    with session.transaction():
        runs = session.all(RunRecord, _SQL["run_by_id"], {"run_id": run_id})
        if not runs:
            return None
        return RunDetail(runs[0], tuple(session.all(PhaseRecord, _SQL["phases_of_run"], {"run_id": run_id})))


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= SUMMARY_LIMIT:
        return text
    return text[: SUMMARY_LIMIT - len(_CUT_MARK)] + _CUT_MARK
