"""A Telegram that answers every message after `--seconds`; prints its port as its first line."""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import web


async def serve(seconds: float) -> None:
    """Until ended."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if seconds:
            await asyncio.sleep(seconds)
        return web.Response(body=b'{"ok":true,"result":{"message_id":1}}', content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/bot{token}/sendMessage", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0)
    asyncio.run(serve(parser.parse_args().seconds))
