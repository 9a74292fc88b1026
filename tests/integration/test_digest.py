"""Phase D: what waits becomes one message per user, channel and window."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from src.alerts.phases import digest
from src.db.connection import Database
from tests.factories import NOW, YESTERDAY, World
from tests.phases import phase_context


def built(database: Database, **options: Any) -> dict[str, Any]:
    with phase_context(database, **options) as context:
        return digest.run(context)


def test_yesterdays_items_become_one_digest(database: Database, world: World) -> None:
    user = world.user("free")
    at = NOW - timedelta(days=1)
    items = [world.delivery(user, world.alert_event(created_at=at), kind="digest", created_at=at) for _ in range(3)]
    assert built(database) == {
        "digests_created": 1,
        "digest_items_attached": 3,
        "deliveries_marked_batched": 3,
        "deliveries_expired": 0,
    }
    (row,) = world.rows("SELECT * FROM user_alert_digests")
    assert row["digest_key"] == f"{user}:email:daily:2026-01-15"
    assert (row["window_start"], row["window_end"]) == YESTERDAY
    assert (row["status"], row["attempts"], row["created_at"]) == ("queued", 0, NOW)
    marked = world.rows("SELECT id, status, failure_reason FROM user_alert_deliveries ORDER BY id")
    assert marked == [{"id": i, "status": "skipped", "failure_reason": "batched_into_digest"} for i in items]
    assert built(database)["digests_created"] == 0
