"""The ground the other tests stand on: databases, rows and the connection's promises."""

from __future__ import annotations

from datetime import timedelta

from src.db.connection import Database
from tests.factories import NOW, World


def test_each_test_has_a_migrated_database_of_its_own(world: World) -> None:
    assert world.value("SELECT count(*) FROM users") == 0
    user = world.user(
        "trader", telegram_chat_id="1001", prefs=[{"region": "Global"}], channels={"sms": {"enabled": False}}
    )
    delivery = world.delivery(user, world.alert_event(severity=5), kind="digest", attempts=2)
    digest = world.digest(user, [delivery], next_retry_at=NOW + timedelta(hours=1))
    world.news()
    world.risk_index()
    world.asset_risk()
    rows = world.rows(
        "SELECT user_id, priority, status, attempts, digest_id"
        " FROM user_alert_deliveries JOIN user_alert_digest_items ON delivery_id = id"
    )
    assert rows == [{"user_id": user, "priority": 5, "status": "skipped", "attempts": 2, "digest_id": digest}]


def test_an_empty_database_has_no_table(empty_database: Database) -> None:
    with empty_database.session() as session, session.transaction():
        assert session.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
