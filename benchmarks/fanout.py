"""Phase B: 10 events × 1,000,000 users, against a bare INSERT … SELECT of the same rows; memory; linearity."""

from __future__ import annotations

from benchmarks.phases import NOW, Ran, people, ran, seconds
from benchmarks.table import Row, rate
from src.db.connection import Session
from tests.database import Server

USERS = 1_000_000
FEW = 10_000

_SAME_ROWS = """
CREATE UNLOGGED TABLE same_rows AS
SELECT user_id, alert_event_id, channel, delivery_kind, status, attempts, priority, created_at
FROM user_alert_deliveries
ORDER BY id
"""
_BARE_INSERT = """
INSERT INTO user_alert_deliveries (
    user_id, alert_event_id, channel, delivery_kind, status, attempts, priority, created_at
)
SELECT user_id, alert_event_id, channel, delivery_kind, status, attempts, priority, created_at
FROM same_rows
"""


def rows(server: Server) -> list[Row]:
    """Some minutes, most of them for a million users."""
    with people(server, USERS, NOW) as (session, url):
        many = ran(url, "b")
        peer = _bare_insert(session)
    few = min((_few(server) for _ in range(3)), key=lambda one: one.seconds)
    created = many.counts["deliveries_created"]
    each, each_of_few = many.seconds / USERS * 1e6, few.seconds / FEW * 1e6
    return [
        Row(
            f"phase B, 10 events × {USERS:,} users, {created:,} rows, bare INSERT … SELECT",
            rate(created, peer),
            rate(created, many.seconds),
            peer / many.seconds,
            0.7,
        ),
        Row("its peak RSS to 120 MB", "120 MB", f"{many.peak_mb:.0f} MB", many.peak_mb / 120, 1, at_most=True),
        Row(
            f"its time per user, {USERS:,} users to {FEW:,}",
            f"{each_of_few:.0f} µs",
            f"{each:.0f} µs",
            each / each_of_few,
            1.2,
            at_most=True,
        ),
    ]


def _few(server: Server) -> Ran:
    with people(server, FEW, NOW) as (_, url):
        return ran(url, "b")


def _bare_insert(session: Session) -> float:
    seconds(session, _SAME_ROWS, "TRUNCATE user_alert_deliveries CASCADE")
    return seconds(session, _BARE_INSERT)
