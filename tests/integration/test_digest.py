"""Phase D: what waits becomes one message per user, channel and window. The oracle test tries it at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.alerts.phases import digest
from src.db.connection import Database
from src.errors import DatabaseError
from src.settings import Settings
from tests.factories import NOW, YESTERDAY, World
from tests.phases import phase_context

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def built(database: Database, now: datetime = NOW, **options: Any) -> dict[str, Any]:
    own_settings = Settings(**options.pop("settings", {}))
    with phase_context(database, now=now, settings=own_settings, **options) as context:
        return digest.run(context)


def item(
    world: World, user: int, at: datetime = NOW - DAY, *, queued_at: datetime | None = None, **columns: Any
) -> int:
    """A delivery that waits for a digest, of an event of `at`."""
    event = world.alert_event(created_at=at, fanned_out=True)
    return world.delivery(user, event, kind="digest", created_at=queued_at or at, **columns)


def keys(world: World) -> list[str]:
    return [row["digest_key"] for row in world.rows("SELECT digest_key FROM user_alert_digests ORDER BY id")]


def test_yesterdays_items_become_one_digest(database: Database, world: World) -> None:
    user = world.user("free")
    items = [item(world, user) for _ in range(3)]
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
    assert not any(built(database).values())


def test_each_user_and_channel_has_a_digest_of_its_own(database: Database, world: World) -> None:
    for user in (world.user(), world.user()):
        event = world.alert_event(created_at=NOW - DAY)
        for channel in ("email", "telegram"):
            world.delivery(user, event, channel, kind="digest", created_at=NOW - DAY)
    assert built(database)["digests_created"] == 4


def test_nothing_is_built_before_the_local_hour(database: Database, world: World) -> None:
    item(world, world.user("free"))
    assert not any(built(database, datetime(2026, 1, 16, 5, 59, tzinfo=UTC)).values())
    assert built(database, datetime(2026, 1, 16, 6, 0, tzinfo=UTC))["digests_created"] == 1


def test_news_of_today_waits_for_tomorrow(database: Database, world: World) -> None:
    """Also if it was fanned out in time: the event's moment counts."""
    user = world.user("free")
    item(world, user, YESTERDAY[1])
    assert not any(built(database).values())
    item(world, user, YESTERDAY[1] - timedelta(seconds=1), queued_at=NOW)
    assert built(database)["digest_items_attached"] == 1
    assert built(database, NOW + DAY)["digest_items_attached"] == 1


def test_missed_days_go_into_the_newest_window(database: Database, world: World) -> None:
    user = world.user("free")
    for days in (1, 2, 3, 6):
        item(world, user, NOW - days * DAY)
    assert built(database)["digest_items_attached"] == 4
    assert keys(world) == [f"{user}:email:daily:2026-01-15"]


def test_items_that_waited_for_more_than_a_week_expire(database: Database, world: World) -> None:
    user = world.user("free")
    item(world, user, NOW - 7 * DAY - timedelta(seconds=1))
    item(world, user, NOW - 30 * DAY, queued_at=NOW - DAY)
    counts = built(database)
    assert (counts["deliveries_expired"], counts["digest_items_attached"]) == (1, 1)
    reasons = world.rows("SELECT status, failure_reason FROM user_alert_deliveries ORDER BY id LIMIT 1")
    assert reasons == [{"status": "skipped", "failure_reason": "expired"}]


@pytest.mark.parametrize(
    ("columns", "joins"),
    [
        ({"status": "queued"}, True),
        ({"status": "queued", "send_key": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}, False),
        ({"status": "sending"}, False),
        ({"status": "sent"}, False),
        ({"status": "failed"}, False),
        ({"status": "skipped"}, False),
        ({"status": "queued", "adopted": True}, False),
    ],
)
def test_late_items_join_a_digest_that_has_not_left(
    database: Database, world: World, columns: dict[str, Any], joins: bool
) -> None:
    """Else they wait for the next."""
    user = world.user("free")
    item(world, user)
    built(database)
    sets = ", ".join(f"{name} = %({name})s" for name in columns)
    world.execute(f"UPDATE user_alert_digests SET {sets}", **columns)
    late = item(world, user)
    counts = built(database, NOW + HOUR)
    assert (counts["digests_created"], counts["digest_items_attached"]) == (0, int(joins))
    assert built(database, NOW + DAY)["digest_items_attached"] == int(not joins)
    assert world.value("SELECT status FROM user_alert_deliveries WHERE id = %(id)s", id=late) == "skipped"


def test_hourly_plans_stand_beside_daily_ones(database: Database, world: World) -> None:
    daily, hourly = world.user("pro"), world.user("enterprise")
    for user in (daily, hourly):
        item(world, user, NOW - 30 * timedelta(minutes=1))
        item(world, user, NOW)
    assert built(database)["digest_items_attached"] == 1
    assert keys(world) == [f"{hourly}:email:hourly:2026-01-16T11"]
    window = world.rows("SELECT window_start, window_end, period FROM user_alert_digests")
    assert window == [{"window_start": NOW - HOUR, "window_end": NOW, "period": "hourly"}]


def test_a_setting_makes_all_digests_hourly(database: Database, world: World) -> None:
    user = world.user(None)
    item(world, user, NOW - HOUR)
    built(database, settings={"digest_period": "hourly", "digest_hour": 23})
    assert keys(world) == [f"{user}:email:hourly:2026-01-16T11"]


@pytest.mark.parametrize(
    ("now", "hours", "label"),
    [("2026-03-30T12:00", 23, "2026-03-29"), ("2026-10-26T12:00", 25, "2026-10-25")],
    ids=["an hour is lost", "an hour is repeated"],
)
def test_a_day_with_a_clock_change_is_a_window_of_its_own_length(
    database: Database, world: World, now: str, hours: int, label: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    user = world.user("free")
    item(world, user, moment - DAY)
    built(database, moment)
    (row,) = world.rows("SELECT window_end - window_start AS length, digest_key FROM user_alert_digests")
    assert row == {"length": hours * HOUR, "digest_key": f"{user}:email:daily:{label}"}


def test_the_hour_that_the_clocks_repeat_makes_two_digests(database: Database, world: World) -> None:
    user = world.user("enterprise")
    for hour in (0, 1):  # 02:00 in Amsterdam, twice
        at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
        item(world, user, at)
        built(database, at + HOUR)
    assert keys(world) == [f"{user}:email:hourly:2026-10-25T00", f"{user}:email:hourly:2026-10-25T01"]


def test_items_of_people_off_the_allowlist_are_left_alone(database: Database, world: World) -> None:
    chosen, other = world.user("free"), world.user("free")
    for user in (chosen, other):
        item(world, user)
        item(world, user, NOW - 8 * DAY)
    counts = built(database, allowlist=frozenset({chosen}))
    assert (counts["digest_items_attached"], counts["deliveries_expired"]) == (1, 1)
    left = world.rows("SELECT DISTINCT status FROM user_alert_deliveries WHERE user_id = %(id)s", id=other)
    assert left == [{"status": "queued"}]


def test_what_is_not_the_engines_is_left_alone(database: Database, world: World) -> None:
    user = world.user("free")
    item(world, user, adopted=True)
    world.insert("user_alert_deliveries", user_id=user, channel="email", delivery_kind="geri", created_at=NOW - DAY)
    world.delivery(user, world.alert_event(created_at=NOW - DAY), created_at=NOW - DAY)
    assert not any(built(database).values())


def test_many_users_in_small_chunks(database: Database, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's items are never split over two chunks."""
    monkeypatch.setattr(digest, "DELIVERIES_PER_CHUNK", 2)
    for _ in range(5):
        user = world.user("free")
        for _ in range(3):
            item(world, user)
    counts = built(database)
    assert (counts["digests_created"], counts["digest_items_attached"]) == (5, 15)


def test_an_error_half_way_leaves_nothing_behind(database: Database, world: World) -> None:
    item(world, world.user("free"))
    world.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON user_alert_deliveries FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(DatabaseError):
        built(database)
    assert (world.count("user_alert_digests"), world.count("user_alert_digest_items")) == (0, 0)
    world.execute("DROP TRIGGER refuse ON user_alert_deliveries")
    assert built(database)["digest_items_attached"] == 1


def test_an_item_that_comes_while_it_runs_joins_later(database: Database, world: World) -> None:
    """Its transaction is open while the digest is built: neither waits for the other."""
    user = world.user("free")
    item(world, user)
    event = world.alert_event(created_at=NOW - DAY)
    with database.session() as other, other.transaction():
        other.execute(
            "INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, delivery_kind, created_at)"
            " VALUES (%(user)s, %(event)s, 'email', 'digest', %(now)s)",
            {"user": user, "event": event, "now": NOW},
        )
        assert built(database)["digest_items_attached"] == 1
    counts = built(database, NOW + HOUR)
    assert (counts["digests_created"], counts["digest_items_attached"]) == (0, 1)
    assert world.count("user_alert_digests") == 1
