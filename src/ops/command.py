"""What the toolkit's commands have in common: settings or a refusal, one way to fail, one exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable

from src import console
from src.console import Line, Screen, State
from src.db.embedded import resolve
from src.errors import AlertsError, ConfigError, Finding
from src.settings import Secret, Settings, process_environment, read_settings


def concluded(action: Callable[[], int]) -> int:
    """The exit code of a command; errors that people are meant to read stand on stderr."""
    try:
        return action()
    except AlertsError as error:
        lines = [Line(State.BAD, finding.code, finding.text) for finding in error.findings]
        console.print_lines(lines, Screen(stderr=True))
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def settings() -> Settings:
    """What the environment and `.env` say. Raises ConfigError if any of it is wrong."""
    found, errors, _ = read_settings(process_environment())
    if errors:
        raise ConfigError(*errors)
    return found


def database_url(found: Settings) -> Secret:
    """The database that they name, started if it is the embedded one. Raises ConfigError without one."""
    if found.database_url is None:
        raise ConfigError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server, or to embedded"))
    return resolve(found.database_url)
