"""The exception tree. Each class owns its exit code; `runner.main` is the one place that exits.

Messages are written to be shown: they name variables, tables and codes, never values, addresses or
connection strings (invariant I8).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a stable dotted code, and a sentence that says how to mend it."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class AlertsError(Exception):
    """Base of all errors that a user is meant to read."""

    exit_code = 1

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings: Sequence[Finding] = findings


class UsageError(AlertsError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(AlertsError):
    """The environment is wrong."""


class DatabaseError(AlertsError):
    """The database cannot be reached, is not as the code needs it, or refused a statement."""


class StoppedError(DatabaseError):
    """The run was asked to stop, and a statement did not end by itself in the time that is left."""


class LockLostError(DatabaseError):
    """The connection that holds the advisory locks is gone; the phase must stop."""


def internal(error: Exception) -> Finding:
    """An error that nobody foresaw, by class and place: its text can hold private data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return Finding("internal", f"{type(error).__name__}{place}: please report this")
