"""Trying failed messages again: only what an outage caused, only what is still wanted of us, counted first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from src.alerts.models import FailureReason
from src.alerts.phases.outbound import Queue
from src.alerts.retry_failed import TRANSIENT, RetryReport, retry_failed
from src.db.connection import Database
from src.settings import Settings
from tests.factories import NOW, World
from tests.process import Runner


def retry(database: Database, kind: Queue = Queue.DELIVERIES, *, execute: bool = True, **settings: Any) -> RetryReport:
    with database.session() as session:
        return retry_failed(session, Settings(**settings), kind, timedelta(hours=24), NOW, execute=execute)


def failed(world: World, reason: str | None, **columns: Any) -> int:
    event = world.alert_event(fanned_out=True, created_at=columns.pop("event_at", NOW))
    defaults = {"status": "failed", "failure_reason": reason, "attempts": 5, "claimed_by": "gone", "claimed_at": NOW}
    return world.delivery(columns.pop("user_id", None) or world.user(), event, **{**defaults, **columns})


def status(world: World, delivery: int) -> tuple[str, int, str | None]:
    (row,) = world.rows("SELECT * FROM user_alert_deliveries WHERE id = %(id)s", id=delivery)
    return row["status"], row["attempts"], row["failure_reason"]


@pytest.mark.parametrize("reason", [*FailureReason, None])
def test_only_transient_failures_are_queued_again(database: Database, world: World, reason: FailureReason) -> None:
    delivery = failed(world, reason)
    report = retry(database)
    if reason in TRANSIENT:
        assert status(world, delivery) == ("queued", 0, None)
        assert (report.total, report.requeued, report.left) == (1, 1, {})
        assert report.eligible == {"email": {reason: 1}}
    else:
        assert status(world, delivery) == ("failed", 5, reason)
        assert (report.total, report.requeued, report.left) == (0, 0, {reason or "unknown": 1})


def test_a_time_of_sending_that_somebody_left_is_cleared(database: Database, world: World) -> None:
    """Phase C would not find a queued row that has one, and the table does not take it."""
    delivery = failed(world, "timeout", sent_at=NOW)
    assert retry(database).requeued == 1
    (row,) = world.rows("SELECT status, sent_at FROM user_alert_deliveries WHERE id = %(id)s", id=delivery)
    assert row == {"status": "queued", "sent_at": None}


def test_nothing_is_changed_unless_asked(database: Database, world: World) -> None:
    delivery = failed(world, "timeout")
    report = retry(database, execute=False)
    assert (report.total, report.requeued) == (1, 0)
    assert status(world, delivery) == ("failed", 5, "timeout")


def test_what_is_too_old_or_outside_the_allowlist_or_not_ours_stays(database: Database, world: World) -> None:
    allowed, other = world.user(), world.user()
    kept = [
        failed(world, "timeout", user_id=other),
        failed(world, "timeout", user_id=allowed, event_at=NOW - timedelta(hours=25)),
        failed(world, "timeout", user_id=allowed, created_at=NOW - timedelta(hours=25)),
        failed(world, "timeout", user_id=allowed, channel="account"),
        failed(world, "timeout", user_id=allowed, kind="digest"),
        failed(world, "timeout", user_id=allowed, adopted=True),
    ]
    good = failed(world, "timeout", user_id=allowed, created_at=NOW - timedelta(hours=23))
    report = retry(database, allowlist=frozenset({allowed}))
    assert [status(world, delivery)[0] for delivery in kept] == ["failed"] * len(kept)
    assert status(world, good)[0] == "queued"
    assert (report.requeued, report.left) == (1, {"outside_allowlist": 1, "expired": 1})


def test_an_empty_allowlist_lets_nobody_through(database: Database, world: World) -> None:
    delivery = failed(world, "connection")
    assert retry(database, allowlist=frozenset()).requeued == 0
    assert status(world, delivery)[0] == "failed"


def test_digests_are_queued_again_until_they_expire(database: Database, world: World) -> None:
    user = world.user()
    columns = {"status": "failed", "failure_reason": "provider_unavailable", "attempts": 5}
    good = world.digest(user, [world.delivery(user, world.alert_event(), kind="digest")], **columns)
    window = (NOW - timedelta(days=5), NOW - timedelta(days=4))
    old = world.digest(user, [], window=window, **columns)
    report = retry(database, Queue.DIGESTS)
    rows = {row["id"]: row for row in world.rows("SELECT * FROM user_alert_digests")}
    assert (rows[good]["status"], rows[good]["attempts"], rows[old]["status"]) == ("queued", 0, "failed")
    assert (report.requeued, report.left) == (1, {"expired": 1})


def test_a_request_of_unknown_outcome_keeps_its_key(database: Database, world: World) -> None:
    key = "2f0a5c0e-0000-4000-8000-000000000001"
    delivery = failed(world, "timeout", send_key=key, send_key_at=NOW, send_provider="resend")
    assert retry(database).requeued == 1
    assert str(world.value("SELECT send_key FROM user_alert_deliveries WHERE id = %(id)s", id=delivery)) == key


def test_more_than_a_chunk_is_queued_again(database: Database, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.alerts.retry_failed.CHUNK", 2)
    for _ in range(5):
        failed(world, "timeout")
    assert retry(database).requeued == 5
    assert retry(database).total == 0


def test_what_was_queued_again_is_sent_by_the_next_run(world: World, database: Database, runner: Runner) -> None:
    delivery = failed(world, "provider_unavailable")
    assert retry(database).requeued == 1
    runner.run("--phase", "c", "--now", NOW.isoformat(), "--log-json")
    assert status(world, delivery)[0] == "sent"
