"""Explain says what the fan-out does, because it asks the same statement."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.alerts.explain import ChannelVerdict, Explanation, explain
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.errors import UsageError
from src.settings import Settings
from tests.factories import NOW, World
from tests.oracle import User
from tests.replay import STARTS, Replay, news, people, some_ids

HOUR = timedelta(hours=1)


def explained(
    database: Database,
    user: int,
    event: int,
    *,
    allowed: frozenset[int] | None = None,
    max_send: int = 1000,
    **rest: Any,
) -> Explanation:
    own_settings = Settings(**rest)
    return explain(database, own_settings, Rollout(allowed, None, max_send), user, event, NOW)


def email(explanation: Explanation) -> ChannelVerdict:
    (verdict,) = (verdict for verdict in explanation.channels if verdict.channel == "email")
    return verdict


def test_a_user_who_gets_it_passes_every_gate(database: Database, world: World) -> None:
    verdict = email(explained(database, world.user("pro"), world.alert_event()))
    assert (verdict.outcome, verdict.stopped_by, verdict.due_at) == ("instant", None, NOW)
    assert [gate.name for gate in verdict.gates] == [
        "plan", "allowlist", "alert_type_plan", "alert_type", "region", "asset", "threshold",
        "channel", "kind", "destination", "quota", "cap",
    ]  # fmt: skip
    assert all(gate.passed for gate in verdict.gates)


@pytest.mark.parametrize(
    ("user", "event", "stopped_by"),
    [
        ({"plan": "free"}, {"alert_type": "ASSET_RISK_SPIKE"}, "alert_type_plan"),
        ({}, {"alert_type": "ASSET_RISK_SPIKE"}, "alert_type"),
        ({}, {"scope_region": "Asia"}, "region"),
        ({"prefs": [{"asset": "oil"}]}, {"scope_assets": ["gas"]}, "asset"),
        ({"prefs": [{"threshold": 90}]}, {"score": 80}, "threshold"),
        ({"channels": {"email": {"enabled": False}}}, {}, "channel"),
        ({"email": None}, {}, "destination"),
        ({"email_verified": False}, {}, "destination"),
    ],
)
def test_the_gate_that_stops_it_is_named(
    database: Database, world: World, user: dict[str, Any], event: dict[str, Any], stopped_by: str
) -> None:
    verdict = email(explained(database, world.user(**user), world.alert_event(**event)))
    assert (verdict.outcome, verdict.stopped_by, verdict.due_at) == ("nothing", stopped_by, None)
    after = [gate.passed for gate in verdict.gates][[gate.name for gate in verdict.gates].index(stopped_by) + 1 :]
    assert after == [None] * len(after)


def test_channels_that_the_plan_does_not_offer_stop_there(database: Database, world: World) -> None:
    explanation = explained(database, world.user("free", telegram_chat_id="1"), world.alert_event())
    assert [verdict.stopped_by for verdict in explanation.channels] == [None, "plan", "plan"]


def test_the_allowlist_and_the_cap_are_gates(database: Database, world: World) -> None:
    user, event = world.user(), world.alert_event()
    assert email(explained(database, user, event, allowed=frozenset({user + 1}))).stopped_by == "allowlist"
    capped = email(explained(database, user, event, max_send=0))
    assert (capped.stopped_by, capped.outcome) == ("cap", "instant")


def test_a_digest_wished_on_a_channel_without_digests(database: Database, world: World) -> None:
    user = world.user(phone_number="+31600000001", channels={"sms": {"delivery_mode": "digest"}})
    assert explained(database, user, world.alert_event()).channels[2].stopped_by == "kind"


def test_the_quota_counts_what_was_sent_and_what_competes(database: Database, world: World) -> None:
    user = world.user("trader", telegram_chat_id="1")
    world.delivery(user, world.alert_event(fanned_out=True), status="sent")
    for _ in range(2):
        world.alert_event(severity=5)
    verdict = email(explained(database, user, world.alert_event(severity=4)))
    (quota,) = (gate for gate in verdict.gates if gate.name == "quota")
    assert verdict.outcome == "digest"
    assert quota.detail == "3 a day, 1 taken, this would be number 4: over it"


def test_a_digest_is_due_at_the_digest_hour_of_the_next_day(database: Database, world: World) -> None:
    event = world.alert_event()
    daily = email(explained(database, world.user("free"), event))
    assert (daily.outcome, daily.due_at) == ("digest", datetime(2026, 1, 17, 6, tzinfo=UTC))
    hourly = world.user("enterprise", channels={"email": {"delivery_mode": "digest"}})
    assert email(explained(database, hourly, event)).due_at == NOW + HOUR


def test_what_was_done_already_is_told(database: Database, world: World) -> None:
    event = world.alert_event(fanned_out=True)
    sent, failed = world.user(), world.user()
    world.delivery(sent, event, status="sent")
    world.delivery(failed, event, status="failed", failure_reason="blocked_by_user")
    assert email(explained(database, sent, event)).outcome == "instant: sent"
    assert email(explained(database, failed, event)).outcome == "instant: blocked_by_user"


def test_the_document_is_json_and_holds_no_address(database: Database, world: World) -> None:
    user = world.user(email="hidden@example.com", telegram_chat_id="98765", phone_number="+31612345678")
    text = json.dumps(explained(database, user, world.alert_event()).document())
    assert json.loads(text)["user_id"] == user
    assert not any(private in text for private in ("hidden", "98765", "612345678"))


def test_unknown_ids_are_refused_by_name(database: Database, world: World) -> None:
    with pytest.raises(UsageError, match="no alert event 7"):
        explained(database, world.user(), 7)
    with pytest.raises(UsageError, match="no user 77"):
        explained(database, 77, world.alert_event())


@settings(max_examples=60)
@given(
    users=people,
    earlier=st.lists(st.tuples(news, st.just(5)), max_size=4),
    later=st.lists(st.tuples(news, st.integers(0, 60)), min_size=1, max_size=4),
    allowed=some_ids,
)
def test_it_says_what_the_fan_out_then_does(
    database: Database, users: list[User], earlier: Any, later: Any, allowed: frozenset[int] | None
) -> None:
    with database.session() as session:
        replay = Replay(database, session, users, STARTS[0], Settings())
        replay.happen(earlier)
        replay.fan_out()
        replay.happen(later)
        said = {
            (user.id, event.id, verdict.channel): verdict.outcome
            for user in users
            for event in replay.waiting()
            for verdict in explain(
                database, replay.settings, Rollout(allowed, None, 1000), user.id, event.id, replay.now
            ).channels
            if verdict.outcome != "nothing"
        }
        waiting = {event.id for event in replay.waiting()}
        replay.fan_out(allowed)
        done = {(d.user_id, d.event_id, d.channel): d.kind for d in replay.deliveries if d.event_id in waiting}
        assert said == done
