"""Faults that any server can be made to have while the real runner works: each ends with a clear error
or goes on, and the next run completes the work with nothing lost and nothing sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import start_embedded
from tests.factories import World
from tests.integration.busy import BusyRun, until
from tests.process import Runner
from tests.providers.process import Provider

OURS = "datname = current_database() AND application_name = 'energyriskiq-alerts' AND pid <> pg_backend_pid()"
WAITING = f"FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock'"
HOLDER = f"FROM pg_stat_activity WHERE {OURS} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"

# What a phase writes first: whoever holds that table stops the phase there.
TABLES = {"a": "alert_events", "b": "user_alert_deliveries", "d": "user_alert_digests", "c": "user_alert_deliveries"}
FAULTS = {
    "statement cancelled": (f"SELECT pg_cancel_backend(pid) {WAITING}", "database.canceled"),
    "backend terminated": (f"SELECT pg_terminate_backend(pid) {WAITING}", "database.unreachable"),
    "locks lost": (f"SELECT pg_terminate_backend(pid) {HOLDER}", "lock.lost"),
}


@pytest.fixture
def busy(world: World, runner: Runner, provider: Provider) -> BusyRun:
    run = BusyRun(world, runner, provider)
    run.populate()
    return run


@contextmanager
def table_held(url: str, table: str) -> Iterator[None]:
    """Nobody else writes the table meanwhile."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", TABLES)
def test_a_phase_that_loses_its_statement_or_connection(
    busy: BusyRun, database_url: str, phase: str, fault: str
) -> None:
    statement, code = FAULTS[fault]
    with ExitStack() as stack:
        if phase != "c":
            stack.enter_context(table_held(database_url, TABLES[phase]))
        process = busy.start()
        if phase == "c":
            busy.wait_until_sending()
            stack.enter_context(table_held(database_url, TABLES[phase]))
        until(lambda: busy.world.value(f"SELECT count(*) {WAITING}"))
        assert busy.world.execute(statement)
    busy.assert_failed(busy.end_of(process), code)
    busy.assert_rerun_completes()


@pytest.fixture
def lonely(provider: Provider, tmp_path: Path) -> Iterator[BusyRun]:
    """Work on a server of its own, whose connections nobody else misses."""
    server = start_embedded()
    with server.new_database() as name:
        database = Database(Secret(server.url_of(name)))
        migrate.apply(database)
        with database.session() as session:
            run = BusyRun(World(session), Runner(tmp_path, {"DATABASE_URL": server.url_of(name)}), provider)
            run.populate()
            yield run


@contextmanager
def no_connection_left(busy: BusyRun) -> Iterator[None]:
    """Every connection of the server is taken."""
    with ExitStack() as stack:
        with suppress(psycopg2.OperationalError):
            while True:
                stack.enter_context(closing(psycopg2.connect(busy.runner.environ["DATABASE_URL"])))
        yield


def test_no_connection_is_left_when_the_run_begins(lonely: BusyRun) -> None:
    with no_connection_left(lonely):
        finished = lonely.end_of(lonely.start())
    lonely.assert_failed(finished, "database.unreachable")
    assert "no connection left" in finished.document["errors"][0]
    lonely.assert_rerun_completes()


def test_connections_run_out_while_a_run_sends(lonely: BusyRun) -> None:
    process = lonely.start()
    lonely.wait_until_sending()
    with no_connection_left(lonely):
        lonely.end_of(process)
    lonely.assert_rerun_completes()
