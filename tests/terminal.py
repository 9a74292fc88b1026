"""A process on a terminal of its own, as a person would have it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.process import Finished


def on_terminal(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], answers: Mapping[str, str], timeout: float = 60
) -> Finished:
    """Run to the end; each answer is typed once its prompt has appeared. stdout holds what the screen showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # the terminal is its controlling one, so that Ctrl-C is a signal
        command,
        cwd=cwd,
        env={"COLUMNS": "120", "TERM": "dumb", **environ},
        pass_fds=(theirs,),
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    screen, waiting, deadline = b"", dict(answers), time.monotonic() + timeout
    try:
        while chunk := _read(ours, deadline):
            screen += chunk
            for prompt in [prompt for prompt in waiting if prompt.encode() in screen]:
                os.write(ours, waiting.pop(prompt).encode())
        code = process.wait(timeout=max(deadline - time.monotonic(), 0.1))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Finished(code, screen.decode().replace("\r\n", "\n"), "")


def _read(terminal: int, deadline: float) -> bytes:
    """What has been printed; empty when the process has closed the terminal."""
    ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
    if not ready:
        raise AssertionError("still running")
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the closed end as an error
        return b""
