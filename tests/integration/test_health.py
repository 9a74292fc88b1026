"""The health document as the real process prints it, and what its queries count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from syrupy.assertion import SnapshotAssertion

from src.alerts.health import computed, health
from src.alerts.health_facts import _SQL
from src.alerts.rollout import Rollout
from src.settings import Secret, Settings
from tests.documents import document_snapshot
from tests.factories import NOW, World
from tests.process import Runner

AT = ("--health", "--now", NOW.isoformat())
KEYS = {
    "schema_version", "generated_at", "status", "deliveries_24h", "digests_7d", "oldest_queued_minutes", "held",
    "stuck_sending", "last_run", "last_success_at", "warnings", "errors",
}  # fmt: skip


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def run_record(world: World, minutes: float = 5, status: str = "success", **columns: Any) -> str:
    """A run that began so many minutes ago; its id."""
    number = world.count("alerts_engine_runs") + 1
    counts = {"sent": 1, "failed": 0, "retried": 0, "skipped": 0, "stop_reason": None}
    defaults = {
        "run_id": f"00000000-0000-4000-8000-{number:012}",
        "phase": "all",
        "triggered_by": "github_actions_schedule",
        "started_at": ago(minutes),
        "finished_at": ago(minutes) + timedelta(seconds=2),
        "duration_ms": 2000,
        "status": status,
        "counts": json.dumps(counts),
    }
    return str(world.insert("alerts_engine_runs", **{**defaults, **columns})["run_id"])


class Health:
    """Health of a test's database as of `NOW`, computed in this process."""

    def __init__(self, url: str) -> None:
        self._url = Secret(url)

    def __call__(self, *, allowlist: frozenset[int] | None = None, **settings: Any) -> dict[str, Any]:
        given = Settings(**{"database_url": self._url, "transport": "outbox", **settings})
        document = health(given, [], [], Rollout(None, allowlist, given.max_send_per_run), NOW)
        assert set(document) == KEYS
        json.dumps(document)
        return document


@pytest.fixture
def look(database_url: str) -> Health:
    return Health(database_url)


def codes(document: dict[str, Any]) -> set[str]:
    return {entry.partition(": ")[0] for entry in [*document["errors"], *document["warnings"]]}


@pytest.fixture
def quiet(world: World) -> World:
    """A service that has done its work of the day."""
    user, event = world.user(), world.alert_event(created_at=ago(300), fanned_out=True)
    for channel in ("email", "telegram"):
        world.delivery(user, event, channel, status="sent", created_at=ago(299), sent_at=ago(298))
    waiting = world.delivery(user, world.alert_event(created_at=ago(3000)), kind="digest", created_at=ago(1000))
    world.digest(user, [waiting], status="sent", created_at=ago(290))
    world.delivery(user, world.alert_event(created_at=ago(200)), kind="digest", created_at=ago(199))
    run_record(world)
    return world


def test_a_quiet_day(runner: Runner, quiet: World, snapshot: SnapshotAssertion) -> None:
    finished = runner.run(*AT)
    assert finished.document == document_snapshot(snapshot)
    assert (finished.exit_code, finished.document["status"]) == (0, "pass")


def test_a_busy_day(runner: Runner, quiet: World, snapshot: SnapshotAssertion) -> None:
    """A backlog that drains."""
    for minutes in (1, 20, 40):
        quiet.delivery(quiet.user(), quiet.alert_event(created_at=ago(41)), created_at=ago(minutes))
    quiet.delivery(quiet.user(), quiet.alert_event(), status="sent", created_at=ago(41), sent_at=ago(2))
    finished = runner.run(*AT)
    assert finished.document == document_snapshot(snapshot)
    assert (finished.exit_code, finished.document["status"]) == (0, "warn")


def test_a_broken_day(runner: Runner, quiet: World, snapshot: SnapshotAssertion) -> None:
    """Still exit 0: it could be computed."""
    quiet.execute("UPDATE alerts_engine_runs SET counts = '{}'")
    quiet.delivery(quiet.user(), quiet.alert_event(), created_at=ago(45))
    quiet.delivery(quiet.user(), quiet.alert_event(), status="sending", created_at=ago(60), claimed_at=ago(59))
    run_record(quiet, 2, "failed", counts=json.dumps({"sent": 0, "failed": 3, "stop_reason": "channel_halted"}))
    finished = runner.run(*AT)
    assert finished.document == document_snapshot(snapshot)
    assert (finished.exit_code, finished.document["status"]) == (0, "fail")


def test_what_could_not_be_computed_exits_1_with_all_keys(runner: Runner, empty_database_url: str) -> None:
    for url, code in ((empty_database_url, "schema.mismatch"), ("postgresql://127.0.0.1:1/x", "database.unreachable")):
        finished = runner.run(*AT, DATABASE_URL=url)
        document = finished.document
        assert (finished.exit_code, set(document), computed(document)) == (1, KEYS, False)
        assert (document["status"], document["held"], document["deliveries_24h"]) == ("fail", None, {})
        assert codes(document) == {code}


def test_a_malformed_allowlist_lets_nobody_out(runner: Runner, quiet: World) -> None:
    quiet.delivery(quiet.user(), quiet.alert_event(), created_at=ago(45))
    finished = runner.run(*AT, ALERTS_SEND_ALLOWLIST_USER_IDS="42,abc")
    assert (finished.exit_code, finished.document["status"], finished.document["held"]) == (1, "fail", 1)
    assert codes(finished.document) == {"allowlist.malformed"}


def test_counts_are_those_of_the_engines_messages_of_the_window(world: World, look: Health) -> None:
    user = world.user()
    for status in ("queued", "sending", "sent", "failed", "skipped", "skipped"):
        world.delivery(user, world.alert_event(), status=status, created_at=ago(60))
    world.delivery(user, world.alert_event(), status="failed", failure_reason=None, created_at=ago(60))
    batched = [world.delivery(user, world.alert_event(), kind="digest", created_at=ago(60)) for _ in range(3)]
    world.digest(user, batched, created_at=ago(60 * 24 * 6))
    world.digest(user, channel="telegram", status="failed", created_at=ago(60 * 24 * 8))
    world.delivery(user, world.alert_event(), kind="digest", created_at=ago(60))
    world.delivery(user, world.alert_event(), kind="digest", status="skipped", failure_reason="expired")
    world.delivery(user, world.alert_event(), status="sent", created_at=ago(60 * 25))
    world.delivery(user, world.alert_event(), "account", status="sent")
    world.delivery(user, world.alert_event(), kind="geri", status="sent")
    document = look()
    assert document["deliveries_24h"]["email"] == {
        "instant": {"queued": 1, "sending": 1, "sent": 1, "failed": 2, "skipped": 2},
        "digest": {"queued": 1, "batched": 3},
    }
    assert document["digests_7d"]["email"] == {"queued": 1, "sending": 0, "sent": 0, "failed": 0, "skipped": 0}
    assert document["digests_7d"]["telegram"] == dict.fromkeys(("queued", "sending", "sent", "failed", "skipped"), 0)


def test_channels_are_those_that_are_configured_or_have_rows(world: World, look: Health) -> None:
    assert list(look()["deliveries_24h"]) == ["email", "telegram", "sms"]
    assert list(look()["digests_7d"]) == ["email", "telegram"]
    assert look(transport="live")["deliveries_24h"] == {}
    world.delivery(world.user(), world.alert_event(), "sms", status="sent")
    assert list(look(transport="live")["deliveries_24h"]) == ["sms"]
    assert look(transport="live")["digests_7d"] == {}


def test_rows_that_the_allowlist_or_a_missing_channel_holds_are_counted_apart(world: World, look: Health) -> None:
    """They are neither due nor late, however old."""
    run_record(world, counts="{}")
    first, second = world.user(), world.user()
    for user in (first, second):
        world.delivery(user, world.alert_event(), created_at=ago(100))
        world.digest(user, created_at=ago(90))
        world.delivery(user, world.alert_event(), kind="digest", created_at=ago(100))
    both = {"deliveries": 100, "digests": 90}
    assert (look()["held"], look()["oldest_queued_minutes"], look()["status"]) == (0, both, "fail")
    narrowed = look(allowlist=frozenset({first}))
    assert (narrowed["held"], narrowed["oldest_queued_minutes"], narrowed["status"]) == (2, both, "fail")
    for document in (look(allowlist=frozenset({999})), look(transport="live")):
        assert (document["held"], document["status"]) == (4, "pass")
        assert document["oldest_queued_minutes"] == {"deliveries": None, "digests": None}


def test_a_row_that_waits_for_its_retry_is_not_due(world: World, look: Health) -> None:
    run_record(world)
    waiting = world.delivery(world.user(), world.alert_event(), created_at=ago(100), next_retry_at=ago(-1))
    assert (look()["status"], look()["held"], look()["oldest_queued_minutes"]["deliveries"]) == ("pass", 0, None)
    world.execute("UPDATE user_alert_deliveries SET next_retry_at = %(at)s WHERE id = %(id)s", at=ago(1), id=waiting)
    assert (look()["status"], look()["oldest_queued_minutes"]["deliveries"]) == ("warn", 100)


DUE = {
    "for half an hour": ({"created_at": ago(30)}, True),
    "for less": ({"created_at": ago(29.9)}, False),
    "since a retry of half an hour ago": ({"created_at": ago(100), "next_retry_at": ago(30)}, True),
    "since a later retry": ({"created_at": ago(100), "next_retry_at": ago(29)}, False),
}


@pytest.mark.parametrize("case", DUE)
def test_sending_has_stopped_if_something_is_due_for_half_an_hour(world: World, look: Health, case: str) -> None:
    columns, stopped = DUE[case]
    run_record(world, counts="{}")
    world.delivery(world.user(), world.alert_event(), **columns)
    world.delivery(world.user(), world.alert_event(), status="sent", created_at=ago(60 * 20), sent_at=ago(30))
    assert ("sending.stopped" in codes(look())) == stopped
    world.delivery(world.user(), world.alert_event(), status="sent", created_at=ago(60 * 20), sent_at=ago(29.9))
    assert "sending.stopped" not in codes(look())


def test_a_request_of_unknown_outcome_waits_like_others(world: World, look: Health) -> None:
    run_record(world)
    key = "00000000-0000-4000-8000-000000000001"
    world.delivery(world.user(), world.alert_event(), created_at=ago(100), send_key=key)
    world.digest(world.user(), created_at=ago(50), send_key=key)
    assert look()["oldest_queued_minutes"] == {"deliveries": 100, "digests": 50}


def test_rows_are_stuck_after_a_quarter_of_an_hour(world: World, look: Health) -> None:
    run_record(world)
    user = world.user()
    for minutes in (1, 14):
        world.delivery(user, world.alert_event(), status="sending", created_at=ago(100), claimed_at=ago(minutes))
    assert (look()["stuck_sending"], look()["status"]) == (0, "pass")
    world.delivery(user, world.alert_event(), status="sending", created_at=ago(100), claimed_at=ago(16))
    world.delivery(user, world.alert_event(), status="sending", created_at=ago(100))
    world.digest(user, status="sending", created_at=ago(100), claimed_at=ago(16))
    assert (look()["stuck_sending"], look()["status"]) == (3, "fail")
    assert codes(look()) == {"sending.stuck"}


SENT_ELSEWHERE = {
    "in-app inbox": {"channel": "account"},
    "other kind": {"kind": "geri"},
}


@pytest.mark.parametrize("columns", SENT_ELSEWHERE.values(), ids=SENT_ELSEWHERE)
def test_what_other_software_sends_does_not_hide_that_the_engine_does_not(
    world: World, look: Health, columns: dict[str, str]
) -> None:
    run_record(world, counts="{}")
    world.delivery(world.user(), world.alert_event(), created_at=ago(40))
    world.delivery(world.user(), world.alert_event(), status="sent", **columns)
    assert "sending.stopped" in codes(look())


def test_a_digest_or_a_run_that_sent_shows_that_the_engine_sends(world: World, look: Health) -> None:
    world.delivery(world.user(), world.alert_event(), created_at=ago(40))
    run_record(world, 100)
    assert "sending.stopped" in codes(look())
    run_record(world, 20)
    assert codes(look()) == {"sending.late"}
    world.execute("DELETE FROM alerts_engine_runs")
    world.digest(world.user(), status="sent", created_at=ago(600), sent_at=ago(29))
    assert codes(look()) == {"sending.late", "schedule.no_run"}


def test_the_last_run_is_one_that_ended_and_did_something(world: World, look: Health) -> None:
    counts = {"sent": 12, "failed": 1, "retried": 2, "skipped": 3, "stop_reason": "max_send"}
    wanted = run_record(world, 20, counts=json.dumps(counts))
    run_record(world, 10, "skipped")
    run_record(world, 9, "disabled")
    run_record(world, 8, "running", finished_at=None, duration_ms=None)
    run_record(world, 30, "failed")
    run_record(world, 1, "failed", dry_run=True)
    document = look()
    assert document["last_run"] == {
        "run_id": wanted,
        "phase": "all",
        "status": "success",
        "triggered_by": "github_actions_schedule",
        "started_at": "2026-01-16T11:40:00Z",
        "duration_ms": 2000,
        "totals": {"sent": 12, "failed": 1, "retried": 2, "skipped": 3},
        "stopped_early": True,
        "stop_reason": "max_send",
    }
    assert document["last_success_at"] == "2026-01-16T11:40:02Z"
    assert document["status"] == "pass"


def test_a_run_that_found_the_lock_taken_did_start(world: World, look: Health) -> None:
    run_record(world, 40)
    assert codes(look()) == {"schedule.no_run"}
    run_record(world, 10, "skipped")
    assert codes(look()) == set()


OLD_COUNTS = [None, "[]", '"text"', '{"sent": "many", "stop_reason": 7}', '{"phase_c": {"sent": 3}}']


@pytest.mark.parametrize("counts", OLD_COUNTS)
def test_counts_that_older_software_wrote_do_no_harm(world: World, look: Health, counts: str | None) -> None:
    run_record(world, status="completed", counts=counts)
    last = look()["last_run"]
    assert (last["status"], last["totals"]) == ("completed", {"sent": 0, "failed": 0, "retried": 0, "skipped": 0})


def test_nobodys_address_or_message_is_in_it(runner: Runner, quiet: World) -> None:
    user = quiet.user(email="secret-person@example.com", telegram_chat_id="987654321", phone_number="+31612345678")
    event = quiet.alert_event(headline="Secret headline", body="Secret body")
    quiet.delivery(user, event, status="failed", last_error="brevo 400 bad secret-person@example.com")
    run_record(quiet, 1, "failed", error_summary="could not mail secret-person@example.com", actor="secret-actor")
    printed = runner.run(*AT)
    for text in ("secret", "Secret", "987654321", "316123"):
        assert text not in printed.stdout + printed.stderr


@pytest.fixture
def grown(world: World, database_url: str) -> World:
    """100,000 deliveries over three months, all sent but a few, and a run every ten minutes."""
    world.execute("INSERT INTO users (email) SELECT n || '@example.com' FROM generate_series(1, 1000) AS n")
    world.execute(
        """
        INSERT INTO alert_events (alert_type, headline, body, cooldown_key, event_fingerprint, created_at)
        SELECT 'HIGH_IMPACT_EVENT', 'h', 'b', n, n, %(now)s FROM generate_series(1, 100) AS n
        """,
        now=NOW,
    )
    world.execute(
        """
        INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, created_at, sent_at)
        SELECT u.id, e.id, 'email', 'sent', at, at
        FROM users AS u
        CROSS JOIN alert_events AS e
        CROSS JOIN LATERAL (SELECT %(now)s - interval '90 days' * ((e.id * 1000 + u.id) / 101000.0)) AS t (at)
        ORDER BY at
        """,
        now=NOW,
    )
    world.execute("UPDATE user_alert_deliveries SET status = 'queued', sent_at = NULL WHERE id %% 1000 = 0")
    world.execute(
        """
        INSERT INTO user_alert_digests (
            user_id, channel, period, window_start, window_end, digest_key, status, created_at
        )
        SELECT u.id, 'email', 'daily', at, at, u.id || ':' || n, 'sent', at
        FROM users AS u, generate_series(1, 20) AS n, LATERAL (SELECT %(now)s - n * interval '4 days') AS t (at)
        """,
        now=NOW,
    )
    world.execute(
        """
        INSERT INTO alerts_engine_runs (run_id, status, started_at, finished_at, counts)
        SELECT n, 'success', %(now)s - n * interval '10 minutes', %(now)s - n * interval '10 minutes', '{"sent": 0}'
        FROM generate_series(1, 10000) AS n
        """,
        now=NOW,
    )
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
    return world


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from plan_nodes(child)


@pytest.mark.parametrize("query", ["deliveries", "digests", "waiting", "stuck", "last_run", "schedule", "sent_lately"])
def test_no_query_reads_a_table_whole(grown: World, query: str) -> None:
    """So it stays fast at millions of rows: each works from an index of what it needs."""
    params = {
        "now": NOW, "day_ago": ago(24 * 60), "week_ago": ago(7 * 24 * 60), "stuck_before": ago(15), "lately": ago(30),
        "channels": ["email"], "skips": ["expired"], "allowed": None, "max_age": timedelta(hours=24),
    }  # fmt: skip
    (row,) = grown.rows("EXPLAIN (FORMAT JSON) " + _SQL[query], **params)
    nodes = list(plan_nodes(row["QUERY PLAN"][0]["Plan"]))
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert any("Index" in node["Node Type"] for node in nodes)


def test_it_works_on_times_without_a_zone(world: World, look: Health) -> None:
    """Existing databases have them; they hold UTC."""
    for table, columns in (
        ("user_alert_deliveries", ("created_at", "sent_at", "next_retry_at")),
        ("user_alert_digests", ("created_at", "sent_at")),
        ("alerts_engine_runs", ("started_at", "finished_at")),
    ):
        for column in columns:
            change = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE timestamp")
            world.execute(change.format(sql.Identifier(table), sql.Identifier(column)))
    run_record(world)
    world.delivery(world.user(), world.alert_event(), created_at=ago(40), next_retry_at=ago(35))
    world.delivery(world.user(), world.alert_event(), status="sent", created_at=ago(40), sent_at=ago(3))
    world.digest(world.user(), created_at=ago(30))
    document = look()
    assert document["oldest_queued_minutes"] == {"deliveries": 40, "digests": 30}
    assert document["last_success_at"] == "2026-01-16T11:55:02Z"
    assert codes(document) == {"sending.late"}
