"""Prune: what goes, what stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from src.alerts import prune
from src.db.connection import Database
from src.errors import UsageError
from tests.factories import NOW, World

DAYS = timedelta(days=1)
OLD = NOW - 100 * DAYS


def pruned(database: Database, proceed: bool = True) -> prune.Pruned:
    return prune.prune(database, 90 * DAYS, NOW, lambda *_: None, lambda: proceed)


def test_finished_rows_of_old_days_go(database: Database, world: World) -> None:
    user = world.user()
    for days, status in enumerate(("sent", "failed", "skipped")):
        world.delivery(user, world.alert_event(fanned_out=True), status=status, created_at=OLD)
        world.digest(user, status=status, created_at=OLD, window=(OLD - days * DAYS, OLD))
    item = world.delivery(user, world.alert_event(fanned_out=True, created_at=OLD), kind="digest", created_at=OLD)
    world.digest(user, [item], status="sent", created_at=OLD, window=(OLD - 9 * DAYS, OLD))
    assert pruned(database) == prune.Pruned(digests=4, deliveries=4, runs=0, finished=True)
    assert [world.count(f"user_alert_{table}") for table in ("deliveries", "digests", "digest_items")] == [0, 0, 0]
    assert world.count("alert_events") == 4


def test_unsent_work_and_younger_rows_stay(database: Database, world: World) -> None:
    user = world.user()
    for status in ("queued", "sending"):
        world.delivery(user, world.alert_event(fanned_out=True), status=status, created_at=OLD)
        item = world.delivery(user, world.alert_event(fanned_out=True), kind="digest", created_at=OLD)
        world.digest(user, [item], status=status, created_at=OLD, period="daily" if status == "queued" else "hourly")
    world.delivery(user, world.alert_event(fanned_out=True), status="sent", created_at=NOW - 89 * DAYS)
    late = world.delivery(user, world.alert_event(fanned_out=True), status="sent", created_at=OLD)
    world.execute("UPDATE user_alert_deliveries SET sent_at = %(now)s WHERE id = %(id)s", now=NOW, id=late)
    assert pruned(database) == prune.Pruned(0, 0, 0, finished=True)
    assert world.count("user_alert_deliveries") == 6


def test_rows_of_other_software_stay(database: Database, world: World) -> None:
    user, event = world.user(), world.alert_event(fanned_out=True)
    world.delivery(user, event, "account", status="sent", created_at=OLD)
    world.delivery(user, event, kind="geri", status="sent", created_at=OLD)
    world.insert("user_alert_deliveries", user_id=user, channel="email", status="sent", created_at=OLD)
    assert pruned(database).deliveries == 0


@pytest.mark.parametrize("scope", [None, "allowlist"])
def test_rows_that_keep_an_event_from_coming_twice_stay(database: Database, world: World, scope: str | None) -> None:
    """The event is open, or a backfill may fan it out again."""
    event = world.alert_event(fanned_out=scope is not None, fanout_scope=scope, created_at=OLD)
    world.delivery(world.user(), event, status="sent", created_at=OLD)
    assert pruned(database).deliveries == 0


def test_records_of_old_runs_go_but_the_newest(database: Database, world: World) -> None:
    for number, status in enumerate(("success", "running", "failed", "success")):
        world.insert("alerts_engine_runs", run_id=str(number), status=status, started_at=OLD)
        world.insert("alerts_engine_run_items", run_id=str(number), phase="a", status="success")
    assert pruned(database).runs == 2
    assert [row["run_id"] for row in world.rows("SELECT run_id FROM alerts_engine_runs ORDER BY id")] == ["1", "3"]
    assert world.count("alerts_engine_run_items") == 2


def test_it_goes_on_where_it_was_stopped(database: Database, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "ROWS_PER_CHUNK", 2)
    for _ in range(5):
        event = world.alert_event(fanned_out=True)
        world.delivery(world.user(), event, status="sent", created_at=OLD)
    assert pruned(database, proceed=False) == prune.Pruned(0, 2, 0, finished=False)
    steps: list[tuple[str, int, int]] = []
    rest = prune.prune(database, 90 * DAYS, NOW, lambda *step: steps.append(step), lambda: True)
    assert rest == prune.Pruned(0, 3, 0, finished=True)
    assert steps == [("deliveries", 4, 5), ("deliveries", 5, 5)]


@pytest.mark.parametrize("text", ["90", "7d", "0d", "-9d", "d", "9.5d", "٩٠d", ""])
def test_an_age_that_is_none_or_too_short_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        prune.parse_age(text)


def test_an_age_is_a_number_of_days() -> None:
    assert prune.parse_age("90d") == 90 * DAYS
