"""Running one phase on a test's database, as the pipeline would."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from src.alerts.phases.context import PhaseContext, Stop
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import Settings
from tests.factories import NOW


@contextmanager
def phase_context(
    database: Database,
    *,
    now: datetime = NOW,
    settings: Settings | None = None,
    allowlist: frozenset[int] | None = None,
    flag: frozenset[int] | None = None,
    since: timedelta = timedelta(hours=24),
    stop: Stop | None = None,
) -> Iterator[PhaseContext]:
    """What a phase is given, with locks of its own; `allowlist` is the environment's, `flag` narrows it."""
    run_id = str(uuid.uuid4())
    with RunLocks(database, run_id) as locks:
        yield PhaseContext(
            database=database,
            settings=settings or Settings(),
            rollout=Rollout(allowlist, flag, 1000),
            clock=lambda: now,
            since=since,
            batch_size=200,
            run_id=run_id,
            locks=locks,
            stop=stop or Stop(),
        )
