"""A dry run is a true simulation (invariant I3): its counts are those of the real run right after it, and it
changes no row of any table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from src.alerts.models import RunStatus
from src.alerts.phases import digest, fanout
from src.alerts.phases.context import Stop
from src.alerts.pipeline import Run, RunRequest, execute
from src.alerts.rollout import Rollout
from src.db.connection import Database, Session
from src.settings import Secret, Settings
from tests.factories import World
from tests.oracle import User
from tests.replay import STARTS, Replay, people, some_ids

rows = st.lists(
    st.tuples(
        st.sampled_from(("news", "index", "asset")),
        st.sampled_from(("Europe", "Europe", "Asia", "Global")),
        st.integers(1, 5),
        st.sampled_from((30, 60, 72, 85, 99)),
        st.integers(0, 3000),  # minutes old
    ),
    max_size=12,
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PAIRS_PER_CHUNK", 5)
    monkeypatch.setattr(digest, "DELIVERIES_PER_CHUNK", 3)


def ran(replay: Replay, url: str, rollout: Rollout, *, dry: bool) -> Run:
    request = RunRequest("all", dry, timedelta(hours=24), 3, rollout)
    run = Run(request, replay.now)
    execute(run, replay.settings, Database(Secret(url), simulate=dry), lambda: replay.now, Stop())
    assert (run.status, run.errors) == (RunStatus.SUCCESS, [])
    return run


def told(run: Run) -> dict[str, Any]:
    """What the run says it did, without what differs from run to run."""
    document = run.document()
    phases = [{key: value for key, value in phase.items() if key != "duration_ms"} for phase in document["phases"]]
    return {
        "phases": phases,
        **{key: document[key] for key in ("status", "totals", "stopped_early", "stop_reason", "recipients", "errors")},
    }


def checksums(session: Session) -> dict[str, str]:
    """The contents of every table there is."""
    with session.transaction():
        tables = session.value("SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'")
        statement = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} AS t"
        return {table: session.value(sql.SQL(statement).format(sql.Identifier(table))) for table in tables}


def insert_rows(world: World, replay: Replay, found: Any) -> None:
    for kind, region, severity, score, minutes in found:
        at = replay.now - timedelta(minutes=minutes)
        if kind == "news":
            world.news(at=at, region=region, severity_score=severity)
        elif kind == "index":
            world.risk_index(region, score, at=at)
        else:
            world.asset_risk("oil", score, at=at, region=region)


@settings(max_examples=25)
@given(
    users=people,
    start=st.sampled_from(STARTS),
    days=st.lists(st.tuples(st.sampled_from((1, 9, 24)), rows), min_size=1, max_size=3),
    allowed=some_ids,
    flag=some_ids,
    cap=st.sampled_from((0, 1, 3, 1000)),
)
def test_a_dry_run_counts_what_the_real_run_then_does(
    database: Database,
    database_url: str,
    tmp_path: Path,
    users: list[User],
    start: Any,
    days: Any,
    allowed: frozenset[int] | None,
    flag: frozenset[int] | None,
    cap: int,
) -> None:
    outbox = tmp_path / "outbox"
    own_settings = Settings(transport="outbox", outbox_dir=str(outbox))
    with database.session() as session:
        replay = Replay(database, session, users, start, own_settings)
        for hours, found in days:
            replay.now += timedelta(hours=hours)
            insert_rows(World(session), replay, found)
            before, files = checksums(session), sorted(outbox.glob("**/*"))
            simulated = ran(replay, database_url, Rollout(allowed, flag, cap), dry=True)
            assert (checksums(session), sorted(outbox.glob("**/*"))) == (before, files)
            real = ran(replay, database_url, Rollout(allowed, flag, cap), dry=False)
            assert told(simulated) == told(real)
            assert checksums(session) != before
