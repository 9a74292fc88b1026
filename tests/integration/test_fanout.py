"""Phase B: who hears what."""

from __future__ import annotations

from typing import Any

from src.alerts.phases import fanout
from src.db.connection import Database
from tests.factories import World
from tests.phases import phase_context


def fanned_out(database: Database, **options: Any) -> dict[str, Any]:
    with phase_context(database, **options) as context:
        return fanout.run(context)


def test_one_event_reaches_a_user_on_every_channel_once(database: Database, world: World) -> None:
    user = world.user("pro", telegram_chat_id="1", phone_number="+31600000001")
    event = world.alert_event(severity=5)
    assert fanned_out(database) == {
        "events_processed": 1,
        "users_considered": 1,
        "deliveries_created": 3,
        "deliveries_skipped_allowlist": 0,
        "deliveries_skipped_prefs": 0,
        "deliveries_skipped_missing_dest": 0,
        "deliveries_skipped_quota": 0,
        "moved_to_digest": 0,
    }
    rows = world.rows(
        "SELECT user_id, alert_event_id, channel, delivery_kind, status, attempts, priority"
        " FROM user_alert_deliveries ORDER BY channel"
    )
    assert rows == [
        {
            "user_id": user,
            "alert_event_id": event,
            "channel": channel,
            "delivery_kind": "instant",
            "status": "queued",
            "attempts": 0,
            "priority": 5,
        }
        for channel in ("email", "sms", "telegram")
    ]
    assert fanned_out(database)["events_processed"] == 0
