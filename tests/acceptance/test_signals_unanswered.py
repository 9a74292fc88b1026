"""SIGTERM while the database does not answer at all: the real process says so, and ends in time all the same."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime

from src.db.connection import Database
from tests.acceptance.test_signals import SECONDS, WAITING, queue, record, start, stopped, tables_held
from tests.factories import World
from tests.integration.busy import until
from tests.integration.freezer import Freezer
from tests.integration.sending import Sending
from tests.integration.test_heartbeat import Monitor, monitor  # noqa: F401 - a fixture
from tests.process import Finished, Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider


def assert_interrupted(finished: Finished) -> None:
    """No trouble is made up of what is not known."""
    assert finished.exit_code == 143
    document = finished.document
    assert (document["status"], document["stop_reason"], document["errors"]) == ("interrupted", "signal", [])
    assert [phase["status"] for phase in document["phases"]] == ["interrupted"]
    assert "Traceback" not in finished.stderr


def test_a_network_that_was_gone_before_the_signal(
    database: Database,
    database_url: str,
    world: World,
    runner: Runner,
    provider: Provider,
    monitor: Monitor,  # noqa: F811
) -> None:
    """The results in memory are offered as long as that makes sense; then nothing waits any more, the ping least."""
    queue(Sending(database, world, provider), "telegram", 1000)
    provider.script("telegram", default=Answer(accepts=True, seconds_after=0.3))
    with Freezer(database_url) as network:
        process = start(runner, provider, DATABASE_URL=network.url, ALERTS_HEARTBEAT_URL=monitor.url)
        until(lambda: len(provider.accepted) >= 8)
        monitor.hold.clear()
        network.frozen.set()
        time.sleep(0.5)
        finished, took = stopped(process, signal.SIGTERM)
    assert took < SECONDS
    assert_interrupted(finished)
    assert "results are left to recovery" in finished.stderr
    assert [path.partition("?")[0] for path in monitor.paths] == ["/ping/secret-uuid/start", "/ping/secret-uuid/143"]


def test_a_database_that_freezes_after_the_signal(
    database: Database, database_url: str, world: World, runner: Runner, provider: Provider
) -> None:
    """While the last requests are waited for, whose results would be the last to write."""
    queue(Sending(database, world, provider), "telegram")
    provider.script("telegram", default=Answer(accepts=True, seconds_after=4.7))
    with Freezer(database_url) as network:
        process = start(runner, provider, DATABASE_URL=network.url)
        until(lambda: len(provider.accepted) == 4)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        time.sleep(4.4)
        network.frozen.set()
        finished = wait_for(process, 30)
    assert time.monotonic() - began < SECONDS
    assert_interrupted(finished)


def test_a_run_whose_results_cannot_be_written_is_on_record(
    database: Database, database_url: str, world: World, runner: Runner, provider: Provider
) -> None:
    """The rest of the database answers: the last offer of results leaves time enough to say how the run ended."""
    queue(Sending(database, world, provider), "telegram")
    provider.script("telegram", default="hang_accepted")
    process = start(runner, provider)
    until(lambda: len(provider.accepted) == 4)
    with tables_held(database_url, "user_alert_deliveries"):
        finished, took = stopped(process, signal.SIGTERM)
    assert took < SECONDS
    assert_interrupted(finished)
    assert record(world) == ("interrupted", "signal", True)


def test_a_dry_run_whose_only_connection_waits(
    database: Database, database_url: str, world: World, runner: Runner, provider: Provider
) -> None:
    event = world.alert_event(created_at=datetime.now(UTC), fanned_out=True)
    world.delivery(world.user(), event)
    with tables_held(database_url, "alert_events"):
        process = runner.start("--phase", "c", "--log-json", "--dry-run")
        until(lambda: world.value(WAITING))
        finished, took = stopped(process, signal.SIGTERM)
    assert took < SECONDS
    assert_interrupted(finished)
