"""One measured run of phase C in a process of its own: prints seconds and peak RSS (MB) as JSON.

`noop` replaces the Telegram channel by one that accepts at once; `http` talks to a provider on loopback;
`claim` does nothing but claim, ALERTS_SEND_CONCURRENCY rows at a time.
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
from typing import Any
from unittest import mock

from src.alerts.channels.base import Limits
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName
from src.alerts.phases import send
from src.alerts.phases.context import PhaseContext, Stop, system_clock
from src.alerts.phases.outbound import Outbound, Queue, Source
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
    """Claim all that is queued in DATABASE_URL."""
    settings, _, _ = read_settings(os.environ)
    outbound = Outbound(Database(Secret(os.environ["DATABASE_URL"])), "bench", NoopChannel(), None)
    now = system_clock()
    limit, oldest = settings.send_concurrency, now - settings.max_age

    async def until_none() -> int:
        session = await outbound.session(0)
        claimed, more = 0, limit
        while more == limit:
            step = outbound.claiming(Source.DUE, Queue.DELIVERIES, limit, 1, now, oldest)
            more = len(await exchange(session, dict[str, Any], [step], seconds=10))
            claimed += more
        return claimed

    began = time.perf_counter()
    claimed = asyncio.run(until_none())
    return {"seconds": time.perf_counter() - began, "claimed": claimed}


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
