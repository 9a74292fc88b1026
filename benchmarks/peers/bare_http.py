"""A bare aiohttp loop: so many posts, so many in flight, nothing else. Prints the seconds as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp


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
    print(json.dumps({"seconds": asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))}))
