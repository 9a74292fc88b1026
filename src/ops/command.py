"""What the toolkit's commands have in common: settings or a refusal, one way to fail, one exit code."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from src import console
from src.alerts.phases.context import Stop
from src.console import Line, Screen, State
from src.db.embedded import resolve
from src.errors import AlertsError, ConfigError, Finding
from src.settings import Secret, Settings, process_environment, read_settings


def concluded(action: Callable[[], int]) -> int:
    """The exit code of a command; errors that people are meant to read stand on stderr.

    The first SIGINT or SIGTERM ends it, and lets go of what it holds on the way out; a Ctrl-C can arrive
    twice (see `child`). After a signal there is nothing to read.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        return action()
    except AlertsError as error:
        if error.exit_code < 128:
            lines = [Line(State.BAD, finding.code, finding.text) for finding in error.findings]
            console.print_lines(lines, Screen(stderr=True))
        return error.exit_code


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


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


def agreed(question: str) -> bool:
    """Whether somebody at the terminal says yes; False where nobody is."""
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def stop_on_signals() -> Stop:
    """From here on SIGINT and SIGTERM are wishes to stop, for work that asks between two chunks."""
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stop.request(received))
    return stop


def exit_code(stop: Stop) -> int:
    return 128 + stop.signal if stop.signal else 0


def whole_number(most: int) -> Callable[[str], int]:
    """An argument type: a whole number from 1 to `most`."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", text) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {most}")
        return int(text)

    return convert
