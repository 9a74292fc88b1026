"""Three months of 5,000,000 deliveries: what health costs the database, and how fast old rows go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from benchmarks.phases import SECONDS, seconds, settle
from benchmarks.table import Row, rate
from src.alerts.health import health
from src.alerts.prune import prune
from src.alerts.rollout import Rollout
from src.db import migrate
from src.db.connection import Database, Session
from src.settings import Secret, Settings
from tests.database import Server

DELIVERIES = 5_000_000
USERS = 50_000
DAYS = 90
HEALTH_MS = 100
CHUNK_MS = 1_000
REPEATS = 10

_SEED = (
    """
    INSERT INTO users (id, email, email_verified)
    SELECT n, 'user' || n || '@example.com', true FROM generate_series(1, %(users)s) AS n
    """,
    """
    INSERT INTO alert_events (
        id, alert_type, severity, headline, body, cooldown_key, event_fingerprint,
        created_at, fanout_completed_at, fanout_scope
    )
    SELECT n, 'HIGH_IMPACT_EVENT', 4, 'Pipeline attacked', 'Flows are down.', n::text, n::text, at, at, 'all'
    FROM generate_series(1, %(events)s) AS n,
        LATERAL (SELECT %(now)s - n * make_interval(secs => %(days)s * 86400.0 / %(events)s) AS at) AS t
    ORDER BY at
    """,
    """
    INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, priority, created_at, sent_at)
    SELECT u, e.id, 'email', CASE WHEN e.id = 1 THEN 'queued' ELSE 'sent' END, 4, e.created_at,
        CASE WHEN e.id > 1 THEN e.created_at END
    FROM alert_events AS e, generate_series(1, %(users)s) AS u
    ORDER BY e.created_at
    """,
)
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_OLD_ROWS = "DELETE FROM user_alert_deliveries WHERE created_at < now() - interval '30 days' AND status = 'sent'"


def rows(server: Server) -> list[Row]:
    """Some minutes, most of them to fill the table."""
    now = datetime.now(UTC)
    with server.new_database() as name:
        url = server.url_of(name)
        migrate.apply(Database(Secret(url)))
        with Database(Secret(url)).session() as session:
            params = {"users": USERS, "events": DELIVERIES // USERS, "days": DAYS, "now": now}
            with session.transaction(seconds=SECONDS):
                for statement in _SEED:
                    session.execute(statement, params)
            settle(session)
            return [_health(session, url, now), *_prune(session, url, now)]


def _health(session: Session, url: str, now: datetime) -> Row:
    before = _active_ms(session)
    for _ in range(REPEATS):
        document = health(Settings(database_url=Secret(url)), [], [], Rollout(None, None, 1000), now)
        assert document["deliveries_24h"]["email"]["instant"]["queued"] == USERS
    took = (_active_ms(session) - before) / REPEATS
    what = f"database time of health, {DELIVERIES:,} deliveries"
    return Row(what, f"{HEALTH_MS} ms", f"{took:.1f} ms", took / HEALTH_MS, 1, at_most=True)


def _active_ms(session: Session) -> float:
    """Milliseconds that statements took in this database; sessions are counted when they have ended, and this
    one, which has filled the tables, when it is told to."""
    session.execute("SELECT pg_stat_force_next_flush()")
    while session.value(_OTHERS):
        time.sleep(0.01)
    return float(session.value("SELECT active_time FROM pg_stat_database WHERE datname = current_database()"))


def _prune(session: Session, url: str, now: datetime) -> Iterator[Row]:
    settle(session)
    ticks = [time.perf_counter()]
    pruned = prune(
        Database(Secret(url)), timedelta(days=60), now, lambda *_: ticks.append(time.perf_counter()), lambda: True
    )
    ours = ticks[-1] - ticks[0]
    longest = max(later - earlier for earlier, later in pairwise(ticks)) * 1000
    peer = seconds(session, _OLD_ROWS)
    what = f"prune, {pruned.deliveries:,} of {DELIVERIES:,} deliveries in chunks, one DELETE of as many"
    yield Row(what, rate(pruned.deliveries, peer), rate(pruned.deliveries, ours), peer / ours)
    yield Row("its longest chunk", f"{CHUNK_MS} ms", f"{longest:.0f} ms", longest / CHUNK_MS, 1, at_most=True)
