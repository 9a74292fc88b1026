"""`python -m src.ops.rollout`: let a few people through first, and prove that nobody else was touched.

Preflight, a dry run that names who would get what, a question (or `--yes`), the live run under the
allowlist and a cap, and a look at every row that the run created or claimed. What was asked for and
how it ended stands in the run's record.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from src import console
from src.alerts.models import RunStatus
from src.console import Line, Screen, State, Table
from src.db.connection import Database, load_queries
from src.errors import AlertsError, Finding
from src.ops import child, command
from src.ops.selection import RefusedError, Selection

DEFAULT_MAX_SEND = 10
_HISTORY = 50
_SQL = load_queries(Path(__file__).parent, "rollout")


class StepError(AlertsError):
    """The runner ended with an error; its document stands above and its exit code is handed on."""

    def __init__(self, step: str, exit_code: int) -> None:
        super().__init__(Finding("rollout.stopped", f"{step} ended with exit code {exit_code}: nothing more was done"))
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """A row of somebody who was not chosen."""

    kind: str
    id: int
    user_id: int


@dataclass(frozen=True, slots=True)
class PastRollout:
    """A rollout on record."""

    run_id: str
    started_at: datetime
    actor: str | None
    git_sha: str | None
    status: str
    counts: dict[str, Any] | None
    rollout: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Roll out with these arguments; the exit code."""
    return command.concluded(lambda: _main(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.ops.rollout", description=__doc__)
    parser.add_argument("--user", action="append", default=[], metavar="42", help="a user id; may be repeated")
    parser.add_argument("--plan", metavar="pro", help="everybody on a plan, or the --percent of them")
    parser.add_argument("--percent", metavar="5", help="a stable share; a larger one holds the smaller one")
    parser.add_argument("--max-send", default=str(DEFAULT_MAX_SEND), metavar="N", help="send at most N messages (10)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--history", action="store_true", help="earlier rollouts")
    return parser


def _main(options: argparse.Namespace) -> int:
    if options.history:
        return _show_history(Database(command.database_url(command.settings())))
    selection = Selection.parse(options.user, options.plan, options.percent)
    settings = command.settings()
    database = Database(command.database_url(settings))
    with database.session() as session:
        chosen = selection.resolve(session, settings.allowlist)
    flags = ("--allowlist", ",".join(map(str, chosen)), "--max-send", options.max_send)
    checked = _runner("preflight", "--preflight", "--phase", "all", *flags)
    console.print_preflight(checked)
    simulated = _runner("the dry run", "--phase", "all", "--dry-run", "--log-json", *flags)
    console.print_run(simulated)
    _check_preview(simulated, chosen)
    if not (options.yes or command.agreed("Send to these users now?")):
        raise RefusedError(Finding("rollout.declined", "nothing was sent: answer y, or say --yes"))
    document, exit_code = _live_run(flags)
    console.print_run(document)
    _verify(database, document, selection, chosen)
    return exit_code


def _live_run(flags: Sequence[str]) -> tuple[dict[str, Any], int]:
    finished = _start("--phase", "all", "--log-json", *flags)
    if finished.document is None:
        raise StepError("the live run", finished.exit_code or 1)
    return finished.document, finished.exit_code


def _runner(step: str, *arguments: str) -> dict[str, Any]:
    """The document of a step that has to succeed; that of one that did not is shown."""
    finished = _start(*arguments)
    document = finished.document
    if finished.exit_code or document is None:
        for entry in (document or {}).get("errors", []):
            console.print_lines([Line(State.BAD, entry)], Screen(stderr=True))
        raise StepError(step, finished.exit_code or 1)
    return document


def _start(*arguments: str) -> child.Finished:
    """The runner, with the name of who rolls out and the commit for its record; it logs only what is amiss."""
    command_line = child.python("src.alerts.runner", *arguments)
    defaults = {"GITHUB_ACTOR": _login(), "GITHUB_SHA": _commit(), "ALERTS_LOG_LEVEL": "warning"}
    environ = {**{name: value for name, value in defaults.items() if value}, **os.environ}
    return child.run(command_line, environ=environ, capture_stdout=True)


def _check_preview(document: dict[str, Any], chosen: Sequence[int]) -> None:
    """Refuse a preview that is not whole, or that reaches anybody else (which the runner rules out)."""
    if any(
        status != RunStatus.SUCCESS for status in (document["status"], *(item["status"] for item in document["phases"]))
    ):
        mend = "another run is under way or the engine is switched off; nothing was sent, try again"
        raise RefusedError(Finding("rollout.no_preview", f"the dry run could not do all of its phases: {mend}"))
    foreign = {row["user_id"] for row in document["recipients"] or []} - set(chosen)
    if foreign:
        raise RefusedError(Finding("rollout.foreign_recipient", f"the dry run reaches others: {sorted(foreign)}"))
    if not document["recipients"]:
        console.print_lines([Line(State.DOUBTFUL, "no message is due for these users now")])
    users = "1 user" if len(chosen) == 1 else f"{len(chosen)} users"
    console.print_lines([Line(State.GOOD, f"confined to {users}: nobody else is touched")])


def _verify(database: Database, document: dict[str, Any], selection: Selection, chosen: list[int]) -> None:
    """Look at every row that the run created or claimed, and record the outcome. Raises if one is anyone else's."""
    run_id = document["run_id"]
    with database.session() as session, session.transaction(seconds=120):
        on_record = session.value(_SQL["phases_on_record"], {"run_id": run_id})
        foreign = session.all(ForeignRow, _SQL["foreign_rows"], {"run_id": run_id, "chosen": chosen})
        verified = not foreign and on_record == len(document["phases"])
        outcome = {"requested": selection.document(), "chosen": len(chosen), "verified": verified}
        session.execute(_SQL["record"], {"run_id": run_id, "outcome": json.dumps(outcome)})
    if foreign:
        rows = ", ".join(f"{row.kind} {row.id} of user {row.user_id}" for row in foreign)
        mend = "set ALERTS_V2_ENABLED=false and look at these rows before anything else runs"
        raise AlertsError(Finding("rollout.touched_others", f"{rows}: {mend}"))
    if not verified:
        mend = "the run's record is incomplete, so its rows could not be told from those of others"
        raise AlertsError(Finding("rollout.unverified", f"{mend}: look at `invoke rollout --history`"))
    console.print_lines([Line(State.GOOD, "every row that the run created or claimed belongs to them")])


def _show_history(database: Database) -> int:
    with database.session() as session, session.transaction():
        past = session.all(PastRollout, _SQL["history"], {"limit": _HISTORY})
    columns = ("when (UTC)", "who", "commit", "asked for", "users", "sent", "outcome")
    rows = [
        (
            f"{run.started_at:%Y-%m-%d %H:%M}",
            run.actor,
            (run.git_sha or "")[:8] or None,
            _wish(run.rollout["requested"]),
            run.rollout.get("chosen"),
            (run.counts or {}).get("sent"),
            run.status if run.rollout.get("verified") else f"{run.status}, not verified",
        )
        for run in past
    ]
    console.print_table(Table("Rollouts", columns, rows, numbers=("users", "sent")))
    if not past:
        console.print_lines([Line(State.DOUBTFUL, "no rollout is on record")])
    return 0


def _wish(requested: dict[str, Any]) -> str:
    users = ", ".join(map(str, requested["users"]))
    percent = f"{requested['percent']:g} % of " if requested["percent"] is not None else ""
    share = f"{percent}{requested['plan'] or 'everybody'}" if requested["plan"] or percent else ""
    return " and ".join(filter(None, (f"user {users}" if users else "", share)))


def _login() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return None


def _commit() -> str | None:
    try:
        command_line = ["git", "-C", str(child.ROOT), "rev-parse", "HEAD"]
        return subprocess.run(command_line, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    sys.exit(main())
