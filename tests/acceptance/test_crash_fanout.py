"""`kill -9` in the middle of phases B and D (I6): the next run goes on, and nobody is left out or hears twice.

Each run is stopped at a random row, which somebody else holds locked, and killed there: with the chunks before
it committed, and its own half-way.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg2
import pytest

from tests.factories import NOW, World
from tests.integration.busy import until
from tests.process import Runner, wait_for

SEED = int(os.environ.get("ALERTS_TEST_SEED", random.SystemRandom().randrange(10**6)))
USERS, EVENTS, KILLS = 9_000, 10, 5
TOMORROW = NOW + timedelta(days=1)
ENGINE = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'energyriskiq-alerts'"
CREATED = "SELECT count(*) FROM user_alert_deliveries"
LEFT_WAITING = "SELECT count(*) FROM user_alert_deliveries WHERE status = 'queued' AND delivery_kind = 'digest'"
ANY_USER = (
    "SELECT FROM users WHERE id = ("
    " SELECT id FROM users AS u WHERE NOT EXISTS (SELECT FROM user_alert_deliveries AS d WHERE d.user_id = u.id)"
    " ORDER BY id OFFSET %s LIMIT 1) FOR UPDATE"
)
ANY_ITEM = (
    "SELECT FROM user_alert_deliveries WHERE id = ("
    " SELECT id FROM user_alert_deliveries WHERE status = 'queued' AND delivery_kind = 'digest'"
    " ORDER BY user_id OFFSET %s LIMIT 1) FOR UPDATE"
)


def populate(world: World) -> None:
    """Every event is for everybody: instants for odd ids, which are on the plan pro, digests for the others."""
    world.execute(
        "INSERT INTO users (id, email, email_verified)"
        " SELECT i, 'user' || i || '@example.com', true FROM generate_series(1, %(number)s) AS i",
        number=USERS,
    )
    world.execute(
        "INSERT INTO user_plans (user_id, plan) SELECT i, 'pro' FROM generate_series(1, %(number)s, 2) AS i",
        number=USERS,
    )
    for number in range(EVENTS):
        world.alert_event(severity=4, created_at=NOW - timedelta(minutes=number))


@contextmanager
def held(url: str, statement: str, place: int) -> Iterator[None]:
    """Nobody else gets past that row meanwhile."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (place,))
        assert cursor.rowcount == 1
        yield
        connection.rollback()


def kill_in(phase: str, world: World, runner: Runner, url: str, statement: str, place: int, now: str) -> None:
    with held(url, statement, place):
        process = runner.start("--phase", phase, "--now", now, "--log-json")
        until(
            lambda: process.poll() is not None or world.value(f"SELECT count(*) {ENGINE} AND wait_event_type = 'Lock'")
        )
        assert process.poll() is None, wait_for(process)
        process.kill()
        wait_for(process)
    until(lambda: world.value(f"SELECT count(*) {ENGINE}") <= 1)  # one of them asks


def test_killed_fan_outs_and_digests_leave_nobody_out(
    world: World, runner: Runner, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    populate(world)
    progress: dict[str, list[int]] = {"b": [], "d": []}
    for _ in range(KILLS):
        left = USERS - world.value(CREATED) // EVENTS
        kill_in("b", world, runner, database_url, ANY_USER, chance.randrange(left), NOW.isoformat())
        progress["b"].append(world.value(CREATED))
        assert world.value("SELECT count(*) FROM alert_events WHERE fanout_completed_at IS NOT NULL") == 0
    counts = runner.run("--phase", "b", "--now", NOW.isoformat(), "--log-json").document["phases"][0]["counts"]
    assert counts["events_processed"] == EVENTS
    assert counts["deliveries_created"] == USERS * EVENTS - progress["b"][-1]
    kinds = world.rows(
        "SELECT user_id %% 2 AS odd, delivery_kind AS kind, count(*) AS rows, count(DISTINCT user_id) AS users"
        " FROM user_alert_deliveries GROUP BY 1, 2 ORDER BY 1"
    )
    half = USERS // 2
    assert [tuple(row.values()) for row in kinds] == [
        (0, "digest", half * EVENTS, half),
        (1, "instant", half * EVENTS, half),
    ]
    assert runner.run("--phase", "b", "--now", NOW.isoformat(), "--log-json").document["totals"]["sent"] == 0

    waiting = half * EVENTS
    for _ in range(KILLS):
        left = world.value(LEFT_WAITING)
        kill_in("d", world, runner, database_url, ANY_ITEM, chance.randrange(left), TOMORROW.isoformat())
        progress["d"].append(waiting - world.value(LEFT_WAITING))
    counts = runner.run("--phase", "d", "--now", TOMORROW.isoformat(), "--log-json").document["phases"][0]["counts"]
    assert counts["digest_items_attached"] == waiting - progress["d"][-1]
    assert world.value(LEFT_WAITING) == 0
    world.execute("ANALYZE")  # or the next is planned as for empty tables
    digests = world.rows(
        "SELECT items, count(*) AS digests FROM ("
        " SELECT g.id, count(i.delivery_id) AS items FROM user_alert_digests AS g"
        " LEFT JOIN user_alert_digest_items AS i ON i.digest_id = g.id GROUP BY g.id) AS d GROUP BY items"
    )
    assert digests == [{"items": EVENTS, "digests": half}]
    with capsys.disabled():
        print(f"\ncrash fan-out and digests: ALERTS_TEST_SEED={SEED}, rows written before each kill: {progress}")
