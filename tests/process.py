"""The real runner as a child process, in an environment that holds nothing of the developer's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one line of JSON that it has to be."""
        (line,) = self.stdout.splitlines()
        document: dict[str, Any] = json.loads(line)
        return document


@dataclass(frozen=True, slots=True)
class Runner:
    """Starts `python -m src.alerts.runner`; `environ` is all that it sees besides PATH."""

    directory: Path
    environ: dict[str, str]

    def start(self, *arguments: str, module: str = "src.alerts.runner", **environ: str) -> subprocess.Popen[str]:
        """Start and return; keywords are further variables, such as `ALERTS_MAX_SEND_PER_RUN="5"`."""
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "HOME": str(self.directory)}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.directory,
            env={**base, **self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _started.append(process)
        return process

    def run(self, *arguments: str, timeout: float = 60, module: str = "src.alerts.runner", **environ: str) -> Finished:
        """Start, and wait for the end; a process that outlasts `timeout` seconds is killed and fails the test."""
        return wait_for(self.start(*arguments, module=module, **environ), timeout)


def wait_for(process: subprocess.Popen[str], timeout: float = 60) -> Finished:
    """Wait for a process that `Runner.start` started."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"still running after {timeout} s; stderr:\n{stderr}") from None
    return Finished(process.returncode, stdout, stderr)


def kill_leftovers() -> None:
    """End what was started and not waited for, as after a failed test."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()
