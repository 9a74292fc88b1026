"""Faults of the machine under the database, on a container of its own, while the real runner works.

Each time: the run ends or goes on within 30 seconds, with a clear error and exit code, and the next run
completes the work with nothing lost and nothing sent twice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import psycopg2
import pytest

from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server
from tests.factories import World
from tests.integration.busy import BusyRun, until
from tests.on_database import PROJECT_LABEL, SERVICE_LABEL, container_of
from tests.process import Runner
from tests.providers.process import Provider

PROJECT = os.environ.get("TEST_COMPOSE_PROJECT", "")
SMALL_DISK = "/small"
pytestmark = pytest.mark.skipif(not PROJECT, reason="these need Docker: nox -s integration -- --db compose")


@dataclass(frozen=True, slots=True)
class Machine:
    """A container with PostgreSQL that keeps its data and its port over a restart."""

    container: Any
    server: Server

    def answers(self) -> bool:
        try:
            with closing(psycopg2.connect(self.server.url)):
                return True
        except psycopg2.OperationalError:
            return False

    @property
    def network(self) -> Any:
        return self.container.client.networks.get("bridge")

    def shell(self, command: str) -> None:
        result = self.container.exec_run(["sh", "-c", command], user="root")
        assert result.exit_code == 0, result.output


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A twin of the compose container; it carries the project's labels, so that `compose down` removes it too."""
    port = free_port()
    with closing(docker.from_env(timeout=60)) as client:
        container = client.containers.run(
            container_of(client, PROJECT).image,
            detach=True,
            environment={"POSTGRES_PASSWORD": "hunter2"},
            labels={PROJECT_LABEL: PROJECT, SERVICE_LABEL: "faults", "com.docker.compose.oneoff": "False"},
            ports={"5432/tcp": ("127.0.0.1", port)},
            stop_signal="SIGINT",
            tmpfs={SMALL_DISK: "size=32m"},
        )
        try:
            url = f"postgresql://postgres:hunter2@127.0.0.1:{port}/postgres"
            machine = Machine(container, Server(url, "a container"))
            until(machine.answers, 60)
            yield machine
        finally:
            container.remove(force=True, v=True)


@pytest.fixture
def database(machine: Machine) -> Database:
    machine.server.administer("CREATE DATABASE busy")
    database = Database(Secret(machine.server.url_of("busy")))
    migrate.apply(database)
    return database


@pytest.fixture
def busy(machine: Machine, database: Database, provider: Provider, tmp_path: Path) -> BusyRun:
    runner = Runner(tmp_path, {"DATABASE_URL": machine.server.url_of("busy")})
    with database.session() as session:
        run = BusyRun(World(session), runner, provider)
        run.populate()
    return run


def assert_rerun_completes(busy: BusyRun, database: Database) -> None:
    with database.session() as session:
        replace(busy, world=World(session)).assert_rerun_completes()


def killed(machine: Machine) -> None:
    machine.container.kill()


def stopped(machine: Machine) -> None:
    machine.container.stop(timeout=10)


def restarted(machine: Machine) -> None:
    machine.container.restart(timeout=10)


def cut_off(machine: Machine) -> None:
    machine.network.disconnect(machine.container)


def started_again(machine: Machine) -> None:
    machine.container.start()


def connected_again(machine: Machine) -> None:
    machine.network.connect(machine.container)


def untouched(_machine: Machine) -> None:
    pass


@pytest.mark.parametrize(
    ("fault", "mend"),
    [(killed, started_again), (stopped, started_again), (restarted, untouched), (cut_off, connected_again)],
)
def test_the_database_goes_away_while_a_run_sends(
    machine: Machine,
    busy: BusyRun,
    database: Database,
    fault: Callable[[Machine], None],
    mend: Callable[[Machine], None],
) -> None:
    process = busy.start()
    busy.wait_until_sending()
    fault(machine)
    finished = busy.end_of(process)
    busy.assert_failed(finished, "database.unreachable", "lock.lost")
    mend(machine)
    until(machine.answers, 60)
    assert_rerun_completes(busy, database)


def test_a_run_waits_for_a_database_that_pauses(machine: Machine, busy: BusyRun, database: Database) -> None:
    process = busy.start()
    busy.wait_until_sending()
    machine.container.pause()
    time.sleep(5)
    machine.container.unpause()
    assert busy.end_of(process).exit_code == 0
    with database.session() as session:
        replace(busy, world=World(session)).assert_done()


def test_the_servers_disk_is_full(machine: Machine, busy: BusyRun, database: Database) -> None:
    """The tables are on a disk of 32 MB; a low fill factor makes phase B need new pages."""
    with database.session() as session:
        World(session).execute("ALTER TABLE user_alert_deliveries SET (fillfactor = 10)")
    machine.shell(f"chown postgres {SMALL_DISK}")
    machine.server.administer(f"CREATE TABLESPACE small LOCATION '{SMALL_DISK}'")
    machine.server.administer("ALTER DATABASE busy SET TABLESPACE small")
    machine.shell(f"dd if=/dev/zero of={SMALL_DISK}/filler bs=4k 2>/dev/null; test -s {SMALL_DISK}/filler")
    busy.assert_failed(busy.end_of(busy.start()), "database.disk_full")
    machine.shell(f"rm {SMALL_DISK}/filler")
    assert_rerun_completes(busy, database)
