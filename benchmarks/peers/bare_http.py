"""A bare aiohttp loop: so many posts, so many in flight, on asyncio or uvloop, nothing else. Prints the seconds
as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp
import uvloop


async def measure(url: str, posts: int, concurrency: int) -> float:
    """Seconds for all posts."""
    left = iter(range(posts))
    payload = {"chat_id": "1", "text": "x" * 400, "parse_mode": "HTML"}

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(url, json=payload) as response:
                await response.json()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
        return time.perf_counter() - began


if __name__ == "__main__":
    factory = uvloop.new_event_loop if sys.argv[4] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps({"seconds": runner.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))}))
