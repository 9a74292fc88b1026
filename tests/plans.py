"""How the server would run a statement of an exchange: prepared, with one plan for all parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from src.alerts.phases.outbound import Queue, statement
from src.db.connection import Session, transaction_settings
from src.db.exchange import PLANS, prepared

PARAMS = {
    **dict.fromkeys(("channel", "run_id", "provider", "key_prefix"), "telegram"),
    **dict.fromkeys(("limit", "per_request"), 100),
    **dict.fromkeys(("now", "oldest", "keys_since"), "2026-01-16T12:00Z"),
    "allowed": None,
    "id": [1],
    "key": [str(UUID(int=1))],
    **{
        name: [None]
        for name in ("attempts", "status", "reason", "next_retry_at", "detail", "provider_message_id", "keep_key")
    },
}


def plan_of(session: Session, queue: Queue, name: str) -> list[dict[str, Any]]:
    """The nodes of the plan."""
    known = prepared(statement(queue, name).as_string(session.connection))
    with session.transaction():
        session.execute(transaction_settings(5, by_index=True))
        session.execute(PLANS)
        session.execute(known.tell)
        found = session.value(f"EXPLAIN (FORMAT JSON) {known.execute}", PARAMS)
    plan = found if isinstance(found, list) else json.loads(found)
    return list(_nodes(plan[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def indexes_of(nodes: list[dict[str, Any]], table: str) -> set[str]:
    """The indexes through which a table is read."""
    return {node["Index Name"] for node in nodes if node.get("Relation Name") == table and "Index Name" in node}
