"""`python -m src.ops.database migrate|status|psql`: the schema, and a prompt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from src import console
from src.console import Line, State
from src.db import migrate
from src.db.connection import Database
from src.db.psql import psql_command
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
    actions.add_parser("status", help="which migrations are applied, which are missing")
    actions.add_parser("psql", help="a prompt on the database")
    options = parser.parse_args(argv)
    url = command.database_url(command.settings())
    if options.action == "psql":
        return _psql(url)
    database = Database(url)
    if options.action == "status":
        return _status(database)
    return _plan(database) if options.plan else _migrate(database)


def _migrate(database: Database) -> int:
    applied = migrate.apply(database)
    console.print_lines([Line(State.GOOD, f"applied {migration.name}") for migration in applied])
    if not applied:
        console.print_lines([Line(State.GOOD, "the schema is current")])
    return 0


def _plan(database: Database) -> int:
    with database.session() as session, session.transaction():
        pending = migrate.status(session).pending
    for migration in pending:
        print(f"-- {migration.name}\n{migration.sql}")
    return 0


def _status(database: Database) -> int:
    with database.session() as session, session.transaction():
        status = migrate.status(session)
    lines = [Line(State.GOOD, row.name) for row in status.applied]
    lines += [Line(State.DOUBTFUL, f"{migration.name} is missing", "invoke db.migrate") for migration in status.pending]
    lines += [Line(State.BAD, finding.code, finding.text) for finding in status.findings]
    console.print_lines(lines)
    return 1 if status.findings else 0


def _psql(url: Secret) -> int:
    command_line, variables = psql_command(url)
    return child.run(command_line, environ={**os.environ, **variables}).exit_code


if __name__ == "__main__":
    sys.exit(main())
