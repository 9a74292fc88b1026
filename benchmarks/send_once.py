"""One measured run of phase C in a process of its own: prints seconds and peak RSS (MB) as JSON.

`noop` replaces the Telegram channel by one that accepts at once; `http` talks to a provider on loopback;
`claim` claims and records in turn, ALERTS_SEND_CONCURRENCY rows at a time, and counts the time of claiming only.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

from src.alerts.channels.base import Limits
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, MessageStatus
from src.alerts.phases import send
from src.alerts.phases.context import PhaseContext, Stop, system_clock
from src.alerts.phases.outbound import Claimed, Outbound, Queue, Result, Source
from src.alerts.retry import Decision
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.db.exchange import exchange
from src.db.locks import RunLocks
from src.settings import Secret, read_settings

EVERYTHING = 10**9


class NoopChannel:
    """Accepts every message at once."""

    name = ChannelName.TELEGRAM
    provider = "noop"
    limits = Limits(requests_per_second=None)

    async def send(self, messages: Sequence[Message], key: str) -> list[Outcome]:  # noqa: ARG002 - the protocol's
        return [Outcome(Verdict.SENT, provider_message_id="1") for _ in messages]

    async def close(self) -> None:
        return None


def claim() -> dict[str, float]:
    """Claim all that is queued in DATABASE_URL; what is claimed is marked as sent before the next claim."""
    settings, _, _ = read_settings(os.environ)
    outbound = Outbound(Database(Secret(os.environ["DATABASE_URL"])), "bench", NoopChannel(), None)
    now = system_clock()
    limit, oldest = settings.send_concurrency, now - settings.max_age

    async def until_none() -> dict[str, float]:
        session = await outbound.session(0)
        claimed, seconds, more = 0, 0.0, limit
        while more == limit:
            began = time.perf_counter()
            step = outbound.claiming(Source.DUE, Queue.DELIVERIES, limit, 1, now, oldest)
            rows = await exchange(session, partial(Claimed, Queue.DELIVERIES), [step], seconds=10)
            seconds += time.perf_counter() - began
            results = [Result(row.queue, row.id, row.key, Decision(MessageStatus.SENT, attempts=1)) for row in rows]
            await exchange(session, dict[str, Any], list(outbound.recording(results, now)), seconds=10)
            more = len(rows)
            claimed += more
        return {"seconds": seconds, "claimed": claimed}

    return asyncio.run(until_none())


def measure(mode: str) -> dict[str, float]:
    """Send all that is queued in DATABASE_URL."""
    settings, errors, _ = read_settings(os.environ)
    assert not errors, errors
    database = Database(Secret(os.environ["DATABASE_URL"]))
    rollout = Rollout.combine(None, EVERYTHING)
    with RunLocks(database, "bench") as locks:
        context = PhaseContext(
            database,
            settings,
            rollout,
            system_clock,
            timedelta(hours=24),
            settings.send_batch_size,
            "bench",
            locks,
            Stop(),
        )
        began = time.perf_counter()
        if mode == "noop":
            with mock.patch.object(send, "open_channels", return_value={ChannelName.TELEGRAM: NoopChannel()}):
                report = send.run(context)
        else:
            report = send.run(context)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "sent": report.counts["deliveries"]["sent"], "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(claim() if sys.argv[1] == "claim" else measure(sys.argv[1])))
