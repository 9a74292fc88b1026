"""Whom a rollout reaches: named ids, stable shares, never anybody whom the environment leaves out."""

from __future__ import annotations

from itertools import pairwise

import pytest

from src.db.connection import Database
from src.errors import AlertsError, UsageError
from src.ops.selection import MAX_CHOSEN, RefusedError, Selection
from tests.factories import World


def chosen(
    database: Database,
    *users: str,
    plan: str | None = None,
    percent: str | None = None,
    allowed: frozenset[int] | None = None,
) -> list[int]:
    with database.session() as session:
        return Selection.parse(users, plan, percent).resolve(session, allowed)


def crowd(world: World, number: int) -> None:
    world.execute(
        "INSERT INTO users (email) SELECT 'u' || n || '@example.com' FROM generate_series(1, %(number)s) AS n",
        number=number,
    )


@pytest.mark.parametrize("text", ["abc", "4 2", "-1", "0x2A", "٤٢", "", "42,,43", str(2**63)])
def test_an_id_that_is_no_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Selection.parse([text], None, None)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-5", "100.1", "abc", "nan", "inf", "1e1", "٥", ""])
def test_a_share_is_a_number_above_0_and_at_most_100(text: str) -> None:
    with pytest.raises(UsageError):
        Selection.parse([], None, text)


def test_somebody_has_to_be_named() -> None:
    with pytest.raises(UsageError):
        Selection.parse([], None, None)


def test_named_users_are_taken_each_once(database: Database, world: World) -> None:
    first, second = world.user(), world.user()
    assert chosen(database, str(second), f"{first},{second}") == [first, second]


def test_an_id_that_is_no_user_is_refused_by_name(database: Database, world: World) -> None:
    user = world.user()
    with pytest.raises(RefusedError, match=r"rollout.unknown_user: no such user: 998, 999"):
        chosen(database, str(user), "999", "998")


def test_a_named_user_outside_the_allowlist_is_refused_by_name(database: Database, world: World) -> None:
    inside, outside = world.user(), world.user()
    with pytest.raises(RefusedError, match=f"not allowed: {outside}:"):
        chosen(database, str(inside), str(outside), allowed=frozenset({inside}))


def test_a_plan_is_everybody_on_it_whom_the_environment_allows(database: Database, world: World) -> None:
    pro = [world.user("pro") for _ in range(3)]
    world.user("trader")
    assert chosen(database, plan="pro") == pro
    assert chosen(database, plan="pro", allowed=frozenset(pro[:1])) == pro[:1]


def test_named_users_join_the_plan(database: Database, world: World) -> None:
    trader, pro = world.user("trader"), world.user("pro")
    assert chosen(database, str(trader), plan="pro") == [trader, pro]


def test_users_without_an_active_plan_are_on_free(database: Database, world: World) -> None:
    none, free, switched_off = world.user(None), world.user("free"), world.user("trader")
    world.execute("UPDATE plan_settings SET is_active = false WHERE plan_code = 'trader'")
    assert chosen(database, plan="free") == [none, free, switched_off]


def test_a_plan_that_is_none_is_refused_by_name(database: Database) -> None:
    with pytest.raises(RefusedError, match="no such active plan: 'gold'"):
        chosen(database, plan="gold")


def test_a_larger_share_holds_the_smaller_one(database: Database, world: World) -> None:
    crowd(world, 2000)
    shares = [set(chosen(database, percent=percent)) for percent in ("1", "5", "5.5", "50", "100")]
    assert all(smaller < larger for smaller, larger in pairwise(shares))
    assert len(shares[-1]) == 2000
    assert 60 <= len(shares[1]) <= 140  # 100 expected; four standard deviations


def test_a_share_stays_the_same_when_users_come(database: Database, world: World) -> None:
    crowd(world, 500)
    before = chosen(database, percent="10")
    world.execute("INSERT INTO users (email) SELECT 'v' || n || '@example.com' FROM generate_series(1, 500) AS n")
    assert [user for user in chosen(database, percent="10") if user <= max(before)] == before


def test_a_share_of_nobody_is_refused(database: Database, world: World) -> None:
    world.user("pro")
    with pytest.raises(RefusedError, match=r"rollout.nobody"):
        chosen(database, plan="trader")


def test_more_users_than_a_command_line_holds_are_refused(database: Database, world: World) -> None:
    crowd(world, MAX_CHOSEN + 1)
    with pytest.raises(AlertsError, match=r"rollout.too_many"):
        chosen(database, percent="100")
