"""procrastinate working off jobs that do nothing. Prints the seconds as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from procrastinate import App, PsycopgConnector


async def measure(url: str, jobs: int, concurrency: int) -> float:
    """Seconds for all jobs."""
    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="noop")
    async def noop() -> None:
        return None

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.configure_task("noop").batch_defer_async(*({} for _ in range(jobs)))
        began = time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=concurrency, listen_notify=False)
        return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))}))
