"""Databases full of people, and phases run on them as processes: what the benchmarks of B and D share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.db import migrate
from src.db.connection import Database, Session
from src.settings import Secret
from tests.database import Server

NOW = datetime(2026, 1, 16, 12, tzinfo=UTC)
SECONDS = 3600  # at most, for anything

# People of every plan; 6 of 10 have rows of interest, 1 of 5 a channel setting; addresses are missing here and there.
_PEOPLE = """
INSERT INTO users (id, email, email_verified, telegram_chat_id, phone_number)
SELECT
    n, 'user' || n || '@example.com', n %% 17 <> 0,
    CASE WHEN n %% 3 <> 0 THEN (1000000 + n)::text END, CASE WHEN n %% 4 <> 0 THEN '+3160' || n END
FROM generate_series(1, %(users)s) AS n;

INSERT INTO user_plans (user_id, plan)
SELECT
    n, (ARRAY['free', 'free', 'personal', 'personal', 'trader', 'trader', 'pro', 'pro', 'enterprise'])[1 + n %% 9]
FROM generate_series(1, %(users)s) AS n
WHERE n %% 10 <> 0;

INSERT INTO user_alert_prefs (user_id, region, alert_type, asset, threshold, enabled)
SELECT
    n, (ARRAY['Europe', 'Global', 'Middle East', 'europe'])[1 + (n / 7 + k) %% 4],
    (ARRAY['HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE'])[k],
    CASE WHEN k = 3 AND n %% 2 = 0 THEN 'oil' END, CASE WHEN n %% 5 = 0 THEN 80 END, n %% 23 <> 0
FROM generate_series(1, %(users)s) AS n
CROSS JOIN generate_series(1, 3) AS k
WHERE n %% 10 < 6 AND k <= 1 + n %% 3;

INSERT INTO user_alert_channels (user_id, channel, enabled, delivery_mode)
SELECT n, (ARRAY['email', 'telegram', 'sms'])[1 + n %% 3], n %% 2 = 0, CASE WHEN n %% 4 = 0 THEN 'digest' END
FROM generate_series(1, %(users)s) AS n
WHERE n %% 5 = 0;

INSERT INTO alert_events (
    alert_type, scope_region, scope_assets, severity, score, headline, body, cooldown_key, event_fingerprint, created_at
)
SELECT
    (ARRAY['HIGH_IMPACT_EVENT', 'HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE'])[1 + k %% 4],
    (ARRAY['Europe', 'Middle East', 'Global', NULL])[1 + k %% 4], CASE WHEN k %% 4 = 3 THEN ARRAY['oil'] ELSE '{}' END,
    3 + k %% 3, 70 + 3 * k, 'Pipeline attacked', 'Flows are down.', 'k' || k, 'k' || k, %(at)s
FROM generate_series(1, 10) AS k
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a phase went: seconds, peak RSS of its process in MB, its counts."""

    seconds: float
    peak_mb: float
    counts: dict[str, Any]


@contextmanager
def people(server: Server, users: int, events_at: datetime) -> Iterator[tuple[Session, str]]:
    """A database of so many users and ten events: a session in it, and its URL."""
    with server.new_database() as name:
        url = server.url_of(name)
        migrate.apply(Database(Secret(url)))
        with Database(Secret(url)).session() as session:
            with session.transaction(seconds=SECONDS):
                session.execute(_PEOPLE, {"users": users, "at": events_at})
            settle(session)
            yield session, url


def settle(session: Session) -> None:
    """Leave nothing to be tidied up while somebody measures."""
    for statement in ("VACUUM (ANALYZE)", "CHECKPOINT"):
        session.execute(statement)


def ran(url: str, phase: str) -> Ran:
    """Run a phase in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.phase_once", phase, NOW.isoformat()]
    done = subprocess.run(
        command, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Ran(**json.loads(done.stdout))


def seconds(session: Session, *statements: str) -> float:
    """How long these take in one transaction."""
    settle(session)
    began = time.perf_counter()
    with session.transaction(seconds=SECONDS):
        for statement in statements:
            session.execute(statement)
    return time.perf_counter() - began
