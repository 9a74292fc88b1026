"""Runs the engine over real days: the real runner as a child process, in an environment of its own.

Nothing of the developer's environment or `.env` reaches it, the transport is the outbox, and time is
`--now`. A run that ends with an error ends the demo with its exit code.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from src.errors import AlertsError, Finding
from src.ops import child
from src.settings import Secret

OUTBOX = Path("outbox/demo")
EVENING = time(18, tzinfo=UTC)
MORNING = time(7, tzinfo=UTC)
"""After `ALERTS_DIGEST_HOUR` in the default time zone, summer and winter."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class StepError(AlertsError):
    """A step of the demo failed: the runner's findings, and its exit code."""

    def __init__(self, step: str, finished: child.Finished) -> None:
        errors = [Finding(*entry.split(": ", 1)) for entry in (finished.document or {}).get("errors", [])]
        self.exit_code = finished.exit_code or 1
        super().__init__(*errors, Finding("demo.stopped", f"{step} ended with exit code {self.exit_code}"))


@dataclass(frozen=True, slots=True)
class Engine:
    """The runner against one database, with files for messages."""

    database_url: Secret
    outbox: Path = OUTBOX

    def preflight(self, now: datetime) -> dict[str, Any]:
        return self._run("preflight", "--preflight", now=now)

    def run(self, now: datetime) -> dict[str, Any]:
        """A run that looks back two days, so that it meets the alerts of the day before again."""
        return self._run("the run", "--phase", "all", "--since-hours", "48", "--log-json", now=now)

    def health(self, now: datetime) -> dict[str, Any]:
        return self._run("health", "--health", now=now)

    def empty_outbox(self) -> None:
        """Throw away the messages of the last demo; other messages lie elsewhere."""
        shutil.rmtree(self.outbox, ignore_errors=True)

    def _run(self, step: str, *flags: str, now: datetime) -> dict[str, Any]:
        command = child.python("src.alerts.runner", *flags, "--now", now.isoformat())
        finished = child.run(command, environ=self._environ(), capture_stdout=True, capture_stderr=True)
        if finished.exit_code or finished.document is None:
            if finished.exit_code < 128:
                sys.stderr.write(finished.stderr.decode(errors="replace"))
            raise StepError(step, finished)
        return finished.document

    def _environ(self) -> dict[str, str]:
        return {
            **{name: value for name in _KEPT if (value := os.environ.get(name))},
            "PYTHON_DOTENV_DISABLED": "true",
            "DATABASE_URL": self.database_url.reveal(),
            "ALERTS_TRANSPORT": "outbox",
            "ALERTS_OUTBOX_DIR": str(self.outbox),
            "ALERTS_APP_BASE_URL": "https://energyriskiq.example.com",
        }


@dataclass(frozen=True, slots=True)
class DaySummary:
    """One day of a replay, from the run's document."""

    day: date
    alerts: int
    known: int
    instants: int
    moved_to_digest: int
    over_quota: int
    digests: int
    items_in_digests: int

    @classmethod
    def of(cls, day: date, document: dict[str, Any]) -> DaySummary:
        counts = {item["phase"]: item["counts"] for item in document["phases"]}
        return cls(
            day,
            counts["a"]["events_created"],
            counts["a"]["events_skipped"],
            counts["c"]["deliveries"]["sent"],
            counts["b"]["moved_to_digest"],
            counts["b"]["deliveries_skipped_quota"],
            counts["c"]["digests"]["sent"],
            counts["d"]["digest_items_attached"],
        )
