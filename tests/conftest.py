"""Fixtures for all tests: a server for the session, a migrated database for each test, the real runner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server, start_server
from tests.factories import World
from tests.process import Runner, kill_leftovers
from tests.providers.process import Provider, running_provider

TEST_SECONDS = 240  # longest that one test may take, hypothesis' examples together
_LABEL = pytest.StashKey[str]()

settings.register_profile(
    "local",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    server = start_server()
    pytestconfig.stash[_LABEL] = server.label
    return server


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a migrated database from which tests get their copies. Leave it alone."""
    with server.new_database() as name:
        migrate.apply(Database(Secret(server.url_of(name))))
        yield name


@pytest.fixture
def database_url(server: Server, template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with server.new_database(template) as name:
        yield server.url_of(name)


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(Secret(database_url))


@pytest.fixture
def empty_database_url(server: Server) -> Iterator[str]:
    """A database without any table."""
    with server.new_database() as name:
        yield server.url_of(name)


@pytest.fixture
def empty_database(empty_database_url: str) -> Database:
    return Database(Secret(empty_database_url))


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    """Rows for this test's database, and a look at them."""
    with database.session() as session:
        yield World(session)


@pytest.fixture
def runner(database_url: str, tmp_path: Path) -> Runner:
    """The real runner on this test's database; messages go to `outbox/` under `tmp_path` unless told otherwise."""
    return Runner(tmp_path, {"DATABASE_URL": database_url, "ALERTS_TRANSPORT": "outbox"})


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    yield
    kill_leftovers()


@pytest.fixture(scope="session")
def provider_process() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(provider_process: Provider) -> Provider:
    """The fault server, with nothing in its records; `provider.environ` leads the runner there."""
    provider_process.reset()
    return provider_process


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """No test hangs: it fails where it stands."""

    def expire(*_: Any) -> None:
        pytest.fail(f"{item.name} took longer than {TEST_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def pytest_configure() -> None:
    """A terminated session ends as after Ctrl-C: what it started is ended, too."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the process that sums up which database it had."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["database"] = session.config.stash.get(_LABEL, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if label := getattr(node, "workeroutput", {}).get("database"):
        node.config.stash[_LABEL] = label


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    label = config.stash.get(_LABEL, None)
    if label:
        terminalreporter.write_line(f"database: {label}")
