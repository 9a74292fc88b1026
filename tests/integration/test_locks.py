"""The advisory locks hold for the length of a run, free themselves, and pin no old rows (invariant I10)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from src.db import waiting
from src.db.connection import Database
from src.db.locks import RunLocks, lock_key, phase_lock_name
from src.errors import LockLostError, StoppedError
from tests.database import Server
from tests.factories import World
from tests.process import ROOT

HOLD = """
import sys
from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import Secret
with RunLocks(Database(Secret(sys.argv[1])), "killed") as locks:
    print(locks.try_phase("c"), flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of phase C until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def seconds_until_free(database: Database, phase: str) -> float:
    """How long the lock of a phase takes to become free, up to ten seconds."""
    start = time.monotonic()
    with RunLocks(database, "next") as locks:
        while not locks.try_phase(phase):
            assert time.monotonic() < start + 10, "the lock is not freed"
            time.sleep(0.01)
    return time.monotonic() - start


def test_a_phase_has_one_run_at_a_time(database: Database) -> None:
    with RunLocks(database, "first") as first, RunLocks(database, "second") as second:
        assert first.try_phase("c")
        assert not second.try_phase("c")
        assert second.try_phase("a"), "another phase is free"
        second.release_phase()
        first.release_phase()
        assert second.try_phase("c")


def test_a_run_is_alive_until_its_locks_are_gone(database: Database) -> None:
    with RunLocks(database, "watcher") as watcher:
        with RunLocks(database, "run") as run:
            assert run.try_phase("b")
            assert watcher.is_alive("run")
            run.release_phase()
            assert watcher.is_alive("run"), "the run outlives its phases"
        assert not watcher.is_alive("run")
        assert not watcher.is_alive("nobody")


def test_a_killed_run_frees_its_locks_at_once(database: Database, database_url: str) -> None:
    with holder(database_url) as process:
        process.kill()
        assert seconds_until_free(database, "c") < 2


def test_a_run_that_lost_its_connection_is_told(database: Database, world: World) -> None:
    with RunLocks(database, "run") as locks:
        assert locks.try_phase("c")
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with pytest.raises(LockLostError):
            locks.ping()
        with pytest.raises(LockLostError):
            locks.try_phase("d")


def test_a_held_lock_pins_no_old_rows(database: Database, world: World) -> None:
    with RunLocks(database, "run") as locks:
        assert locks.try_phase("c")
        for _ in range(3):
            world.user()
            locks.ping()
            key = lock_key(phase_lock_name("c")) % 2**64
            holders = world.rows(
                "SELECT state, backend_xmin, backend_xid FROM pg_stat_activity JOIN pg_locks USING (pid)"
                " WHERE classid = %(high)s AND objid = %(low)s AND datname = current_database()",
                high=key >> 32,
                low=key % 2**32,
            )
            assert holders == [{"state": "idle in transaction", "backend_xmin": None, "backend_xid": None}]


def test_the_servers_idle_timeout_does_not_end_a_run(server: Server, database: Database, world: World) -> None:
    name = world.value("SELECT current_database()")
    server.administer(f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 200')
    with RunLocks(database, "run") as locks:
        assert locks.try_phase("c")
        time.sleep(0.5)  # more than the timeout
        locks.ping()


def test_a_wait_that_was_cut_short_tells_nothing_of_the_locks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does whatever is asked of the connection after it."""
    monkeypatch.setattr(waiting, "_haste", waiting._Haste())
    with RunLocks(database, "run") as locks:
        assert locks.try_phase("c")
        waiting.hurry(0, work=0, last=0)
        for ask in (locks.ping, locks.release_phase, lambda: locks.try_phase("d")):
            with pytest.raises(StoppedError):
                ask()
    monkeypatch.undo()
    assert seconds_until_free(database, "c") < 2
