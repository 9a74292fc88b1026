"""`python -m src.ops.reach explain|backfill`: why somebody hears of an event, and letting the rest hear of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from src import console
from src.alerts import backfill
from src.alerts.explain import Explanation, explain
from src.alerts.phases.context import PhaseContext, system_clock
from src.alerts.rollout import Rollout
from src.console import Line, Screen, State
from src.db.connection import Database
from src.db.locks import RunLocks
from src.errors import AlertsError, Finding
from src.ops import command
from src.settings import MAX_BIGINT, Secret, Settings

MOST_HOURS = 24 * 366


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments; the exit code."""
    return command.concluded(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m src.ops.reach", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    explaining = actions.add_parser("explain", help="gate by gate, channel by channel")
    explaining.add_argument("--user", type=command.whole_number(MAX_BIGINT), required=True, metavar="42")
    explaining.add_argument("--event", type=command.whole_number(MAX_BIGINT), required=True, metavar="7")
    explaining.add_argument("--json", action="store_true", help="as a JSON document")
    filling = actions.add_parser("backfill", help="fan out events again that an allowlist kept from the rest")
    filling.add_argument("--since-hours", type=command.whole_number(MOST_HOURS), required=True, metavar="N")
    filling.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(argv)
    settings = command.settings()
    url = command.database_url(settings)
    rollout = Rollout.combine(settings.allowlist, settings.max_send_per_run)
    if options.action == "explain":
        found = explain(Database(url), settings, rollout, options.user, options.event, datetime.now(UTC))
        _show(found, options.json)
        return 0
    return _backfill(settings, url, rollout, timedelta(hours=options.since_hours), options.yes)


def _show(found: Explanation, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.document(), ensure_ascii=False, separators=(",", ":")))
        return
    screen = Screen()
    state = f"fanned out to {found.fanout_scope}" if found.fanned_out else "waits for its fan-out"
    screen.print(
        f"User {found.user_id} ({found.plan}) and event {found.event_id}, {found.alert_type}: {found.headline}"
    )
    screen.print(f"Severity {found.severity}, of {found.created_at:%Y-%m-%d %H:%M} UTC; {state}.")
    for channel in found.channels:
        due = f", from {channel.due_at:%Y-%m-%d %H:%M} UTC" if channel.due_at else ""
        screen.print(f"\n{channel.channel}: {channel.outcome}{due}")
        asked = [gate for gate in channel.gates if gate.passed is not None]
        lines = [Line(State.GOOD if gate.passed else State.BAD, f"{gate.name}: {gate.detail}") for gate in asked]
        console.print_lines(lines, screen)


def _backfill(settings: Settings, url: Secret, rollout: Rollout, since: timedelta, yes: bool) -> int:
    """Show how many, ask, and fan out; SIGINT and SIGTERM end it between two chunks."""
    run_id, batch_size = str(uuid4()), settings.send_batch_size
    stop = command.stop_on_signals()
    with RunLocks(Database(url), run_id) as locks:
        context = PhaseContext(Database(url), settings, rollout, system_clock, since, batch_size, run_id, locks, stop)
        expected = backfill.run(replace(context, database=Database(url, simulate=True)))
        words = f"{expected.events} events, {expected.deliveries_created} deliveries to be created"
        console.print_lines([Line(State.GOOD, f"{words}, {expected.moved_to_digest} of them moved to digests")])
        if not expected.deliveries_created:
            return command.exit_code(stop)
        if not (yes or command.agreed("Fan them out to the people left out then?")):
            raise AlertsError(Finding("backfill.declined", "nothing was changed: answer y, or say --yes"))
        done = backfill.run(context)
    console.print_lines(
        [Line(State.GOOD, f"{done.deliveries_created} deliveries created, {done.moved_to_digest} moved")]
    )
    if not done.finished:
        console.print_lines([Line(State.DOUBTFUL, "stopped before the last user: run it again")])
    return command.exit_code(stop)


if __name__ == "__main__":
    sys.exit(main())
