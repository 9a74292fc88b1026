"""`python -m src.ops.history runs|retry-failed|prune`: what ran; another chance for what failed; an end for the old."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from src import console
from src.alerts.engine_observability import RunRecord, list_runs, run_detail
from src.alerts.phases.outbound import Queue
from src.alerts.prune import parse_age, prune
from src.alerts.retry_failed import retry_failed
from src.console import Line, State, Table, in_words
from src.db.connection import Database
from src.errors import AlertsError, Finding
from src.ops import command
from src.settings import Settings

MOST_RUNS = 500
MOST_HOURS = 24 * 366


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments; the exit code."""
    return command.concluded(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m src.ops.history", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    runs = actions.add_parser("runs", help="the newest runs, or one in detail")
    runs.add_argument("--run", metavar="ID", help="one run with its phases")
    runs.add_argument("--limit", type=command.whole_number(MOST_RUNS), default=20, metavar="N", help="how many (20)")
    again = actions.add_parser("retry-failed", help="queue again what failed for transient reasons")
    again.add_argument("--kind", required=True, choices=[queue.value for queue in Queue])
    again.add_argument("--since-hours", type=command.whole_number(MOST_HOURS), default=24, metavar="N", help="24")
    again.add_argument("--yes", action="store_true", help="do not ask")
    pruning = actions.add_parser("prune", help="delete finished rows that are old")
    pruning.add_argument("--older-than", required=True, metavar="90d", help="days")
    options = parser.parse_args(argv)
    if options.action == "prune":
        return _prune(parse_age(options.older_than))
    settings = command.settings()
    database = Database(command.database_url(settings))
    if options.action == "retry-failed":
        return _retry(settings, database, Queue(options.kind), timedelta(hours=options.since_hours), options.yes)
    return _show_run(database, options.run) if options.run else _show_runs(database, options.limit)


def _show_runs(database: Database, limit: int) -> int:
    with database.session() as session:
        found = list_runs(session, limit)
    columns = ("started (UTC)", "run", "phase", "status", "by", "took", "sent", "failed", "error")
    console.print_table(Table("Runs", columns, [_row(run) for run in found], numbers=columns[5:8], names=columns[:2]))
    if not found:
        console.print_lines([Line(State.DOUBTFUL, "no run is on record")])
    return 0


def _row(run: RunRecord) -> tuple[object, ...]:
    counts = run.counts or {}
    error = (run.error_summary or "").partition(": ")[0]
    by = run.actor or run.triggered_by
    took = _seconds(run.duration_ms)
    return (
        _moment(run.started_at),
        run.run_id,
        run.phase,
        run.status,
        by,
        took,
        counts.get("sent"),
        counts.get("failed"),
        error,
    )


def _show_run(database: Database, run_id: str) -> int:
    with database.session() as session:
        detail = run_detail(session, run_id)
    if detail is None:
        raise AlertsError(Finding("runs.unknown", f"no run {run_id!r} is on record: invoke runs lists them"))
    run = detail.run
    facts = {
        "started (UTC)": _moment(run.started_at), "took": _seconds(run.duration_ms), "phase": run.phase,
        "status": run.status, "triggered by": run.triggered_by, "actor": run.actor, "commit": run.git_sha,
        "rollout": in_words(run.rollout or {}), "counts": in_words(run.counts or {}), "error": run.error_summary,
    }  # fmt: skip
    console.print_table(Table(f"Run {run.run_id}", ("", ""), [(name, fact) for name, fact in facts.items() if fact]))
    rows = [
        (item.phase, item.status, _seconds(item.duration_ms), in_words(item.counts or {}), item.error_summary)
        for item in detail.phases
    ]
    console.print_table(Table("Phases", ("phase", "status", "took", "counted", "error"), rows, numbers=("took",)))
    return 0


def _retry(settings: Settings, database: Database, kind: Queue, since: timedelta, yes: bool) -> int:
    """Show how many, ask, and queue them again."""
    now = datetime.now(UTC)
    with database.session() as session:
        report = retry_failed(session, settings, kind, since, now, execute=False)
        rows = [
            (channel, reason, number)
            for channel, reasons in report.eligible.items()
            for reason, number in reasons.items()
        ]
        console.print_table(Table("Failed for transient reasons", ("channel", "reason", kind), rows, numbers=(kind,)))
        if report.left:
            console.print_lines([Line(State.DOUBTFUL, f"left as they are: {in_words(report.left)}")])
        if not report.total:
            console.print_lines([Line(State.GOOD, f"no {kind} to queue again")])
            return 0
        if not (yes or command.agreed(f"Queue these {report.total} {kind} again?")):
            raise AlertsError(Finding("retry.declined", "nothing was changed: answer y, or say --yes"))
        done = retry_failed(session, settings, kind, since, now, execute=True)
    console.print_lines([Line(State.GOOD, f"{done.requeued} {kind} queued again: the next run sends them")])
    return 0


def _prune(age: timedelta) -> int:
    database = Database(command.database_url(command.settings()))
    stop = command.stop_on_signals()
    with console.progress_bar() as advance:
        done = prune(database, age, datetime.now(UTC), advance, lambda: stop.reason is None)
    words = f"{done.deliveries} deliveries, {done.digests} digests and {done.runs} runs deleted"
    console.print_lines([Line(State.GOOD if done.finished else State.DOUBTFUL, words)])
    return command.exit_code(stop)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _seconds(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
