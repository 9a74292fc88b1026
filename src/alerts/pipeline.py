"""A run: phases in order, each under its lock, each on record.

A → B → D → C: digests are built before sending, so that a digest built in a run goes out in that run.
A phase whose lock another run holds is skipped and the others go on. So they do when a phase fails:
what is queued already is still sent. Only a lost lock ends the run at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from src.alerts import engine_observability as history
from src.alerts.models import Phase, PhaseResult, RunStatus, StopReason
from src.alerts.phases import digest, fanout, generate, send
from src.alerts.phases.context import Clock, PhaseContext, Stop
from src.alerts.rollout import Rollout
from src.db.connection import Database, Session
from src.db.locks import LOCK_LOST, RunLocks
from src.db.waiting import wind_up
from src.errors import AlertsError, DatabaseError, Finding, StoppedError, internal
from src.settings import Settings

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
ORDER = (Phase.GENERATE, Phase.FANOUT, Phase.DIGEST, Phase.SEND)
_COUNTING: dict[Phase, Callable[[PhaseContext], dict[str, Any]]] = {
    Phase.GENERATE: generate.run,
    Phase.FANOUT: fanout.run,
    Phase.DIGEST: digest.run,
}


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was asked for. `phase` is a phase's letter or `all`; `actor` is who asked, for the record."""

    phase: str
    dry_run: bool
    since: timedelta
    batch_size: int
    rollout: Rollout

    @property
    def phases(self) -> tuple[Phase, ...]:
        return ORDER if self.phase == "all" else (Phase(self.phase),)


@dataclass(slots=True)
class Run:
    """What became of it; `document()` is DESIGN 3.4."""

    request: RunRequest
    started_at: datetime
    run_id: str = field(default_factory=lambda: str(uuid4()))
    status: RunStatus = RunStatus.SUCCESS
    duration_ms: int = 0
    phases: list[PhaseResult] = field(default_factory=list)
    stop_reason: StopReason | None = None
    recipients: list[dict[str, Any]] | None = None
    warnings: list[Finding] = field(default_factory=list)
    errors: list[Finding] = field(default_factory=list)

    def totals(self) -> dict[str, int]:
        counts = next((phase.counts for phase in self.phases if phase.phase is Phase.SEND), {})
        queues = [counts.get(name, {}) for name in ("deliveries", "digests")]
        return {
            "sent": sum(queue.get("sent", 0) for queue in queues),
            "failed": sum(queue.get("failed", 0) for queue in queues),
            "retried": sum(queue.get("retried", 0) for queue in queues),
            "skipped": sum(number for queue in queues for key, number in queue.items() if key.startswith("skipped_")),
        }

    def document(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "status": self.status.value,
            "phase": self.request.phase,
            "dry_run": self.request.dry_run,
            "started_at": self.started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "duration_ms": self.duration_ms,
            "rollout": self.request.rollout.document(),
            "phases": [
                {
                    "phase": phase.phase.value,
                    "status": phase.status.value,
                    "duration_ms": phase.duration_ms,
                    "counts": phase.counts,
                }
                for phase in self.phases
            ],
            "totals": self.totals(),
            "stopped_early": self.stop_reason not in (None, StopReason.CHANNEL_HALTED),
            "stop_reason": self.stop_reason and self.stop_reason.value,
            "recipients": self.recipients,
            "warnings": [str(finding) for finding in self.warnings],
            "errors": [str(finding) for finding in self.errors],
        }


def execute(run: Run, settings: Settings, database: Database, clock: Clock, stop: Stop) -> None:
    """Run the phases that were asked for; trouble ends up in `run.errors`, never in an exception."""
    began = time.monotonic()
    try:
        with RunLocks(database, run.run_id) as locks, database.simulation():
            request = run.request
            context = PhaseContext(
                database, settings, request.rollout, clock, request.since, request.batch_size, run.run_id, locks, stop
            )
            _Recorder(run, context).open()
            _run_phases(run, context)
            _conclude(run, stop, began)
            _Recorder(run, context).close()
    except AlertsError as error:
        if not isinstance(error, StoppedError):
            run.errors += error.findings
        _conclude(run, stop, began)


def _run_phases(run: Run, context: PhaseContext) -> None:
    for phase in run.request.phases:
        if context.stop.reason is not None:
            break
        result = PhaseResult(phase, started_at=context.clock())
        run.phases.append(result)
        with _timed(result):
            try:
                _run_phase(run, result, context)
            except StoppedError:
                result.status = RunStatus.INTERRUPTED
            except Exception as error:
                findings = error.findings if isinstance(error, AlertsError) else [internal(error)]
                result.status = RunStatus.FAILED
                result.error = "; ".join(map(str, findings))
                run.errors += [finding for finding in findings if finding not in run.errors]
        _Recorder(run, context).phase(result)
        log.info("phase %s: %s in %d ms", phase, result.status, result.duration_ms)
        if any(finding.code == LOCK_LOST for finding in run.errors):
            break


def _run_phase(run: Run, result: PhaseResult, context: PhaseContext) -> None:
    if not context.locks.try_phase(result.phase):
        result.status = RunStatus.SKIPPED
        result.counts = {"skipped": True, "reason": "lock_not_acquired"}
        return
    try:
        if result.phase is Phase.SEND:
            report = send.run(context)
            result.counts, run.recipients = report.counts, report.recipients
            if report.errors:
                run.errors += report.errors
                result.status = RunStatus.FAILED
                result.error = "; ".join(map(str, report.errors))
            if stopped := report.counts["stop_reason"]:
                run.stop_reason = StopReason(stopped)
        else:
            result.counts = _COUNTING[result.phase](context)
    finally:
        wind_up()  # should the run have to end: else it changes nothing
        if not context.database.simulate:  # a dry run keeps its locks until it has rolled back
            context.locks.release_phase()
    if result.status is RunStatus.SUCCESS and context.stop.reason is StopReason.SIGNAL:
        result.status = RunStatus.INTERRUPTED


def _conclude(run: Run, stop: Stop, began: float) -> None:
    """The run's status and why it stopped, the first that applies."""
    run.stop_reason = stop.reason or run.stop_reason
    run.duration_ms = int((time.monotonic() - began) * 1000)
    if run.errors:
        run.status = RunStatus.FAILED
    elif stop.signal:
        run.status = RunStatus.INTERRUPTED
    elif run.phases and all(phase.status is RunStatus.SKIPPED for phase in run.phases):
        run.status = RunStatus.SKIPPED


@contextmanager
def _timed(result: PhaseResult) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        result.duration_ms = int((time.monotonic() - began) * 1000)


@dataclass(frozen=True, slots=True)
class _Recorder:
    """The run history. A dry run leaves none; a failure to write it is a warning, never the run's end."""

    run: Run
    context: PhaseContext

    def open(self) -> None:
        settings, run = self.context.settings, self.run
        self._write(
            lambda session: history.close_dead_runs(session, self.context.locks, run.started_at, run.run_id),
            lambda session: history.start_run(
                session, run_id=run.run_id, phase=run.request.phase, triggered_by=settings.triggered_by,
                started_at=run.started_at, git_sha=settings.git_sha, actor=settings.actor,
                rollout=run.request.rollout.document(),
            ),
        )  # fmt: skip

    def phase(self, result: PhaseResult) -> None:
        self._write(lambda session: history.finish_phase(session, self.run.run_id, result, self.context.clock()))

    def close(self) -> None:
        run = self.run
        summary = "; ".join(map(str, run.errors)) or None
        counts = run.totals() | {"stop_reason": run.stop_reason and run.stop_reason.value}
        self._write(
            lambda session: history.finish_run(
                session, run_id=run.run_id, finished_at=self.context.clock(), duration_ms=run.duration_ms,
                status=run.status, counts=counts, error_summary=summary,
            )
        )  # fmt: skip

    def _write(self, *writes: Callable[[Session], object]) -> None:
        if self.context.database.simulate:
            return
        try:
            with self.context.database.session() as session:
                for write in writes:
                    write(session)
        except DatabaseError as error:
            finding = Finding("history.not_written", f"the run history could not be written ({error})")
            log.warning("%s", finding)
            if finding.code not in {warning.code for warning in self.run.warnings}:
                self.run.warnings.append(finding)
