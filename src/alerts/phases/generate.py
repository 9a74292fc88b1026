"""Phase A: news and indices become `alert_events`, one row for the whole world, with no user in it (I2).

Looks back `context.since`: news inserted and indices calculated before that never alert, so an index
that nothing follows does not alert again the day after. Fingerprints are unique; what is there already
counts as skipped. Rules: DESIGN section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.alerts.models import AlertType
from src.alerts.phases.context import PhaseContext
from src.db.connection import load_queries

_SQL = load_queries(Path(__file__).parents[1] / "sql", "generate")


@dataclass(frozen=True, slots=True)
class _Generated:
    alert_type: str
    due: int
    created: int


def run(context: PhaseContext) -> dict[str, Any]:
    """Create what is due; the counts."""
    now = context.clock()
    params = {"now": now, "since": now - context.since}
    found: list[_Generated] = []
    with context.database.session() as session:
        for rule in ("high_impact_events", "spikes"):
            if not context.proceed():
                break
            with session.transaction():
                found += session.all(_Generated, _SQL[rule], params)
    return {
        "events_created": sum(one.created for one in found),
        "events_skipped": sum(one.due - one.created for one in found),
        "by_alert_type": {
            str(alert_type): {
                "created": sum(one.created for one in found if one.alert_type == alert_type),
                "skipped": sum(one.due - one.created for one in found if one.alert_type == alert_type),
            }
            for alert_type in AlertType
        },
    }
