"""The admin API's answers over 5 million deliveries of 90 days: database time per answer, as PostgreSQL counts it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.table import Row
from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server
from tests.serving import Client, api_settings, serving

DELIVERIES = 5_000_000
USERS = 100_000
DAYS = 90
LIMIT_MS = 50.0
REPEATS = 20

_SEED = (
    """
    INSERT INTO users (id, email, email_verified, telegram_chat_id)
    SELECT n, 'user' || n || '@example.com', true, n::text FROM generate_series(1, %(users)s) AS n
    """,
    """
    INSERT INTO alert_events (
        id, alert_type, severity, headline, body, cooldown_key, event_fingerprint, created_at, fanout_completed_at
    )
    SELECT n, 'HIGH_IMPACT_EVENT', 4, 'Pipeline attacked', 'Flows are down.', n::text, n::text, at, at
    FROM generate_series(1, %(events)s) AS n,
        LATERAL (SELECT %(now)s - n * make_interval(secs => %(days)s * 86400.0 / %(events)s) AS at) AS t
    """,
    """
    INSERT INTO user_alert_deliveries (
        user_id, alert_event_id, channel, status, priority, created_at, sent_at, failure_reason, last_error
    )
    SELECT
        1 + (e.id * 7919 + n) %% %(users)s, e.id, (ARRAY['email', 'telegram'])[1 + n %% 2],
        CASE WHEN n %% 200 = 0 THEN 'failed' WHEN e.id = 1 THEN 'queued' ELSE 'sent' END, 4, e.created_at,
        CASE WHEN n %% 200 <> 0 AND e.id > 1 THEN e.created_at END,
        CASE WHEN n %% 200 = 0 THEN 'timeout' END, CASE WHEN n %% 200 = 0 THEN 'brevo timeout' END
    FROM alert_events AS e, generate_series(1, %(each)s) AS n
    """,
    """
    INSERT INTO user_alert_digests (user_id, channel, period, window_start, window_end, digest_key, status, created_at)
    SELECT n %% %(users)s + 1, 'email', 'daily', at - interval '1 day', at, 'digest-' || n, 'sent', at
    FROM generate_series(1, 500000) AS n, LATERAL (SELECT %(now)s - (n %% %(days)s) * interval '1 day' AS at) AS t
    """,
    """
    INSERT INTO alerts_engine_runs (run_id, phase, started_at, finished_at, duration_ms, status, counts, rollout)
    SELECT
        n::text, 'all', at, at, 900, 'success', '{"sent": 380, "failed": 2, "stop_reason": null}',
        '{"allowlist_active": false, "max_send_per_run": 1000}'
    FROM generate_series(0, %(days)s * 144) AS n, LATERAL (SELECT %(now)s - n * interval '10 minutes' AS at) AS t
    """,
    """
    INSERT INTO alerts_engine_run_items (run_id, phase, started_at, duration_ms, status, counts)
    SELECT run_id, p.phase, started_at, 220, 'success', '{"by_channel": {"email": {"sent": 380, "failed": 2}}}'
    FROM alerts_engine_runs, unnest(ARRAY['a', 'b', 'd', 'c']) AS p (phase)
    """,
)


_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
WHERE indrelid = 'user_alert_deliveries'::regclass AND NOT indisunique
"""


@dataclass(frozen=True, slots=True)
class _Index:
    name: str
    definition: str


def rows(server: Server) -> list[Row]:
    """A line for each question that can be asked."""
    now = datetime.now(UTC)
    with server.new_database() as name:
        database = Database(Secret(server.url_of(name)))
        migrate.apply(database)
        _seed(database, now)
        with serving(api_settings(server.url_of(name)), now=now) as client:
            return list(_measure(client, database))


def _seed(database: Database, now: datetime) -> None:
    """Indexes are made last, which takes a fraction of the time."""
    events = DAYS * 24
    params = {"users": USERS, "events": events, "each": DELIVERIES // events, "days": DAYS, "now": now}
    with database.session() as session:
        with session.transaction(seconds=1800):
            indexes = session.all(_Index, _INDEXES)
            for index in indexes:
                session.execute(f"DROP INDEX {index.name}")
            for statement in _SEED:
                session.execute(statement, params)
            for index in indexes:
                session.execute(index.definition)
        session.execute("VACUUM ANALYZE")  # as autovacuum would have done within the day


def _measure(client: Client, database: Database) -> Iterator[Row]:
    for method, path in (
        ("GET", "runs?limit=200"), ("GET", "runs/7"), ("GET", "health"), ("GET", "metrics"),
        ("GET", "activity?hours=24"), ("GET", "activity?hours=168"),
        ("POST", "retry_failed?kind=deliveries&since_hours=24"), ("POST", "retry_failed?kind=digests&since_hours=24"),
    ):  # fmt: skip
        client.ask(method, path)
        before = _active_ms(database)
        for _ in range(REPEATS):
            answer = client.ask(method, path)
            assert answer.status == 200, answer.body
        took = (_active_ms(database) - before) / REPEATS
        what = f"database time of {method} {path}, {DELIVERIES:,} deliveries"
        yield Row(what, f"{LIMIT_MS:.0f} ms", f"{took:.1f} ms", took / LIMIT_MS, 1, at_most=True)


def _active_ms(database: Database) -> float:
    """Milliseconds that statements took in this database; sessions are counted when they have ended."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with database.session() as session:
        while True:
            with session.transaction():
                open_still = session.value(others)
                active = session.value("SELECT active_time FROM pg_stat_database WHERE datname = current_database()")
            if not open_still:
                return float(active)
            time.sleep(0.01)
