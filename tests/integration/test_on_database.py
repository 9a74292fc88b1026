"""The choice of the database, and that nothing of the container is left, however the tests end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.busy import until
from tests.on_database import PROJECT_LABEL, docker_answers
from tests.process import ROOT

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
WAITS = "import time\ndef test_it(server):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
SHORT = "def test_it(server):\n    pass\n"


def start(test: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """`python -m tests.on_database` on one test file, in a process group of its own."""
    clean = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "HOME", "LANG", "DOCKER_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.on_database", *arguments, str(test), "-s", "-p", "tests.conftest"],
        cwd=ROOT,
        env=clean | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(directory: Path, *arguments: str, **environ: str) -> tuple[int, list[str]]:
    """Exit code and output of a run on one short test."""
    test = directory / "test_short.py"
    test.write_text(SHORT, encoding="utf-8")
    with start(test, *arguments, **environ) as process:
        output, _ = process.communicate(timeout=120)
    return process.returncode, output.splitlines()


def test_without_an_engine_it_is_the_embedded_server(tmp_path: Path) -> None:
    exit_code, lines = run(tmp_path, **NO_ENGINE)
    assert (exit_code, lines[0], lines[-1]) == (0, "database: embedded", "database: embedded"), lines
    assert any(line.startswith("database: the embedded server, PostgreSQL") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (("--db", "compose"), NO_ENGINE),
        (("--db", "url"), {}),
        ((), NO_ENGINE | {"GITHUB_ACTIONS": "true"}),
    ],
)
def test_a_database_that_is_forced_and_not_there_is_a_failure(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    exit_code, lines = run(tmp_path, *arguments, **environ)
    assert exit_code == 1
    assert lines[-1].startswith("database: not "), lines


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    if not docker_answers():
        pytest.skip("there is no Docker engine")
    with closing(docker.from_env()) as client:
        yield client


def things_of(engine: docker.DockerClient, project: str) -> list[Any]:
    """Containers and networks of a compose project."""
    filters: dict[str, Any] = {"label": f"{PROJECT_LABEL}={project}"}
    return engine.containers.list(all=True, filters=filters) + engine.networks.list(filters=filters)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_container_behind(
    engine: docker.DockerClient, tmp_path: Path, number: signal.Signals
) -> None:
    test = tmp_path / "test_waits.py"
    test.write_text(WAITS, encoding="utf-8")
    with start(test, "--db", "compose") as process:
        assert process.stdout
        project = process.stdout.readline().removeprefix("database: compose, project ").strip()
        until(lambda: "waiting" in process.stdout.readline(), 120)
        assert len(things_of(engine, project)) == 2
        os.killpg(process.pid, number)  # as a terminal does: to all of them
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not things_of(engine, project)
