"""`python -m src.ops.database migrate|status|psql`: the schema, and a prompt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from src import console
from src.console import Line, Screen, State
from src.db import migrate
from src.db.adoption import include_old
from src.db.connection import Database
from src.db.psql import psql_command
from src.errors import Finding
from src.ops import child, command
from src.settings import Secret


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments; the exit code."""
    return command.concluded(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m src.ops.database", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    migrating = actions.add_parser("migrate", help="bring the schema to what this code needs")
    migrating.add_argument("--plan", action="store_true", help="print the SQL instead of running it")
    migrating.add_argument("--include-old", action="store_true", help="send what was queued before the engine, too")
    actions.add_parser("status", help="what is applied, what is missing, what stands in the way")
    actions.add_parser("psql", help="a prompt on the database")
    options = parser.parse_args(argv)
    url = command.database_url(command.settings())
    if options.action == "psql":
        return _psql(url)
    if options.action == "status":
        return _status(Database(url))
    return _plan(Database(url)) if options.plan else _migrate(Database(url), options.include_old)


def _migrate(database: Database, old_too: bool) -> int:
    applied = migrate.apply(database)
    console.print_lines([Line(State.GOOD, f"applied {migration.name}") for migration in applied])
    if not applied:
        console.print_lines([Line(State.GOOD, "the schema is current")])
    if old_too:
        released = include_old(database)
        title = f"released from before the engine: {released.deliveries} deliveries, {released.digests} digests"
        console.print_lines([Line(State.GOOD, title)])
    console.print_lines(_lines(State.DOUBTFUL, _look(database).old.findings))
    return 0


def _plan(database: Database) -> int:
    """SQL on stdout, everything else on stderr."""
    plan = _look(database)
    print(plan.sql, end="")
    console.print_lines(_findings(plan), Screen(stderr=True))
    return 0


def _status(database: Database) -> int:
    plan = _look(database)
    console.print_lines([Line(State.GOOD, row.name) for row in plan.status.applied])
    missing = [Line(State.DOUBTFUL, f"{step.name} is not applied", "invoke db.migrate") for step in plan.status.pending]
    console.print_lines([*missing, *_findings(plan)])
    return 0


def _look(database: Database) -> migrate.Plan:
    with database.session() as session, session.transaction():
        return migrate.plan(session)


def _findings(plan: migrate.Plan) -> list[Line]:
    """What migrating mends is doubtful; what it cannot mend, or stands in its way, is bad."""
    mended = State.DOUBTFUL if plan.status.pending else State.BAD
    return [
        *_lines(State.BAD, (*plan.status.findings, *plan.duplicates)),
        *_lines(mended, plan.differences),
        *_lines(State.DOUBTFUL, plan.old.findings),
    ]


def _lines(state: State, findings: Iterable[Finding]) -> list[Line]:
    return [Line(state, finding.code, finding.text) for finding in findings]


def _psql(url: Secret) -> int:
    command_line, variables = psql_command(url)
    return child.run(command_line, environ={**os.environ, **variables}).exit_code


if __name__ == "__main__":
    sys.exit(main())
