"""`python -m src.ops.doctor`: preflight for the work place. Each check says how to mend what it finds.

✗ stops work here, ! narrows it; the exit code is 1 if there is a ✗. What a run needs of the database is
preflight's business.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from src import console
from src.alerts.channels.configuration import configuration
from src.console import Line, State
from src.ops import child, command
from src.settings import process_environment, read_settings

OLDEST_PYTHON = (3, 11)
SERVE_PORT = 8000


def main() -> int:
    """Print the list; the exit code."""
    return command.concluded(_main)


def _main() -> int:
    lines = [*_python(), *_packages(), *_docker(), *_port(), *_environment()]
    console.print_lines(lines)
    return 1 if any(line.state is State.BAD for line in lines) else 0


def _python() -> Iterator[Line]:
    shown = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield Line(State.BAD, f"Python {shown}", "install Python 3.11 or newer and make the environment anew")
    else:
        yield Line(State.GOOD, f"Python {shown}")


def _packages() -> Iterator[Line]:
    text = (child.ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    # Lines such as `rich==15.0.0 \\`; those with a condition (`; sys_platform == …`) may not apply here.
    pins = re.findall(r"^([\w.-]+)==([^\s;]+) \\$", text, flags=re.MULTILINE)
    wrong = [name for name, pin in pins if _installed(name) != pin]
    if wrong:
        shown = ", ".join(wrong[:5]) + (" …" if len(wrong) > 5 else "")
        yield Line(State.BAD, f"not as pinned: {shown}", "pip install -r requirements-dev.txt")
    else:
        yield Line(State.GOOD, f"{len(pins)} packages as pinned")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _docker() -> Iterator[Line]:
    try:
        import docker
        import docker.errors
    except ImportError:
        return  # named among the packages
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except docker.errors.DockerException:
        mend = "start Docker to test on it; without it `nox` uses the embedded PostgreSQL"
        yield Line(State.DOUBTFUL, "no Docker engine answers", mend)
    else:
        yield Line(State.GOOD, "a Docker engine answers")


def _port() -> Iterator[Line]:
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", SERVE_PORT)) == 0
    if taken:
        yield Line(State.DOUBTFUL, f"port {SERVE_PORT} is taken", "invoke serve --port with another number")
    else:
        yield Line(State.GOOD, f"port {SERVE_PORT} is free for `invoke serve`")


def _environment() -> Iterator[Line]:
    file = Path(".env")
    if not file.exists():
        yield Line(State.DOUBTFUL, "no .env here", "cp .env.example .env && chmod 600 .env, and fill in what you use")
    elif file.stat().st_mode & 0o077:
        yield Line(State.DOUBTFUL, ".env can be read by others", "chmod 600 .env")
    else:
        yield Line(State.GOOD, ".env is there, for your eyes only")
    settings, errors, warnings = read_settings(process_environment())
    yield from (Line(State.BAD, finding.code, finding.text) for finding in errors)
    yield from (Line(State.DOUBTFUL, finding.code, finding.text) for finding in warnings)
    if settings.database_url is None:
        yield Line(
            State.DOUBTFUL, "DATABASE_URL is not set", "set DATABASE_URL=embedded for a local server, no install"
        )
    for name, channel in configuration(settings).items():
        if channel.complete:
            yield Line(State.GOOD, f"{name} goes through {channel.provider}")
        else:
            yield Line(State.DOUBTFUL, f"{name} is not configured", f"set {', '.join(channel.missing)}")


if __name__ == "__main__":
    sys.exit(main())
