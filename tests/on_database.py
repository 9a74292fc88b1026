"""Run the integration and acceptance tests on a database of choice: `python -m tests.on_database`.

`--db url` takes TEST_DATABASE_URL; `compose` starts compose.yaml under a project name of its own and
removes it whatever happens, also after Ctrl-C and SIGTERM; `embedded` leaves it to the fixtures. Each of
them fails if it can't. Without `--db` the first of the three that is there is taken (GitHub CI: compose).
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
from docker.errors import DockerException

from tests.process import ROOT

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TESTS = ("tests/integration", "tests/acceptance", "--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
PROJECT_LABEL = "com.docker.compose.project"
PROJECT = "TEST_COMPOSE_PROJECT"
SERVICE_LABEL = "com.docker.compose.service"


class UnavailableError(Exception):
    """The wanted database can't be had."""


def docker_answers() -> bool:
    """Whether there is a Docker engine."""
    try:
        with closing(docker.from_env(timeout=10)) as client:
            return bool(client.ping())
    except DockerException:
        return False


def container_of(client: docker.DockerClient, project: str) -> docker.models.containers.Container:
    """The project's one PostgreSQL container."""
    labels = [f"{PROJECT_LABEL}={project}", f"{SERVICE_LABEL}=postgres"]
    (container,) = client.containers.list(filters={"label": labels})
    return container


def _address_of(project: str) -> str:
    """`host:port` of the project's PostgreSQL, once it is healthy."""
    with closing(docker.from_env(timeout=10)) as client:
        container = container_of(client, project)
        health = container.attrs["State"]["Health"]["Status"]
        if health != "healthy":
            raise UnavailableError(f"the container is {health}")
        (published,) = container.ports["5432/tcp"]
        return f"{published['HostIp']}:{published['HostPort']}"


@contextmanager
def _compose() -> Iterator[dict[str, str]]:
    """PostgreSQL from compose.yaml for the length of the block."""
    project = f"energyriskiq-test-{secrets.token_hex(4)}"
    command = ("docker", "compose", "--progress=quiet", "--project-name", project, "--file", str(ROOT / "compose.yaml"))
    try:
        try:
            subprocess.run([*command, "up", "--detach", "--wait", "--quiet-pull"], check=True, timeout=300)
            address = _address_of(project)
        except (OSError, subprocess.SubprocessError, DockerException, LookupError, ValueError) as error:
            raise UnavailableError(f"docker compose up: {error}") from error
        yield {
            "TEST_DATABASE_URL": f"postgresql://postgres:test@{address}/postgres",
            "TEST_DATABASE_NAME": "the compose container",
            PROJECT: project,
        }
    finally:
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        subprocess.run([*command, "down", "--volumes", "--remove-orphans", "--timeout=1"], check=False, timeout=120)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _url() -> Iterator[dict[str, str]]:
    if not os.environ.get("TEST_DATABASE_URL"):
        raise UnavailableError("TEST_DATABASE_URL is not set")
    yield {}


@contextmanager
def _embedded() -> Iterator[dict[str, str]]:
    os.environ.pop("TEST_DATABASE_URL", None)
    yield {}


DATABASES = {"url": _url, "compose": _compose, "embedded": _embedded}


def _candidates(wanted: str | None) -> list[str]:
    """The databases to try, in this order; several only if nobody wants a certain one."""
    if wanted:
        return [wanted]
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return ["compose"]
    if os.environ.get("TEST_DATABASE_URL"):
        return ["url"]
    return ["compose", "embedded"] if docker_answers() else ["embedded"]


def _pytest(arguments: Sequence[str]) -> int:
    """Run pytest; an interrupt reaches it and all its workers, which then have half a minute to end."""
    command = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return process.wait(30)
            os.killpg(process.pid, signal.SIGKILL)
            return 128 + signal.SIGINT


def _interrupt_once(*_: object) -> None:
    """The first SIGINT or SIGTERM ends the tests; later ones must not end the tidying up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Run pytest on the chosen database; its exit code, or 1 if there is no such database."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--db", choices=tuple(DATABASES))
    options, pytest_arguments = parser.parse_known_args(arguments)
    if not any(Path(argument.split("::")[0]).exists() for argument in pytest_arguments):
        pytest_arguments += TESTS
    for number in SIGNALS:
        signal.signal(number, _interrupt_once)
    for name in _candidates(options.db):
        try:
            with DATABASES[name]() as environ:
                os.environ.update(environ)
                project = environ.get(PROJECT)
                label = f"database: {name}, project {project}" if project else f"database: {name}"
                print(label, flush=True)
                exit_code = _pytest(pytest_arguments)
            print(label, flush=True)
            return exit_code
        except UnavailableError as error:
            print(f"database: not {name}: {error}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
