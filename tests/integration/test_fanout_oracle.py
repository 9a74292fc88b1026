"""Phases B and D against the oracle, day after day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.alerts.phases import digest, fanout
from src.db.connection import Database
from src.settings import Settings
from tests.oracle import User
from tests.replay import STARTS, ZONES, Replay, news, people, some_ids

steps = st.lists(
    st.tuples(
        st.sampled_from((5, 60, 60, 200, 700, 1440, 3000)),  # minutes that pass
        st.lists(st.tuples(news, st.sampled_from((0, 3, 50, 600, 2000))), max_size=4),  # events, minutes old
        st.sampled_from(("fan out", "fan out", "digests", "both", "sent", "failed")),
        some_ids,
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few users are several chunks."""
    monkeypatch.setattr(fanout, "PAIRS_PER_CHUNK", 5)
    monkeypatch.setattr(digest, "DELIVERIES_PER_CHUNK", 3)


@settings(max_examples=80)
@given(
    users=people,
    start=st.sampled_from(STARTS),
    zone=st.sampled_from(ZONES),
    hour=st.sampled_from((0, 3, 7)),
    period=st.sampled_from(("daily", "daily", "hourly")),
    story=steps,
)
def test_rows_and_counts_are_those_of_the_oracle(
    database: Database, users: list[User], start: datetime, zone: str, hour: int, period: str, story: Any
) -> None:
    with database.session() as session:
        own_settings = Settings(timezone=zone, digest_hour=hour, digest_period=period)
        replay = Replay(database, session, users, start, own_settings)
        for minutes, events, action, allowed in story:
            replay.now += timedelta(minutes=minutes)
            replay.happen(events)
            if action in ("sent", "failed"):
                replay.send_all(action)
            if action in ("fan out", "both"):
                replay.fan_out(allowed, narrowed=minutes == 5)
            if action in ("digests", "both"):
                replay.build_digests(allowed)
