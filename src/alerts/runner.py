"""The engine's command line: `python -m src.alerts.runner`. Arguments in, one document out, an exit code.

stdout carries the result and nothing else; logs go to stderr. Exit codes: 0 done, 1 errors, 2 wrong
usage, 130 and 143 stopped by SIGINT and SIGTERM after a clean stop.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from src.alerts.models import RunStatus
from src.alerts.rollout import Rollout
from src.errors import AlertsError, ConfigError, Finding, UsageError, internal
from src.settings import Settings, parse_user_ids, process_environment, read_settings

if TYPE_CHECKING:  # the checks start faster without them
    from src.alerts.phases.context import Clock, Stop
    from src.alerts.pipeline import Run

log = logging.getLogger(__name__)

HURRY_SECONDS = 3.0
"""After a signal, what waits for the database is given this long: GitHub kills what has not ended after 7.5 s."""
WORK_SECONDS, LAST_SECONDS = 5.7, 6.4
"""After a signal, when a phase, and when all of the run has waited for the database, with or without an answer."""


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are exceptions, so that one place exits."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(Finding("usage", f"{message} (see --help)"))


def _whole(least: int) -> Any:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}")
        return int(text)

    return convert


def _user_ids(text: str) -> frozenset[int]:
    try:
        return parse_user_ids(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the first and the last day of all, in another time zone
        raise argparse.ArgumentTypeError("must be an ISO 8601 time such as 2026-01-16T12:30:00Z") from None


def parser() -> argparse.ArgumentParser:
    """The flags of DESIGN 3.1."""
    top = _Parser(
        prog="python -m src.alerts.runner",
        description="The EnergyRiskIQ alerts engine: one run, then exit.",
        # A width that is given: asking the terminal takes argparse longer than all the rest of parsing.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100),
    )
    mode = top.add_mutually_exclusive_group()
    mode.add_argument("--preflight", action="store_true", help="check only; prints the preflight document")
    mode.add_argument("--health", action="store_true", help="print the health snapshot")
    top.add_argument(
        "--phase", choices=["a", "b", "c", "d", "all"],
        help="run: a generate, b fan out, d build digests, c send; with --preflight the run that is meant to follow",
    )  # fmt: skip
    top.add_argument("--since-hours", type=_whole(1), default=24, metavar="N", help="a and b look back N hours (24)")
    top.add_argument("--batch-size", type=_whole(1), metavar="N", help="rows per claim in c (ALERTS_SEND_BATCH_SIZE)")
    top.add_argument("--dry-run", action="store_true", help="simulate: a real run's counts, nothing changed or sent")
    top.add_argument("--allowlist", type=_user_ids, metavar="42,43", help="narrow the allowlist for this run")
    top.add_argument("--max-send", type=_whole(0), metavar="N", help="narrow the cap on what this run may send")
    top.add_argument("--now", type=_moment, metavar="ISO8601", help="run as of that moment (outbox or dry run only)")
    top.add_argument("--log-json", action="store_true", help="logs and result as JSON (default when CI=true)")
    return top


class _JsonLines(logging.Formatter):
    """A log line as JSON. Exceptions appear as their class and place: their texts can hold private data."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level, message = record.levelname.lower(), record.getMessage()
        line = {"time": moment, "level": level, "logger": record.name, "message": message}
        return json.dumps(line, ensure_ascii=False)


def _configure_logging(settings: Settings, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("src").setLevel(settings.log_level.upper())


def _terminate(received: int, _frame: object) -> NoReturn:
    """Checks that only read end at once; a run replaces this by a clean stop."""
    raise SystemExit(128 + received)  # `main` makes it the exit code


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments and return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    settings, errors, warnings = read_settings(process_environment())
    as_json = settings.ci
    try:
        options = parser().parse_args(argv)
        as_json = as_json or options.log_json
        _configure_logging(settings, as_json)
        _check_usage(options, settings)
        return _dispatch(options, settings, errors, warnings, as_json)
    except UsageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except SystemExit as done:  # argparse after --help, or SIGTERM
        return int(done.code or 0)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        log.error("%s", internal(error))
        return 1


def _check_usage(options: argparse.Namespace, settings: Settings) -> None:
    if not (options.preflight or options.health or options.phase):
        raise UsageError(Finding("usage", "say --preflight, --health or --phase a|b|c|d|all (see --help)"))
    if options.health and options.phase:
        raise UsageError(Finding("usage", "--health takes no --phase"))
    live = settings.transport == "live" and not options.dry_run
    if options.now and options.phase and not options.preflight and live:
        mend = "add --dry-run, or set ALERTS_TRANSPORT=outbox"
        raise UsageError(Finding("usage", f"--now would send real messages as of another time: {mend}"))


def _dispatch(
    options: argparse.Namespace, settings: Settings, errors: list[Finding], warnings: list[Finding], as_json: bool
) -> int:
    rollout = Rollout.combine(settings.allowlist, settings.max_send_per_run, options.allowlist, options.max_send)
    now = options.now or datetime.now(UTC)
    if options.preflight or options.health:
        gc.disable()  # a check is over before there is any garbage worth collecting
    if options.preflight:
        from src.alerts.preflight import preflight

        phase = options.phase or "all"
        document = preflight(settings, errors, warnings, rollout, phase=phase, dry_run=options.dry_run)
    elif options.health:
        from src.alerts.health import computed, health

        document = health(settings, errors, warnings, rollout, now)
        _print_json(document)
        return 0 if computed(document) and not errors else 1
    else:
        return _run(options, settings, errors, warnings, rollout, as_json)
    _print_json(document)
    return 1 if document["errors"] else 0


def _run(
    options: argparse.Namespace,
    settings: Settings,
    errors: list[Finding],
    warnings: list[Finding],
    rollout: Rollout,
    as_json: bool,
) -> int:
    from src.alerts.heartbeat import ping_end, ping_start
    from src.alerts.phases.context import Stop, system_clock
    from src.alerts.pipeline import Run, RunRequest

    stop = Stop(settings.deadline_seconds)
    _stop_on_signals(stop)
    clock = (lambda: options.now) if options.now else system_clock
    batch_size = options.batch_size or settings.send_batch_size
    since = timedelta(hours=options.since_hours)
    request = RunRequest(options.phase, options.dry_run, since, batch_size, rollout)
    run = Run(request, clock(), warnings=list(warnings))
    heartbeat = None if options.dry_run else settings.secrets.get("ALERTS_HEARTBEAT_URL")
    if heartbeat:
        ping_start(heartbeat, run.run_id)
    try:
        if errors:
            raise ConfigError(*errors)
        _execute(run, settings, clock, stop)
    except Exception as error:  # the document comes out whatever happens
        run.errors += error.findings if isinstance(error, AlertsError) else [internal(error)]
        run.status = RunStatus.FAILED
    _print_run(run.document(), as_json)
    exit_code = 128 + stop.signal if stop.signal else int(run.status is RunStatus.FAILED)
    if heartbeat:
        ping_end(heartbeat, run.run_id, exit_code, stop.since_signal())
    return exit_code


def _stop_on_signals(stop: Stop) -> None:
    """On SIGINT and SIGTERM work ends at the next chunk, and the database gets little time to answer."""
    from src.db.waiting import hurry

    def end(received: int, _frame: object) -> None:
        stop.request(received)
        hurry(HURRY_SECONDS, WORK_SECONDS, LAST_SECONDS)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _execute(run: Run, settings: Settings, clock: Clock, stop: Stop) -> None:
    """Run, or say why not. Raises AlertsError."""
    from src.alerts.pipeline import execute
    from src.db.connection import Database
    from src.db.embedded import resolve

    if not settings.enabled:
        run.status = RunStatus.DISABLED
        run.warnings.append(Finding("engine.disabled", "ALERTS_V2_ENABLED is false: nothing was done"))
        return
    if settings.database_url is None:
        raise ConfigError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server"))
    execute(run, settings, Database(resolve(settings.database_url), simulate=run.request.dry_run), clock, stop)


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False, separators=(",", ":")), flush=True)


def _print_run(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(document)
        return
    from src.console import print_run

    print_run(document)


if __name__ == "__main__":
    sys.exit(main())
