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

CTRL_C = b"\x03"


def on_terminal(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], answers: Mapping[str, str], timeout: float = 60
) -> Finished:
    """Run to the end; each answer is typed once its prompt has appeared. stdout holds what the screen showed.

    Ctrl-C is pressed again after each quiet second, as by a person: a signal that comes between a prompt
    and the wait for its answer does not end that wait.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # the terminal is its controlling one, so that Ctrl-C is a signal
        command,
        cwd=cwd,
        env={"COLUMNS": "120", "TERM": "dumb", **environ},
        pass_fds=(theirs,),
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    screen, waiting, again, deadline = b"", dict(answers), b"", time.monotonic() + timeout
    try:
        while (chunk := _read(ours)) != b"":
            assert time.monotonic() < deadline, f"still running; the screen shows:\n{screen.decode()}"
            screen += chunk or b""
            for prompt in [prompt for prompt in waiting if prompt.encode() in screen]:
                again = waiting.pop(prompt).encode()
                os.write(ours, again)
            if chunk is None and again == CTRL_C:
                os.write(ours, again)
        code = process.wait(timeout=max(deadline - time.monotonic(), 0.1))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Finished(code, screen.decode().replace("\r\n", "\n"), "")


def _read(terminal: int) -> bytes | None:
    """What has been printed; None if nothing came for a second; empty when the process has closed the terminal."""
    ready, _, _ = select.select([terminal], [], [], 1)
    if not ready:
        return None
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the closed end as an error
        return b""
