"""SIGINT, SIGTERM and the deadline: the real process stops claiming, records what comes in, and ends in time."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from src.db.connection import Database
from tests.factories import World
from tests.integration.busy import until
from tests.integration.sending import FAST, RESEND, TELEGRAM, TWILIO, Sending
from tests.process import Finished, Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS = 7.0  # GitHub kills what has not ended after 7.5
SLOW = Answer(accepts=True, seconds_after=0.5)
LIVE = {**FAST, **RESEND, **TELEGRAM, **TWILIO, "ALERTS_TRANSPORT": "live", "ALERTS_SEND_CONCURRENCY": "4"}
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND application_name = 'energyriskiq-alerts'"
)


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def queue(sending: Sending, channel: str, number: int = 60) -> list[int]:
    people = sending.people(number)
    sending.instants(people, channel, created_at=datetime.now(UTC))
    return people


def start(runner: Runner, provider: Provider, phase: str = "c", **environ: str) -> subprocess.Popen[str]:
    return runner.start("--phase", phase, "--log-json", "--batch-size", "4", **{**LIVE, **provider.environ, **environ})


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[Finished, float]:
    """How the process ended after this signal, and how many seconds later."""
    process.send_signal(number)
    began = time.monotonic()
    finished = wait_for(process, 30)
    return finished, time.monotonic() - began


def record(world: World) -> tuple[object, ...]:
    """Status, stop reason and whether it is closed, of the newest run on record."""
    (row,) = world.rows(
        "SELECT status, counts ->> 'stop_reason' AS reason, finished_at IS NOT NULL AS closed"
        " FROM alerts_engine_runs ORDER BY id DESC LIMIT 1"
    )
    return tuple(row.values())


@pytest.mark.parametrize("number", SIGNALS)
def test_answers_in_flight_are_recorded_and_nothing_more_is_claimed(
    sending: Sending, world: World, runner: Runner, provider: Provider, number: signal.Signals
) -> None:
    for name in ("telegram", "resend", "twilio"):
        provider.script(name, default=SLOW)
    for channel in ("telegram", "email", "sms"):
        queue(sending, channel)
    process = start(runner, provider)
    until(lambda: {message["provider"] for message in provider.accepted} == {"telegram", "resend", "twilio"})
    finished, took = stopped(process, number)
    assert finished.exit_code == 128 + number
    assert took < 4, "there was nothing to wait for"
    document = finished.document
    assert (document["status"], document["stop_reason"]) == ("interrupted", "signal")
    assert document["stopped_early"]
    assert document["phases"][-1]["counts"]["stop_reason"] == "signal"
    assert document["phases"][-1]["status"] == "interrupted"
    assert record(world) == ("interrupted", "signal", True)
    assert sending.statuses() == {"sent": len(provider.accepted), "queued": 180 - len(provider.accepted)}
    assert len(provider.accepted) <= 4 * 4 + 4 + 4 + 12
    assert set(sending.rows("attempts, send_key", status="queued")) == {(0, None)}
    assert document["totals"]["sent"] == len(provider.accepted)
    assert "Traceback" not in finished.stderr


def test_what_does_not_answer_stays_claimed_and_the_next_run_recovers_it(
    sending: Sending, world: World, runner: Runner, provider: Provider
) -> None:
    provider.script("resend", "ok", default="hang_accepted")
    provider.script("telegram", "ok", default="hang_accepted")
    queue(sending, "email", 30)
    queue(sending, "telegram", 30)
    process = start(runner, provider)
    until(lambda: len(provider.requests) >= 10)
    time.sleep(0.5)
    finished, took = stopped(process, signal.SIGTERM)
    assert finished.exit_code == 143
    assert 4.5 < took < SECONDS
    assert record(world) == ("interrupted", "signal", True)
    claimed = sending.statuses()["sending"]
    assert sending.statuses(channel="email")["sending"] == 4 * 4
    assert sending.statuses(channel="telegram")["sending"] == 4
    for name in ("resend", "telegram"):
        provider.script(name)
    again = wait_for(start(runner, provider))
    assert again.document["phases"][-1]["counts"]["recovered"] == claimed
    assert sending.statuses() == {"sent": 60}
    twice = {to: times for to, times in sending.accepted().items() if times > 1}
    assert len(twice) == 4
    assert not [to for to in twice if "@" in to]


def test_the_deadline_stops_a_run_that_ends_well(
    sending: Sending, world: World, runner: Runner, provider: Provider
) -> None:
    provider.script("telegram", default=Answer(accepts=True, seconds_after=0.2))
    queue(sending, "telegram", 200)
    began = time.monotonic()
    finished = wait_for(start(runner, provider, ALERTS_DEADLINE_SECONDS="2"))
    assert time.monotonic() - began < 2 + SECONDS
    document = finished.document
    assert (finished.exit_code, document["status"]) == (0, "success")
    assert (document["stop_reason"], document["stopped_early"]) == ("deadline", True)
    assert record(world) == ("success", "deadline", True)
    left = document["phases"][-1]["counts"]["deliveries"]["left_queued"]
    assert left == 200 - document["totals"]["sent"] > 0
    assert sending.statuses() == {"sent": len(provider.accepted), "queued": left}


def test_a_signal_while_a_provider_asks_to_wait(sending: Sending, runner: Runner, provider: Provider) -> None:
    provider.script("telegram", default=Answer(429, "slow down", {"Retry-After": "30"}))
    queue(sending, "telegram")
    process = start(runner, provider)
    until(lambda: provider.requests)
    finished, took = stopped(process, signal.SIGTERM)
    assert (finished.exit_code, sending.statuses()) == (143, {"queued": 60})
    assert took < 4


def test_messages_that_wait_for_their_chats_turn_go_back(sending: Sending, runner: Runner, provider: Provider) -> None:
    (user_id,) = sending.people(1)
    sending.instants([user_id], "telegram", events=20, created_at=datetime.now(UTC))
    process = start(runner, provider, ALERTS_UNKNOWN_OUTCOME="fail")
    until(lambda: provider.accepted)
    finished, took = stopped(process, signal.SIGTERM)
    assert finished.exit_code == 143
    assert took < 4
    assert sending.statuses() == {"sent": len(provider.accepted), "queued": 20 - len(provider.accepted)}


@contextmanager
def tables_held(url: str, *tables: str) -> Iterator[None]:
    """Nobody else reads or writes these tables meanwhile."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_a_signal_ends_each_phase_while_it_waits_for_the_database(
    world: World, runner: Runner, provider: Provider, database_url: str
) -> None:
    now = datetime.now(UTC)
    world.news(at=now)
    user_id = world.user()
    world.delivery(user_id, world.alert_event(created_at=now - timedelta(hours=26)), kind="digest")
    world.alert_event(created_at=now)
    signals = {"a": signal.SIGINT, "b": signal.SIGTERM, "d": signal.SIGINT, "c": signal.SIGTERM}
    with tables_held(database_url, "alert_events", "user_alert_deliveries", "user_alert_digests"):
        processes = {phase: start(runner, provider, phase) for phase in signals}
        until(lambda: world.value(WAITING) >= len(signals))
        began = time.monotonic()
        for phase, number in signals.items():
            processes[phase].send_signal(number)
        ends = {phase: wait_for(process, 30) for phase, process in processes.items()}
        assert time.monotonic() - began < SECONDS
    for phase, finished in ends.items():
        assert finished.exit_code == 128 + signals[phase]
        document = finished.document
        assert (document["status"], document["stop_reason"], document["errors"]) == ("interrupted", "signal", [])
        assert document["phases"][0]["status"] == "interrupted"
        assert "Traceback" not in finished.stderr
    runs = world.rows("SELECT status, finished_at IS NOT NULL AS closed FROM alerts_engine_runs")
    assert runs == [{"status": "interrupted", "closed": True}] * 4


def test_a_signal_between_phases_leaves_out_the_rest(world: World, runner: Runner, database_url: str) -> None:
    world.news(at=datetime.now(UTC))
    with tables_held(database_url, "user_alert_digests"):
        process = runner.start("--phase", "all", "--log-json")
        until(lambda: world.value(WAITING))
        finished, _ = stopped(process, signal.SIGTERM)
    assert [phase["phase"] for phase in finished.document["phases"]] == ["a", "b", "d"]
    assert finished.exit_code == 143
    assert record(world) == ("interrupted", "signal", True)
    assert runner.run("--phase", "all", "--log-json").exit_code == 0


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("arguments", [("--preflight",), ("--health",), ("--phase", "all", "--log-json")])
def test_a_signal_while_the_server_does_not_answer(
    runner: Runner, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        url = f"postgresql://user:hunter2@127.0.0.1:{silent.getsockname()[1]}/x"
        process = runner.start(*arguments, DATABASE_URL=url)
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.3)
            finished, took = stopped(process, number)
    assert finished.exit_code == 128 + number
    assert took < SECONDS
    assert "Traceback" not in finished.stderr
    assert "hunter2" not in finished.stdout + finished.stderr
