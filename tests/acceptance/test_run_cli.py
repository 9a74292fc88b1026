"""`--phase …` as the real process: its document, its exit code, and what it does with wrong input."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from syrupy.assertion import SnapshotAssertion

from src.db.connection import Database
from src.db.locks import lock_key, phase_lock_name
from tests.documents import document_snapshot
from tests.factories import NOW, World
from tests.integration.busy import until
from tests.integration.sending import FAST, TELEGRAM, Sending
from tests.process import Finished, Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider

AT = ("--now", NOW.isoformat())
ALL = ("--phase", "all", "--log-json", *AT)
LIVE = {**FAST, **TELEGRAM, "ALERTS_TRANSPORT": "live"}


@pytest.fixture
def day(world: World) -> World:
    """Something for every phase and every channel."""
    world.news()
    world.risk_index(score=91)
    world.asset_risk("gas", 72)
    world.user("pro", telegram_chat_id="4711", phone_number="+15551234567")
    world.user("trader", telegram_chat_id="4712", prefs=[{"alert_type": "REGIONAL_RISK_SPIKE", "region": "Europe"}])
    world.user("free")
    world.user("pro", email_verified=False, channels={"telegram": {"enabled": False}})
    yesterday = NOW - timedelta(hours=26)
    old = world.alert_event(fanned_out=True, created_at=yesterday)
    world.delivery(3, old, kind="digest", created_at=yesterday)
    return world


def with_code(finished: Finished) -> dict[str, Any]:
    return {"exit_code": finished.exit_code, "document": finished.document}


def counts(finished: Finished) -> dict[str, Any]:
    return {phase["phase"]: phase["counts"] for phase in finished.document["phases"]}


def tables(world: World) -> dict[str, Any]:
    """Every row of every table."""
    names = world.rows(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {name["relname"]: world.rows(f"SELECT t::text FROM {name['relname']} AS t ORDER BY 1") for name in names}


@contextmanager
def locked(url: str, *phases: str) -> Iterator[None]:
    """Somebody else has the locks of these phases."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for phase in phases:
            cursor.execute("SELECT pg_advisory_lock(%s)", (lock_key(phase_lock_name(phase)),))
        yield


def test_a_real_run(runner: Runner, day: World, snapshot: SnapshotAssertion) -> None:
    assert with_code(runner.run(*ALL)) == document_snapshot(snapshot)


def test_a_capped_run(runner: Runner, world: World, snapshot: SnapshotAssertion) -> None:
    world.news()
    for _ in range(3):
        world.user("pro")  # by mail only: channels race for what is left of a cap
    assert with_code(runner.run(*ALL, "--max-send", "2")) == document_snapshot(snapshot)


def test_a_run_while_another_holds_the_locks(
    runner: Runner, day: World, database_url: str, snapshot: SnapshotAssertion
) -> None:
    with locked(database_url, "a", "b", "c", "d"):
        assert with_code(runner.run(*ALL)) == document_snapshot(snapshot)


def test_a_dry_run_counts_as_a_real_one_and_changes_nothing(
    runner: Runner, day: World, snapshot: SnapshotAssertion, tmp_path: Path
) -> None:
    before = tables(day)
    dry = runner.run(*ALL, "--dry-run")
    assert with_code(dry) == document_snapshot(snapshot)
    assert tables(day) == before
    assert not (tmp_path / "outbox").exists()
    assert counts(dry) == counts(runner.run(*ALL))


def test_a_dry_run_with_the_live_transport_asks_no_provider(
    runner: Runner, day: World, provider: Provider, tmp_path: Path
) -> None:
    before = tables(day)
    finished = runner.run(*ALL, "--dry-run", "--allowlist", "1,2", **LIVE, **provider.environ)
    assert finished.exit_code == 0
    assert (provider.requests, tables(day)) == ([], before)
    assert finished.document["recipients"] == [
        {"user_id": 1, "channel": "telegram", "instants": 1, "digests": 0},
        {"user_id": 2, "channel": "telegram", "instants": 1, "digests": 0},
    ]


def test_a_second_run_leaves_sending_to_the_first_and_does_the_rest(
    runner: Runner, database: Database, world: World, provider: Provider
) -> None:
    sending = Sending(database, world, provider)
    sending.instants(sending.people(4), "telegram", created_at=world.value("SELECT now()"))
    provider.script("telegram", default=Answer(accepts=True, seconds_after=2))
    first = runner.start("--phase", "c", "--log-json", **LIVE, **provider.environ)
    until(lambda: provider.accepted)
    second = runner.run("--phase", "all", "--log-json", **LIVE, **provider.environ)
    assert second.exit_code == 0
    assert second.document["status"] == "success"
    assert [phase["status"] for phase in second.document["phases"]] == ["success"] * 3 + ["skipped"]
    assert counts(second)["c"] == {"skipped": True, "reason": "lock_not_acquired"}
    assert wait_for(first).document["totals"]["sent"] == 4
    assert max(sending.accepted().values()) == 1
    assert world.rows("SELECT status FROM alerts_engine_runs ORDER BY id") == [{"status": "success"}] * 2


def test_a_halted_channel_is_a_failed_run_that_names_the_mend(
    runner: Runner, database: Database, world: World, provider: Provider
) -> None:
    sending = Sending(database, world, provider)
    sending.instants(sending.people(4), "telegram", created_at=world.value("SELECT now()"))
    provider.script("telegram", default="unauthorized")
    for as_json in (True, False):
        flags = ["--log-json"] if as_json else []
        finished = runner.run("--phase", "c", *flags, **LIVE, **provider.environ)
        assert finished.exit_code == 1
        assert "channel.halted.telegram" in finished.stdout
        if as_json:
            document = finished.document
            assert (document["status"], document["stop_reason"]) == ("failed", "channel_halted")
            assert (document["stopped_early"], document["phases"][0]["status"]) == (False, "failed")
            assert "check its secrets" in document["errors"][0]
    assert sending.rows("status, attempts") == [("queued", 0)] * 4
    (run, _) = world.rows("SELECT status, error_summary, counts ->> 'stop_reason' AS why FROM alerts_engine_runs")
    assert (run["status"], run["why"]) == ("failed", "channel_halted")
    assert "channel.halted.telegram" in run["error_summary"]


def test_flags_narrow_what_the_environment_allows_and_never_widen_it(runner: Runner, day: World) -> None:
    environ = {"ALERTS_SEND_ALLOWLIST_USER_IDS": "1, 3", "ALERTS_MAX_SEND_PER_RUN": "2"}
    finished = runner.run(*ALL, "--allowlist", "1,2", "--max-send", "5000", **environ)
    assert finished.document["rollout"] == {"allowlist_active": True, "max_send_per_run": 2}
    assert (finished.document["totals"]["sent"], finished.document["stop_reason"]) == (2, "max_send")
    assert {person["user_id"] for person in finished.document["recipients"]} == {1}
    nobody = runner.run(*ALL, "--allowlist", "2", **environ)
    assert (nobody.exit_code, nobody.document["totals"]["sent"], nobody.document["recipients"]) == (0, 0, [])
    assert day.rows("SELECT DISTINCT user_id FROM user_alert_deliveries WHERE status = 'sent'") == [{"user_id": 1}]


def test_without_json_a_run_prints_a_table_and_ends_alike(runner: Runner, day: World) -> None:
    finished = runner.run("--phase", "all", *AT)
    assert (finished.exit_code, finished.stdout.lstrip()[:1] == "{") == (0, False)
    assert "sent" in finished.stdout
    in_ci = runner.run("--phase", "all", *AT, CI="true")
    assert in_ci.document["status"] == "success"
    assert all(json.loads(line)["level"] for line in in_ci.stderr.splitlines())


def test_switched_off_it_does_nothing_and_says_so(runner: Runner, day: World) -> None:
    before = tables(day)
    finished = runner.run(*ALL, ALERTS_V2_ENABLED="false")
    assert (finished.exit_code, finished.document["status"], finished.document["phases"]) == (0, "disabled", [])
    assert finished.document["warnings"][0].startswith("engine.disabled: ")
    assert tables(day) == before


WRONG_USAGE: tuple[tuple[str, ...], ...] = (
    (),
    ("--phase",),
    ("--phase", "e"),
    ("--phase", "A"),
    ("--nonsense",),
    ("--preflight", "--health"),
    ("--health", "--phase", "c"),
    *(("--phase", "a", "--since-hours", value) for value in ("0", "-5", "abc", "1.5", "1e3", "", "٤٢", "9" * 30)),
    *(("--phase", "c", "--batch-size", value) for value in ("0", "-1", "abc")),
    *(("--phase", "c", "--max-send", value) for value in ("-1", "1e3", "", "٤٢", "0x2A")),
    *(("--phase", "c", "--allowlist", value) for value in ("42,abc", ",", "42,,43", "4 2", "-1", "0x2A", "٤٢", "0", "",
                                                           "9223372036854775808")),
    *(("--phase", "c", "--now", value) for value in ("tomorrow", "2026-13-01", "", "0001-01-01T00:00:00+14:00")),
)  # fmt: skip


def test_wrong_usage_is_exit_code_2_and_touches_nothing(runner: Runner, day: World) -> None:
    before = tables(day)
    for some in (WRONG_USAGE[first : first + 6] for first in range(0, len(WRONG_USAGE), 6)):
        started = [(arguments, runner.start(*arguments, "--log-json")) for arguments in some]
        for arguments, process in started:
            finished = wait_for(process)
            assert (arguments, finished.exit_code, finished.stdout) == (arguments, 2, "")
            assert finished.stderr.startswith("usage: "), finished.stderr
            assert "Traceback" not in finished.stderr
    assert tables(day) == before


def test_another_time_is_refused_where_messages_would_be_real(runner: Runner) -> None:
    finished = runner.run("--phase", "c", *AT, ALERTS_TRANSPORT="live")
    assert (finished.exit_code, finished.stdout) == (2, "")
    assert "--dry-run" in finished.stderr


WRONG_ENVIRONMENTS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "no url": ({"DATABASE_URL": ""}, "database.url_missing"),
    "nonsense": ({"DATABASE_URL": "nonsense"}, "database.url_invalid"),
    "nobody listens": ({"DATABASE_URL": "postgresql://someone:hunter2@127.0.0.1:1/x"}, "database.unreachable"),
    **{
        f"allowlist {value!r}": ({"ALERTS_SEND_ALLOWLIST_USER_IDS": value}, "allowlist.malformed")
        for value in ("42,abc", ",", "42,,43", "4 2", "-1", "0x2A", "٤٢", "9223372036854775808")
    },
    **{f"cap {value!r}": ({"ALERTS_MAX_SEND_PER_RUN": value}, "config.invalid") for value in ("-1", "1e3")},
    "switch": ({"ALERTS_V2_ENABLED": "no"}, "config.invalid"),
}


def test_a_wrong_environment_is_exit_code_1_with_a_document_and_touches_nothing(runner: Runner, day: World) -> None:
    before = tables(day)
    cases = list(WRONG_ENVIRONMENTS.items())
    for some in (cases[first : first + 6] for first in range(0, len(cases), 6)):
        started = [(name, code, runner.start(*ALL, **environ)) for name, (environ, code) in some]
        for name, code, process in started:
            finished = wait_for(process)
            assert (name, finished.exit_code, finished.document["status"]) == (name, 1, "failed")
            assert [error.partition(": ")[0] for error in finished.document["errors"]] == [code], name
            assert "hunter2" not in finished.stdout + finished.stderr
            assert "abc" not in finished.stdout + finished.stderr
    assert tables(day) == before


def test_an_empty_cap_and_allowlist_are_as_good_as_none(runner: Runner, day: World) -> None:
    finished = runner.run(*ALL, ALERTS_MAX_SEND_PER_RUN="", ALERTS_SEND_ALLOWLIST_USER_IDS="")
    assert finished.document["rollout"] == {"allowlist_active": False, "max_send_per_run": 1000}
    assert (finished.exit_code, finished.document["recipients"]) == (0, None)


def test_an_unknown_time_zone_is_a_warning(runner: Runner, day: World) -> None:
    finished = runner.run(*ALL, ALERTS_TIMEZONE="Mars/Olympus")
    assert (finished.exit_code, finished.document["status"]) == (0, "success")
    assert finished.document["warnings"][0].startswith("config.timezone_unknown: ")


def test_a_host_that_does_not_answer_is_given_up_within_ten_seconds(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        finished = runner.run(*ALL, DATABASE_URL=f"postgresql://someone:hunter2@127.0.0.1:{silent.getsockname()[1]}/x")
        assert time.monotonic() - began < 10
    assert (finished.exit_code, finished.document["status"]) == (1, "failed")
    assert "hunter2" not in finished.stdout + finished.stderr


def test_a_read_only_database_fails_every_phase_with_its_mend(runner: Runner, day: World, database_url: str) -> None:
    before = tables(day)
    url = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20default_transaction_read_only%3Don"
    finished = runner.run(*ALL, DATABASE_URL=url)
    assert (finished.exit_code, finished.document["status"]) == (1, "failed")
    assert finished.document["errors"][0].startswith("database.read_only: ")
    assert tables(day) == before


@pytest.mark.parametrize("table", ["events", "alert_events", "user_alert_deliveries", "user_alert_digests", "users"])
def test_a_missing_table_fails_what_needs_it_and_nothing_worse(runner: Runner, day: World, table: str) -> None:
    day.execute(f"DROP TABLE {table} CASCADE")
    finished = runner.run(*ALL)
    assert (finished.exit_code, finished.document["status"]) == (1, "failed")
    assert {error.partition(": ")[0] for error in finished.document["errors"]} == {"schema.mismatch"}
    assert "Traceback" not in finished.stderr


def test_a_history_that_cannot_be_written_is_a_warning(runner: Runner, day: World) -> None:
    day.execute("ALTER TABLE alerts_engine_runs RENAME TO elsewhere")
    finished = runner.run(*ALL)
    assert (finished.exit_code, finished.document["status"]) == (0, "success")
    assert [warning.partition(": ")[0] for warning in finished.document["warnings"]] == ["history.not_written"]
    assert finished.document["totals"]["sent"] > 0


def test_nothing_private_is_in_any_output_or_record(
    runner: Runner, database: Database, world: World, provider: Provider
) -> None:
    sending = Sending(database, world, provider)
    people = sending.people(8, telegram_chat_id="(7700440000 + i)::text")
    sending.instants(people, "telegram", created_at=world.value("SELECT now()"), headline="Secret headline")
    private = ["telegram-token", "example.com", "Secret headline", "postgresql://", "+1555", "770044"]
    for answer in ("blocked", "unparsable", "drop", "unauthorized"):
        provider.script("telegram", *[answer] * 2)
        finished = runner.run(
            "--phase", "c", "--log-json", "--max-send", "3", ALERTS_LOG_LEVEL="debug", **LIVE, **provider.environ
        )
        history = str(world.rows("SELECT r::text, i::text FROM alerts_engine_runs AS r, alerts_engine_run_items AS i"))
        shown = finished.stdout + finished.stderr + history + str(sending.rows("last_error"))
        assert not [word for word in private if word in shown]
