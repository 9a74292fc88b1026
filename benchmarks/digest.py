"""Phase D: 1,000,000 deliveries into 100,000 digests, against bare inserts of the same digests and items."""

from __future__ import annotations

from datetime import timedelta

from benchmarks.phases import NOW, people, ran, seconds
from benchmarks.table import Row, rate
from tests.database import Server

USERS = 100_000
ITEMS = 10 * USERS

_QUEUE = """
INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, delivery_kind, priority, created_at)
SELECT u.id, e.id, 'email', 'digest', e.severity, e.created_at
FROM users AS u
CROSS JOIN alert_events AS e
"""
_SAME_ROWS = (
    "CREATE UNLOGGED TABLE same_digests AS SELECT * FROM user_alert_digests ORDER BY id",
    "CREATE UNLOGGED TABLE same_items AS SELECT * FROM user_alert_digest_items",
    "TRUNCATE user_alert_digests CASCADE",
)
_BARE_INSERTS = (
    "INSERT INTO user_alert_digests SELECT * FROM same_digests",
    "INSERT INTO user_alert_digest_items SELECT * FROM same_items",
)


def rows(server: Server) -> list[Row]:
    """A minute or two."""
    with people(server, USERS, NOW - timedelta(days=1)) as (session, url):
        seconds(session, _QUEUE)
        seconds(session)
        ours = ran(url, "d")
        assert ours.counts["digest_items_attached"] == ITEMS
        seconds(session, *_SAME_ROWS)
        peer = seconds(session, *_BARE_INSERTS)
    what = f"phase D, {ITEMS:,} deliveries into {USERS:,} digests, bare inserts of digests and items"
    return [
        Row(what, rate(ITEMS, peer), rate(ITEMS, ours.seconds), peer / ours.seconds, 0.5),
        Row("its peak RSS to 120 MB", "120 MB", f"{ours.peak_mb:.0f} MB", ours.peak_mb / 120, 1, at_most=True),
    ]
