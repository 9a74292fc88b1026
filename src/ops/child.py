"""Programs as child processes that behave as if they had been started directly.

They share the terminal; SIGINT and SIGTERM that reach this process are handed on, and the exit code is
theirs (128 + n where a signal ended them). A Ctrl-C reaches the child twice, from the terminal and from
here: the runner takes the second for the first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
_HANDED_ON = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended, and what it wrote as far as that was captured."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON document on stdout; None where there is none (a wrong command line, a killed child)."""
        try:
            document = json.loads(self.stdout)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    capture_stdout: bool = False,
    capture_stderr: bool = False,
) -> Finished:
    """Run to the end, from whatever directory. To be called in the main thread, where signals arrive."""
    early: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    sys.stdout.flush()
    previous = {number: signal.signal(number, hand_on) for number in _HANDED_ON}
    try:
        child = subprocess.Popen(  # noqa: S603 - our own modules and psql, never a shell
            command,
            env=_with_project(os.environ if environ is None else environ),
            stdout=subprocess.PIPE if capture_stdout else None,
            stderr=subprocess.PIPE if capture_stderr else None,
        )
        for number in early:
            child.send_signal(number)
        stdout, stderr = child.communicate()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    code = child.returncode
    return Finished(code if code >= 0 else 128 - code, stdout or b"", stderr or b"")


def _with_project(environ: Mapping[str, str]) -> dict[str, str]:
    """Modules of this project are found from every directory, installed or not."""
    path = os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH"))))
    return {**environ, "PYTHONPATH": path}
