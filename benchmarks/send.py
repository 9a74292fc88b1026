"""Phase C: claim → send → record, against PgQueuer, procrastinate and a bare aiohttp loop; memory; plans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2

from benchmarks.table import Row, rate
from src.alerts.phases.outbound import Queue
from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server
from tests.plans import indexes_of, plan_of

JOBS = 50_000
POSTS = 20_000
SLOW_POSTS = 6_400
ROUNDS = 5
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
INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, priority, sent_at)
SELECT u, e, 'telegram', %(status)s, 1 + u %% 5, CASE WHEN %(status)s = 'sent' THEN now() END
FROM generate_series(1, %(users)s) AS u, generate_series(%(first)s, %(last)s) AS e
"""


def rows(server: Server) -> list[Row]:
    """All of them, some minutes."""
    return [*_queues(server), *_http(server), *_memory_and_plan(server)]


def _queues(server: Server) -> Iterator[Row]:
    def peer() -> float:
        with server.new_database() as name:
            return float(_child("benchmarks.peers.pgqueuer", server.url_of(name), JOBS)["seconds"])

    def ours() -> float:
        with _queued(server, JOBS) as url:
            return float(_send(url, "noop", CONCURRENCY)["seconds"])

    theirs, seconds = _turns(peer, ours)
    what = f"claim → no-op → record, {JOBS:,} rows, PgQueuer"
    yield Row(what, rate(JOBS, theirs), rate(JOBS, seconds), theirs / seconds, 1.5)
    few = JOBS // 50
    with server.new_database() as name:
        theirs = _child("benchmarks.peers.procrastinate", server.url_of(name), few, CONCURRENCY)["seconds"]
    yield Row("the same, procrastinate", rate(few, theirs), rate(JOBS, seconds), JOBS * theirs / (few * seconds))


def _http(server: Server) -> Iterator[Row]:
    with _provider(0) as base:

        def peer(in_flight: int, loop: str = "asyncio") -> float:
            url = f"{base}/bot1/sendMessage"
            return float(_child("benchmarks.peers.bare_http", url, POSTS, in_flight, loop)["seconds"])

        def ours(in_flight: int) -> float:
            with _queued(server, POSTS) as url:
                return float(_send(url, "http", in_flight, TELEGRAM_BASE_URL=base)["seconds"])

        theirs, seconds = _turns(partial(peer, CONCURRENCY), partial(ours, CONCURRENCY))
        what = f"Telegram over loopback, {CONCURRENCY} in flight, bare aiohttp loop"
        yield Row(what, rate(POSTS, theirs), rate(POSTS, seconds), theirs / seconds, 0.8)
        theirs, seconds = _turns(partial(peer, IN_FLIGHT), partial(ours, IN_FLIGHT))
        what = f"the same, {IN_FLIGHT} in flight, of which ours has half on the way to and from the database"
        yield Row(what, rate(POSTS, theirs), rate(POSTS, seconds), theirs / seconds, 0.8)
        theirs = peer(IN_FLIGHT, "uvloop")
        what = f"the same, {IN_FLIGHT} in flight, bare aiohttp on uvloop"
        yield Row(what, rate(POSTS, theirs), rate(POSTS, seconds), theirs / seconds)
    with _provider(SLOW_SECONDS) as base, _queued(server, SLOW_POSTS) as url:
        seconds = _send(url, "http", IN_FLIGHT, TELEGRAM_BASE_URL=base)["seconds"]
    ideal = IN_FLIGHT / SLOW_SECONDS
    what = f"answers after {SLOW_SECONDS * 1000:.0f} ms, {IN_FLIGHT} in flight, concurrency ÷ latency"
    yield Row(what, f"{ideal:,.0f}/s", rate(SLOW_POSTS, seconds), SLOW_POSTS / seconds / ideal, 0.9)


def _turns(peer: Callable[[], float], ours: Callable[[], float]) -> tuple[float, float]:
    """The seconds of the round with the median ratio, of some in which both take turns: the machine is shared."""
    rounds = sorted(((peer(), ours()) for _ in range(ROUNDS)), key=lambda pair: pair[0] / pair[1])
    return rounds[ROUNDS // 2]


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
    with _queued(server, JOBS, sent=SENT_ROWS) as large:
        with Database(Secret(large)).session() as session:
            found = indexes_of(plan_of(session, Queue.DELIVERIES, "claim_due"), "user_alert_deliveries")

        def alone(mode: str) -> float:
            with _queued(server, JOBS) as url:
                return float(_send(url, mode, CONCURRENCY)["seconds"])

        def beside(mode: str) -> float:
            seconds = float(_send(large, mode, CONCURRENCY)["seconds"])
            _settle(large)
            _fill(large, JOBS, "queued")
            return seconds

        claims = _turns(partial(alone, "claim"), partial(beside, "claim"))
        sends = _turns(partial(alone, "noop"), partial(beside, "noop"))
    partial_index = "user_alert_deliveries_open_idx"
    what = f"the claim's plan beside {SENT_ROWS:,} sent rows uses the partial index"
    yield Row(what, partial_index, ", ".join(sorted(found)), float(partial_index in found), 1)
    what = f"the claim's rate beside {SENT_ROWS:,} sent rows to its rate alone"
    yield Row(what, rate(JOBS, claims[0]), rate(JOBS, claims[1]), claims[0] / claims[1], 0.8)
    what = "the same, claim → no-op → record"
    yield Row(what, rate(JOBS, sends[0]), rate(JOBS, sends[1]), sends[0] / sends[1], 0.8)


@contextmanager
def _queued(server: Server, number: int, sent: int = 0) -> Iterator[str]:
    """The URL of a database with so many queued Telegram instants, and sent ones beside them."""
    with server.new_database() as name:
        url = server.url_of(name)
        migrate.apply(Database(Secret(url)))
        if sent:
            _fill(url, sent, "sent")
            _settle(url)
        _fill(url, number, "queued")
        yield url


def _fill(url: str, number: int, status: str) -> None:
    """Add so many instants of new alerts, at most 100,000 of each."""
    users = min(number, 100_000)
    with Database(Secret(url)).session() as session, session.transaction(seconds=1200):
        last = session.value("SELECT coalesce(max(id), 0) FROM alert_events")
        events = {"first": last + 1, "last": last + number // users}
        session.execute(_SEED, {"users": users, "status": status, **events})
        session.execute("ANALYZE")


def _settle(url: str) -> None:
    """Do what the server would do in the middle of what is measured next: vacuum, and a checkpoint."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("CHECKPOINT")
    connection.close()


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
