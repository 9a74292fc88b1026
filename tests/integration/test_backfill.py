"""Backfill: the people whom an allowlist left out hear, too, once somebody asks for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from src.alerts import backfill
from src.alerts.backfill import Backfilled
from src.alerts.phases import fanout
from src.db.connection import Database
from src.db.locks import RunLocks
from src.errors import DatabaseError
from src.settings import Secret
from tests.factories import NOW, World
from tests.phases import phase_context

HOUR = timedelta(hours=1)


def backfilled(database: Database, since: timedelta = 72 * HOUR, **options: Any) -> Backfilled:
    with phase_context(database, since=since, **options) as context:
        return backfill.run(context)


def restricted(world: World, **columns: Any) -> int:
    return world.alert_event(fanned_out=True, fanout_scope="allowlist", **columns)


def rows(world: World) -> list[tuple[Any, ...]]:
    found = world.rows("SELECT user_id, channel, delivery_kind FROM user_alert_deliveries ORDER BY 1, 2")
    return [tuple(row.values()) for row in found]


def test_those_left_out_are_reached_and_nobody_twice(database: Database, world: World) -> None:
    tester, other = world.user("pro"), world.user("pro")
    world.alert_event(created_at=NOW - HOUR)
    with phase_context(database, allowlist=frozenset({tester})) as context:
        fanout.run(context)
    world.execute("UPDATE user_alert_deliveries SET status = 'sent', sent_at = created_at")
    assert backfilled(database, now=NOW + HOUR) == Backfilled(1, 1, 0, 0, finished=True)
    assert rows(world) == [(tester, "email", "instant"), (other, "email", "instant")]
    done = world.rows("SELECT fanout_scope, fanout_completed_at FROM alert_events")
    assert done == [{"fanout_scope": "all", "fanout_completed_at": NOW}]
    assert backfilled(database) == Backfilled(0, 0, 0, 0, finished=True)


def test_only_what_an_allowlist_restricted_within_the_hours_is_touched(database: Database, world: World) -> None:
    world.user("pro")
    world.alert_event()
    world.alert_event(fanned_out=True)
    restricted(world, created_at=NOW - 80 * HOUR)
    restricted(world, fanout_waived=True)
    assert backfilled(database).events == 0


def test_what_is_too_old_for_an_instant_goes_into_the_digest(database: Database, world: World) -> None:
    user = world.user("pro", telegram_chat_id="1", phone_number="+31600000001")
    restricted(world, created_at=NOW - 25 * HOUR)
    assert backfilled(database) == Backfilled(1, 2, 0, 1, finished=True)
    assert rows(world) == [(user, "email", "digest"), (user, "telegram", "digest")]


def test_under_a_wider_allowlist_the_event_stays_restricted(database: Database, world: World) -> None:
    first, second, third = (world.user("free") for _ in range(3))
    restricted(world)
    assert backfilled(database, allowlist=frozenset({first, second})).deliveries_created == 2
    assert world.value("SELECT fanout_scope FROM alert_events") == "allowlist"
    assert backfilled(database).deliveries_created == 1
    assert [row[0] for row in rows(world)] == [first, second, third]


def test_a_simulating_database_shows_how_many_and_changes_nothing(
    database: Database, database_url: str, world: World
) -> None:
    world.user("free")
    restricted(world)
    preview = backfilled(Database(Secret(database_url), simulate=True))
    assert preview == Backfilled(1, 1, 0, 0, finished=True)
    assert (rows(world), world.value("SELECT fanout_scope FROM alert_events")) == ([], "allowlist")
    assert backfilled(database) == preview


def test_it_waits_for_no_run_that_fans_out(database: Database, world: World) -> None:
    world.user("free")
    restricted(world)
    with RunLocks(database, "another") as locks:
        assert locks.try_phase("b")
        with pytest.raises(DatabaseError, match=r"lock\.not_acquired"):
            backfilled(database)
    assert rows(world) == []
