"""Phase C finds its rows through the indexes made for it, however many were sent before."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from src.alerts.phases.outbound import KEY_PREFIX, Queue, statement
from src.db.connection import Database
from tests.factories import NOW, World
from tests.integration.sending import Sending
from tests.plans import PARAMS, indexes_of, plan_of
from tests.providers.process import Provider

USERS = 500
SENT = """
INSERT INTO alert_events (id, alert_type, severity, headline, body, cooldown_key, event_fingerprint)
SELECT n, 'HIGH_IMPACT_EVENT', 4, 'Pipeline attacked', 'Flows are down.', 'old ' || n, 'old ' || n
FROM generate_series(1001, 1198) AS n;
INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, priority, sent_at)
SELECT u.id, e.id, 'telegram', 'sent', 4, now()
FROM users AS u
CROSS JOIN alert_events AS e
WHERE e.id > 1000
"""
INDEXES = {
    Queue.DELIVERIES: ("user_alert_deliveries_open_idx", "user_alert_deliveries_open_idx"),
    Queue.DIGESTS: ("user_alert_digests_due_idx", "user_alert_digests_unknown_idx"),
}
MOST = 20
"""Rows in a claim, a few more than with the default settings."""
PRIMARY_KEYS = {Queue.DELIVERIES: "user_alert_deliveries_pkey", Queue.DIGESTS: "user_alert_digests_pkey"}


@pytest.mark.parametrize("analysed", [True, False])
@pytest.mark.parametrize("queue", Queue)
def test_no_statement_reads_a_table_whole(
    database: Database, world: World, provider: Provider, queue: Queue, analysed: bool
) -> None:
    """Also with the statistics of an empty table, as in a first large run."""
    sending = Sending(database, world, provider)
    sending.instants(sending.people(USERS), "telegram", events=2)
    world.execute(SENT)
    if analysed:
        world.execute("ANALYZE")
    with database.session() as session:
        plans = {
            name: plan_of(session, queue, name) for name in ("claim_due", "claim_unknown", "record_sent", "record")
        }
    table = f"user_alert_{queue}"
    for nodes in plans.values():
        assert [node for node in nodes if node["Node Type"] in ("Seq Scan", "Hash Join", "Merge Join")] == []
    due, unknown = INDEXES[queue]
    assert due in indexes_of(plans["claim_due"], table)
    assert unknown in indexes_of(plans["claim_unknown"], table)
    for name in ("record_sent", "record"):
        assert indexes_of(plans[name], table) == {PRIMARY_KEYS[queue]}


def test_a_claim_writes_no_index(database: Database, world: World, provider: Provider) -> None:
    """So no index may hold what it changes, or ask about it; see migration 0012."""
    sending = Sending(database, world, provider)
    sending.instants(sending.people(USERS), "telegram")
    times = {"now": NOW, "oldest": NOW - timedelta(days=1)}
    params = {**PARAMS, **times, "limit": MOST, "run_id": str(uuid4()), "key_prefix": str(uuid4())[:KEY_PREFIX]}
    with database.session() as session, session.transaction():
        assert session.execute(statement(Queue.DELIVERIES, "claim_due"), params) == MOST
        assert session.value("SELECT pg_stat_get_xact_tuples_hot_updated('user_alert_deliveries'::regclass)") == MOST
