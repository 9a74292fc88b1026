"""Phase C: claim → send → record, against PgQueuer, procrastinate and a bare aiohttp loop; memory; plans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.table import Row, rate
from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server

JOBS = 50_000
POSTS = 10_000
SLOW_POSTS = 3_000
SLOW_SECONDS = 0.05
CONCURRENCY = 200
IN_FLIGHT = 32
SENT_ROWS = 5_000_000

_SEED = """
INSERT INTO users (id, email, email_verified, telegram_chat_id)
SELECT n, 'user' || n || '@example.com', true, n::text FROM generate_series(1, %(users)s) AS n ON CONFLICT DO NOTHING;
INSERT INTO alert_events (id, alert_type, severity, headline, body, cooldown_key, event_fingerprint, created_at)
SELECT n, 'HIGH_IMPACT_EVENT', 4, 'Pipeline attacked', 'Flows are down.', n::text, n::text, now()
FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, priority)
SELECT u, e, 'telegram', %(status)s, 1 + u %% 5
FROM generate_series(1, %(users)s) AS u, generate_series(%(first)s, %(last)s) AS e
"""


def rows(server: Server) -> list[Row]:
    """All of them, some minutes."""
    return [*_queues(server), *_http(server), *_memory_and_plan(server)]


def _queues(server: Server) -> Iterator[Row]:
    with server.new_database() as name:
        peer = _child("benchmarks.peers.pgqueuer", server.url_of(name), JOBS)["seconds"]
    with _queued(server, JOBS) as url:
        ours = _send(url, "noop", CONCURRENCY)["seconds"]
    yield Row(f"claim → no-op → record, {JOBS:,} rows, PgQueuer", rate(JOBS, peer), rate(JOBS, ours), peer / ours, 1.5)
    few = JOBS // 50
    with server.new_database() as name:
        peer = _child("benchmarks.peers.procrastinate", server.url_of(name), few, CONCURRENCY)["seconds"]
    yield Row("the same, procrastinate", rate(few, peer), rate(JOBS, ours), JOBS * peer / (few * ours))


def _http(server: Server) -> Iterator[Row]:
    with _provider(0) as base:
        peer = _child("benchmarks.peers.bare_http", f"{base}/bot1/sendMessage", POSTS, IN_FLIGHT)["seconds"]
        with _queued(server, POSTS) as url:
            ours = _send(url, "http", IN_FLIGHT, TELEGRAM_BASE_URL=base)["seconds"]
    what = f"Telegram over loopback, {IN_FLIGHT} in flight, bare aiohttp loop"
    yield Row(what, rate(POSTS, peer), rate(POSTS, ours), peer / ours, 0.8)
    with _provider(SLOW_SECONDS) as base, _queued(server, SLOW_POSTS) as url:
        ours = _send(url, "http", IN_FLIGHT, TELEGRAM_BASE_URL=base)["seconds"]
    ideal = IN_FLIGHT / SLOW_SECONDS
    what = f"answers after {SLOW_SECONDS * 1000:.0f} ms, concurrency ÷ latency"
    yield Row(what, f"{ideal:,.0f}/s", rate(SLOW_POSTS, ours), SLOW_POSTS / ours / ideal, 0.9)


def _memory_and_plan(server: Server) -> Iterator[Row]:
    with _queued(server, 1_000) as url:
        small = _send(url, "noop", CONCURRENCY)["peak_mb"]
    with _queued(server, 1_000_000) as url:
        large = _send(url, "noop", CONCURRENCY)
    yield Row(
        "peak RSS, 1,000,000 queued to 1,000",
        f"{small:.0f} MB",
        f"{large['peak_mb']:.0f} MB",
        large["peak_mb"] / small,
        1.2,
        at_most=True,
    )
    yield Row("peak RSS to 150 MB", "150 MB", f"{large['peak_mb']:.0f} MB", large["peak_mb"] / 150, 1, at_most=True)
    with _queued(server, JOBS) as url:
        alone = _send(url, "noop", CONCURRENCY)["seconds"]
    with _queued(server, JOBS, sent=SENT_ROWS) as url:
        beside = _send(url, "noop", CONCURRENCY)["seconds"]
    what = f"rate beside {SENT_ROWS:,} sent rows to the rate alone"
    yield Row(what, rate(JOBS, alone), rate(JOBS, beside), alone / beside, 0.8)


@contextmanager
def _queued(server: Server, number: int, sent: int = 0) -> Iterator[str]:
    """The URL of a database with so many queued Telegram instants, and sent ones beside them."""
    with server.new_database() as name:
        url = server.url_of(name)
        database = Database(Secret(url))
        migrate.apply(database)
        users = min(number, 100_000)
        with database.session() as session, session.transaction(seconds=1200):
            if sent:
                last = sent // users
                session.execute(_SEED, {"users": users, "first": 1, "last": last, "status": "sent"})
            first = sent // users + 1
            last = first + number // users - 1
            session.execute(_SEED, {"users": users, "first": first, "last": last, "status": "queued"})
            session.execute("ANALYZE")
        yield url


@contextmanager
def _provider(seconds: float) -> Iterator[str]:
    """A provider's base URL."""
    command = [sys.executable, "-m", "benchmarks.provider", "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _send(url: str, mode: str, concurrency: int, **environ: str) -> dict[str, Any]:
    settings = {
        "DATABASE_URL": url,
        "TELEGRAM_BOT_TOKEN": "1:invented",
        "ALERTS_SEND_CONCURRENCY": str(concurrency),
        "ALERTS_RATE_LIMIT_TELEGRAM_PER_MINUTE": "600000000",
    }
    return _child("benchmarks.send_once", mode, environ={**settings, **environ})


def _child(module: str, *arguments: object, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """What a module prints as JSON, run as a process."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
