"""One measured run of phase b or d in a process of its own: prints seconds, peak RSS (MB) and counts as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from datetime import datetime, timedelta
from typing import Any

from src.alerts.phases import digest, fanout
from src.alerts.phases.context import PhaseContext, Stop
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import Secret, Settings

PHASES = {"b": fanout.run, "d": digest.run}


def measure(phase: str, now: datetime) -> dict[str, Any]:
    """Run the phase on DATABASE_URL as of `now`."""
    database = Database(Secret(os.environ["DATABASE_URL"]))
    settings = Settings(digest_hour=0)
    with RunLocks(database, "bench") as locks:
        context = PhaseContext(
            database,
            settings,
            Rollout(None, None, 1000),
            lambda: now,
            timedelta(hours=24),
            settings.send_batch_size,
            "bench",
            locks,
            Stop(),
        )
        began = time.perf_counter()
        counts = PHASES[phase](context)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "counts": counts}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], datetime.fromisoformat(sys.argv[2]))))
