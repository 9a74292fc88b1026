"""Phase B: who hears what. The oracle test tries the rules at random; these are the cases with a name."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.alerts.phases import fanout
from src.alerts.phases.context import Stop
from src.db.connection import Database
from src.errors import DatabaseError, LockLostError
from src.settings import Settings
from tests.factories import NOW, World
from tests.phases import phase_context

HOUR = timedelta(hours=1)
ANYWHERE = [{"region": "Global"}]


def fanned_out(database: Database, **options: Any) -> dict[str, Any]:
    with phase_context(database, **options) as context:
        return fanout.run(context)


def rows(world: World, columns: str = "alert_event_id, delivery_kind") -> list[tuple[Any, ...]]:
    found = world.rows(f"SELECT {columns} FROM user_alert_deliveries ORDER BY {columns}")
    return [tuple(row.values()) for row in found]


def small_plan(world: World, **config: Any) -> None:
    """The plan `small`: every type, 1 mail and 1 text message a day."""
    world.insert(
        "plan_settings",
        plan_code="small",
        allowed_alert_types=["ALL"],
        max_email_alerts_per_day=1,
        delivery_config={"email": {"max_per_day": 1}, "sms": {"enabled": True}, **config},
    )


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
    assert rows(world, "channel, user_id, alert_event_id, delivery_kind, status, attempts, priority, created_at") == [
        (channel, user, event, "instant", "queued", 0, 5, NOW) for channel in ("email", "sms", "telegram")
    ]
    done = world.rows("SELECT fanout_completed_at, fanout_scope FROM alert_events")
    assert done == [{"fanout_completed_at": NOW, "fanout_scope": "all"}]
    assert fanned_out(database)["events_processed"] == 0


def test_only_open_events_of_the_look_back_are_fanned_out(database: Database, world: World) -> None:
    world.user("pro")
    world.alert_event(created_at=NOW - 25 * HOUR)
    world.alert_event(created_at=NOW + HOUR)
    world.alert_event(fanned_out=True)
    world.alert_event(fanout_waived=True)
    event = world.alert_event(created_at=NOW - 23 * HOUR)
    assert fanned_out(database)["events_processed"] == 1
    assert rows(world, "alert_event_id") == [(event,)]


def test_the_last_place_of_the_day_goes_to_the_severest_then_to_the_oldest(database: Database, world: World) -> None:
    """What is over goes into the digest, and text messages, which have none, are skipped."""
    small_plan(world)
    world.user("small", prefs=ANYWHERE, phone_number="+31600000001")
    mild = world.alert_event(severity=3, created_at=NOW - 3 * HOUR)
    younger = world.alert_event(severity=5, created_at=NOW - HOUR)
    older = world.alert_event(severity=5, created_at=NOW - 2 * HOUR)
    counts = fanned_out(database)
    assert (counts["deliveries_created"], counts["moved_to_digest"], counts["deliveries_skipped_quota"]) == (4, 2, 2)
    assert rows(world, "alert_event_id, channel, delivery_kind") == [
        (mild, "email", "digest"),
        (younger, "email", "digest"),
        (older, "email", "instant"),
        (older, "sms", "instant"),
    ]


@pytest.mark.parametrize(
    ("status", "counts"), [("queued", True), ("sending", True), ("sent", True), ("failed", False), ("skipped", False)]
)
def test_a_place_is_taken_by_what_was_or_will_be_sent(
    database: Database, world: World, status: str, counts: bool
) -> None:
    small_plan(world)
    user = world.user("small")
    world.delivery(user, world.alert_event(fanned_out=True), status=status, created_at=NOW - HOUR)
    world.delivery(user, world.alert_event(fanned_out=True), "telegram", created_at=NOW - HOUR)
    world.delivery(user, world.alert_event(fanned_out=True), kind="digest", created_at=NOW - HOUR)
    world.alert_event()
    assert fanned_out(database)["moved_to_digest"] == counts


@pytest.mark.parametrize(
    ("zone", "taken_at", "now", "same_day"),
    [
        ("Europe/Amsterdam", "2026-01-15T22:59", "2026-01-15T23:01", False),
        ("Europe/Amsterdam", "2026-01-15T23:01", "2026-01-16T22:59", True),
        ("Asia/Kolkata", "2026-01-15T18:29", "2026-01-15T18:31", False),
        ("America/New_York", "2026-01-16T04:59", "2026-01-16T05:01", False),
        ("Europe/Amsterdam", "2026-03-28T23:01", "2026-03-29T21:59", True),  # a day of 23 hours
        ("Europe/Amsterdam", "2026-03-28T23:01", "2026-03-29T22:01", False),
        ("Europe/Amsterdam", "2026-10-24T22:01", "2026-10-25T22:59", True),  # a day of 25 hours
        ("Europe/Amsterdam", "2026-10-24T22:01", "2026-10-25T23:01", False),
    ],
)
def test_the_day_of_a_quota_is_that_of_the_time_zone(
    database: Database, world: World, zone: str, taken_at: str, now: str, same_day: bool
) -> None:
    small_plan(world)
    user = world.user("small")
    taken, moment = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (taken_at, now))
    world.delivery(user, world.alert_event(fanned_out=True, created_at=taken), status="sent", created_at=taken)
    world.alert_event(created_at=moment)
    assert fanned_out(database, now=moment, settings=Settings(timezone=zone))["moved_to_digest"] == same_day


@pytest.mark.parametrize("kind", ["instant", "digest"])
def test_an_event_that_came_is_not_sent_again_in_another_way(database: Database, world: World, kind: str) -> None:
    event = world.alert_event()
    user = world.user("pro", channels={"email": {"delivery_mode": "digest"}} if kind == "instant" else None)
    world.delivery(user, event, kind=kind, status="sent")
    assert fanned_out(database)["deliveries_created"] == 0
    assert world.count("user_alert_deliveries") == 1


def test_the_inbox_of_other_software_is_no_channel(database: Database, world: World) -> None:
    event = world.alert_event()
    world.delivery(world.user("free"), event, "account", status="sent")
    assert fanned_out(database)["deliveries_created"] == 1


def test_nobody_off_the_allowlist_gets_a_row(database: Database, world: World) -> None:
    chosen, other = world.user("free"), world.user("trader", telegram_chat_id="1")
    world.alert_event()
    counts = fanned_out(database, allowlist=frozenset({chosen, 10**12}))
    assert (counts["users_considered"], counts["deliveries_skipped_allowlist"], counts["events_processed"]) == (1, 2, 1)
    assert rows(world, "user_id") == [(chosen,)]
    assert world.value("SELECT fanout_scope FROM alert_events") == "allowlist"
    assert fanned_out(database)["events_processed"] == 0
    assert other not in [row["user_id"] for row in world.rows("SELECT user_id FROM user_alert_deliveries")]


def test_an_empty_allowlist_is_nobody(database: Database, world: World) -> None:
    world.user()
    world.alert_event()
    assert fanned_out(database, allowlist=frozenset())["deliveries_created"] == 0


def test_a_narrower_flag_leaves_the_event_open_for_the_others(database: Database, world: World) -> None:
    chosen, other = world.user("free"), world.user("free")
    world.alert_event()
    counts = fanned_out(database, flag=frozenset({chosen}))
    assert (counts["events_processed"], counts["deliveries_created"]) == (1, 1)
    assert world.value("SELECT fanout_completed_at FROM alert_events") is None
    assert fanned_out(database)["deliveries_created"] == 1
    assert rows(world, "user_id") == [(chosen,), (other,)]
    assert world.value("SELECT fanout_scope FROM alert_events") == "all"


def test_rows_that_are_not_enabled_mean_nothing_and_no_row_means_the_default(database: Database, world: World) -> None:
    world.user("pro", prefs=[{"region": "Europe", "enabled": False}])
    default = world.user("pro")
    world.alert_event()
    world.alert_event(scope_region="Asia")
    world.alert_event("REGIONAL_RISK_SPIKE")
    fanned_out(database)
    assert rows(world, "user_id, alert_event_id") == [(default, 1)]


def test_it_stops_between_chunks_and_the_next_run_goes_on(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lost, nothing twice; the event stays open until the last chunk."""
    monkeypatch.setattr(fanout, "PAIRS_PER_CHUNK", 2)
    users = [world.user("free") for _ in range(9)]
    world.alert_event()
    stop = Stop()
    with phase_context(database, stop=stop) as context:
        pings = iter((True, True))
        monkeypatch.setattr(context.locks, "ping", lambda: next(pings, None) or stop.request(signal.SIGTERM))
        counts = fanout.run(context)
    assert counts["events_processed"] == 0
    assert 0 < counts["deliveries_created"] < 9
    assert world.value("SELECT fanout_completed_at FROM alert_events") is None
    rest = fanned_out(database)
    assert rest["deliveries_created"] == 9 - counts["deliveries_created"]
    assert rows(world, "user_id") == [(user,) for user in users]


def test_a_lost_lock_stops_the_phase(database: Database, world: World) -> None:
    world.user()
    world.alert_event()
    with phase_context(database) as context:
        world.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(LockLostError):
            fanout.run(context)
    assert world.count("user_alert_deliveries") == 0


@pytest.mark.parametrize("number", range(1, 9))
def test_users_in_sparse_ids_are_all_reached(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """However many chunks they make."""
    monkeypatch.setattr(fanout, "PAIRS_PER_CHUNK", 2)
    ids = [3, 500, 501, 502, 10**6, 10**9, 2**40, 2**62][:number]
    for user in ids:
        world.user("free", id=user)
    world.alert_event()
    assert fanned_out(database)["users_considered"] == number
    assert rows(world, "user_id") == [(user,) for user in ids]


def test_without_users_the_event_is_done(database: Database, world: World) -> None:
    world.alert_event()
    assert fanned_out(database)["events_processed"] == 1
    assert world.value("SELECT fanout_completed_at FROM alert_events") == NOW


def test_a_plan_that_says_nothing_of_instants_has_digests_only(database: Database, world: World) -> None:
    small_plan(world, email={"max_per_day": "many"})
    world.execute("ALTER TABLE plan_settings ALTER max_email_alerts_per_day DROP NOT NULL")
    world.execute("UPDATE plan_settings SET max_email_alerts_per_day = NULL WHERE plan_code = 'small'")
    world.user("small")
    world.alert_event()
    counts = fanned_out(database)
    assert (counts["deliveries_created"], counts["moved_to_digest"]) == (1, 0)
    assert rows(world) == [(1, "digest")]


@pytest.mark.parametrize(
    ("user", "count"),
    [
        ({"phone_number": "+31600000001", "channels": {"sms": {"delivery_mode": "digest"}}}, "prefs"),
        ({"phone_number": "+31600000001", "channels": {"sms": {"enabled": False}}}, "prefs"),
        ({"phone_number": "+31600000001", "prefs": [{"region": "Asia"}]}, "prefs"),
        ({"phone_number": None}, "missing_dest"),
        ({"phone_number": "  "}, "missing_dest"),
    ],
)
def test_each_thing_that_stands_in_the_way_has_its_count(
    database: Database, world: World, user: dict[str, Any], count: str
) -> None:
    """A text message is no digest; a wish for digests there means none at all."""
    small_plan(world)
    world.user("small", **user)
    world.alert_event()
    counts = fanned_out(database)
    assert counts[f"deliveries_skipped_{count}"] == (2 if "prefs" in user else 1)
    assert "sms" not in [row[0] for row in rows(world, "channel")]


def test_one_row_of_interest_has_to_match_in_everything(database: Database, world: World) -> None:
    """Two that match in part are none."""
    prefs = [{"region": "Asia", "threshold": 50}, {"region": "Europe", "threshold": 90}]
    world.user("pro", prefs=prefs)
    world.user("pro", prefs=[*prefs, {"region": "europe", "threshold": 80}])
    world.alert_event(score=80)
    assert fanned_out(database)["deliveries_created"] == 1


@pytest.mark.parametrize(("verified", "created"), [(True, 1), (None, 1), (False, 0)])
def test_an_unknown_verification_counts_as_verified(
    database: Database, world: World, verified: bool | None, created: int
) -> None:
    world.user("free", email_verified=verified)
    world.alert_event()
    counts = fanned_out(database)
    assert (counts["deliveries_created"], counts["deliveries_skipped_missing_dest"]) == (created, 1 - created)


@pytest.mark.parametrize("place", range(5))
def test_an_event_is_not_done_as_long_as_a_chunk_failed(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Whichever chunk it is, on whichever of the two connections."""
    monkeypatch.setattr(fanout, "PAIRS_PER_CHUNK", 2)
    users = [world.user("free") for _ in range(9)]
    world.alert_event()
    world.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON user_alert_deliveries FOR EACH ROW"
        f" WHEN (NEW.user_id = {users[2 * place]}) EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(DatabaseError):
        fanned_out(database)
    assert world.value("SELECT fanout_completed_at FROM alert_events") is None
    world.execute("DROP TRIGGER refuse ON user_alert_deliveries")
    fanned_out(database)
    assert rows(world, "user_id") == [(user,) for user in users]
    assert world.value("SELECT fanout_completed_at FROM alert_events") == NOW
