"""PgQueuer working off jobs that do nothing: dequeue → call → log. Prints the seconds as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

BATCH = 200


async def measure(url: str, jobs: int) -> float:
    """Seconds for all jobs."""
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for _ in range(0, jobs, 5000):
        await queries.enqueue(["noop"] * 5000, [None] * 5000, [0] * 5000)
    await connection.execute("ANALYZE")
    manager = QueueManager(queries)
    done = 0

    @manager.entrypoint("noop")
    async def noop(_: Job) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            manager.shutdown.set()

    began = time.perf_counter()
    await manager.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=1))
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(measure(sys.argv[1], int(sys.argv[2])))}))
