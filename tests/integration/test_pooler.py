"""Behind a real pgbouncer in transaction mode the locks still hold, and runs work (invariant I10)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import Secret
from tests.database import Server
from tests.factories import World
from tests.integration.busy import BusyRun
from tests.integration.test_faults import HOLDER
from tests.integration.test_locks import holder, seconds_until_free
from tests.process import Runner, wait_for
from tests.providers.process import Provider

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)

CONFIGURATION = """
[databases]
* = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 4
"""


def socket_owner(host: str) -> str:
    """Who may reach the server: the owner of its socket's directory, anybody over TCP."""
    return Path(host).owner() if host.startswith("/") else "nobody"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def pgbouncer(server: Server, directory: Path, mode: str) -> Iterator[str]:
    """The URL, without a database, of a pooler in front of the server."""
    target = {key: value for key, value in parse_dsn(server.url).items() if key in ("host", "port", "user", "password")}
    port = free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(CONFIGURATION.format(target=make_dsn(**target), port=port, mode=mode), encoding="utf-8")
    user = ["-u", socket_owner(target["host"])] if os.geteuid() == 0 else []  # it refuses to run as root
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([str(PGBOUNCER), *user, str(configuration)], stderr=log)
    try:
        wait_until_it_listens(port, process)
        yield f"postgresql://anybody@127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        assert process.poll() is None, "pgbouncer ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("pgbouncer does not listen")


@pytest.fixture(scope="module")
def pooler(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pgbouncer(server, tmp_path_factory.mktemp("pgbouncer"), "transaction") as url:
        yield url


@pytest.fixture
def pooled_url(pooler: str, database_url: str) -> str:
    """This test's database through the pooler."""
    return pooler + urlsplit(database_url).path


@pytest.fixture
def pooled(pooled_url: str) -> Database:
    return Database(Secret(pooled_url))


def test_a_phase_has_one_run_at_a_time(pooled: Database) -> None:
    with RunLocks(pooled, "first") as first, RunLocks(pooled, "second") as second:
        assert first.try_phase("c")
        for _ in range(5):  # every connection of the pool has had its turn
            with pooled.session() as session, session.transaction():
                session.value("SELECT 1")
            first.ping()
            assert not second.try_phase("c")
            second.release_phase()
        assert second.is_alive("first")


def test_a_killed_run_frees_its_locks_at_once(pooled: Database, pooled_url: str) -> None:
    with holder(pooled_url) as process:
        process.kill()
        assert seconds_until_free(pooled, "c") < 2


def test_locks_through_the_pooler_and_past_it_are_the_same(pooled: Database, database: Database) -> None:
    with RunLocks(pooled, "pooled") as pooled_locks, RunLocks(database, "direct") as direct:
        assert pooled_locks.try_phase("c")
        assert not direct.try_phase("c")


@pytest.fixture
def busy(world: World, pooled_url: str, provider: Provider, tmp_path: Path) -> BusyRun:
    """A run through the pooler with work to do; the rows are looked at past it."""
    run = BusyRun(world, Runner(tmp_path, {"DATABASE_URL": pooled_url}), provider)
    run.populate()
    return run


def test_a_run_excludes_others_and_frees_its_locks_when_killed(busy: BusyRun) -> None:
    first = busy.start()
    busy.wait_until_sending()
    second = busy.end_of(busy.start())
    assert {phase["status"] for phase in second.document["phases"]} <= {"skipped", "success"}
    assert second.document["phases"][-1]["counts"] == {"skipped": True, "reason": "lock_not_acquired"}
    first.kill()
    wait_for(first)
    busy.assert_rerun_completes()
    statuses = busy.world.rows("SELECT status FROM alerts_engine_runs ORDER BY started_at")
    assert [run["status"] for run in statuses] == ["failed", "success", "success"]


def test_a_runs_locks_pin_no_old_rows(busy: BusyRun) -> None:
    process = busy.start(seconds_per_request=0.2)
    busy.wait_until_sending()
    looks = 0
    while process.poll() is None:
        looks += 1
        assert busy.world.rows(f"SELECT backend_xmin, backend_xid {HOLDER} AND state LIKE 'idle%%'") in (
            [{"backend_xmin": None, "backend_xid": None}],
            [],
        )
    assert looks > 20
    assert busy.end_of(process).exit_code == 0
    busy.assert_done()


def test_preflight_accepts_transaction_mode(busy: BusyRun) -> None:
    finished = busy.runner.run("--preflight", "--log-json", ALERTS_TRANSPORT="outbox")
    assert (finished.exit_code, finished.document["errors"]) == (0, [])
    assert finished.document["db_ok"] is True


def test_preflight_refuses_statement_mode(server: Server, database_url: str, runner: Runner, tmp_path: Path) -> None:
    with pgbouncer(server, tmp_path, "statement") as url:
        finished = runner.run("--preflight", DATABASE_URL=url + urlsplit(database_url).path)
    assert finished.exit_code == 1
    assert [error.partition(":")[0] for error in finished.document["errors"]] == ["locks.do_not_hold"]
    assert finished.document["db_ok"] is False
