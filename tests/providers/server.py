"""A provider that does what it is told: all four HTTP APIs, their known answers, and every way to fail.

`python -m tests.providers.server --port 0` prints its port as its first line and serves on 127.0.0.1
until it is ended. It records what it *accepted*, which is what a database is held against.

Control: `POST /control/script` `{"provider": {"next": [ANSWER…], "default": ANSWER, "to": {DESTINATION: ANSWER},
"refuse": [DESTINATION…]}}`, where ANSWER is a name from `answers.py` or an `Answer` as JSON: `to` goes before
`next`, which is used up in order, before `default`; `refuse` are destinations that a Resend batch refuses by
index, and that make Brevo refuse a whole request. `GET /control/record` gives what was accepted and every
request, `POST /control/reset` forgets all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.providers.accounts import Request, parse, repeated, success
from tests.providers.answers import ANSWERS, OK, Answer, Ending

HANG_SECONDS = 120


@dataclass(slots=True)
class Script:
    """What a provider answers next."""

    next: deque[Answer] = field(default_factory=deque)
    default: Answer = OK
    to: dict[str, Answer] = field(default_factory=dict)
    refuse: frozenset[str] = frozenset()

    def answer(self, request: Request) -> Answer:
        for message in request.messages:
            if message["to"] in self.to:
                return self.to[message["to"]]
        return self.next.popleft() if self.next else self.default


@dataclass(slots=True)
class Keyed:
    """The first request under a key; `reply` is set when it was answered."""

    raw: bytes
    reply: tuple[int, Any] | None = None


class FaultServer:
    """State and handlers; `application()` is what serves them."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.accepted: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self._keys: dict[tuple[str, str], Keyed] = {}
        self._reset()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes(
            [
                web.post("/v3/smtp/email", lambda request: self._provide("brevo", request)),
                web.post("/emails", lambda request: self._provide("resend", request)),
                web.post("/emails/batch", lambda request: self._provide("resend", request)),
                web.post("/bot{token}/sendMessage", lambda request: self._provide("telegram", request)),
                web.post("/2010-04-01/Accounts/{sid}/Messages.json", lambda request: self._provide("twilio", request)),
                web.post("/control/script", self._script),
                web.post("/control/reset", self._forget),
                web.get("/control/record", self._record),
                web.route("*", "/control/trap", self._trap),
            ]
        )
        return app

    async def _provide(self, provider: str, http_request: web.Request) -> web.StreamResponse:
        raw = await http_request.read()
        request = parse(provider, http_request.path, http_request.headers, raw)
        self.requests.append({"provider": provider, "path": request.path, "headers": dict(request.headers),
                              "content": request.content, "key": request.key, "at": time.monotonic()})  # fmt: skip
        answer = self.scripts[provider].answer(request)
        await asyncio.sleep(answer.seconds_before)
        known = self._keys.get((provider, request.key or ""))
        if known and answer.accepts:  # who refuses for another reason does so before looking at keys
            return await _reply(http_request, answer, *repeated(request, known.raw, known.reply))
        reply, accepted = self._take(request, answer)
        taken = Keyed(raw)
        if accepted and request.key:
            self._keys[provider, request.key] = taken
        await asyncio.sleep(answer.seconds_after)
        taken.reply = reply
        if accepted and answer.body is not None:
            reply = answer.status, answer.body
        return await _reply(http_request, answer, *reply)

    def _take(self, request: Request, answer: Answer) -> tuple[tuple[int, Any], bool]:
        """Accept the messages or not; what the provider says to that."""
        refuse = self.scripts[request.provider].refuse
        refused = [index for index, message in enumerate(request.messages) if message["to"] in refuse]
        if refused and request.path != "/emails/batch":
            return (400, {"code": "invalid_parameter", "name": "validation_error", "message": "a bad address"}), False
        if not answer.accepts:
            return (answer.status, answer.body), False
        taken = [message for index, message in enumerate(request.messages) if index not in refused]
        self.accepted += [{"provider": request.provider, "key": request.key, **message} for message in taken]
        status, body = success(request)
        if refused:
            data = [item for index, item in enumerate(body["data"]) if index not in refused]
            body = {"data": data, "errors": [{"index": index, "message": "a bad address"} for index in refused]}
        return (status, body), True

    async def _script(self, request: web.Request) -> web.Response:
        for provider, script in (await request.json()).items():
            self.scripts[provider] = Script(
                deque(_answer(provider, answer) for answer in script.get("next", ())),
                _answer(provider, script.get("default", "ok")),
                {to: _answer(provider, answer) for to, answer in script.get("to", {}).items()},
                frozenset(script.get("refuse", ())),
            )
        return web.Response()

    async def _record(self, _request: web.Request) -> web.Response:
        return web.json_response({"accepted": self.accepted, "requests": self.requests})

    async def _forget(self, _request: web.Request) -> web.Response:
        self._reset()
        return web.Response()

    async def _trap(self, request: web.Request) -> web.Response:
        self.requests.append({"provider": "trap", "path": request.path, "headers": dict(request.headers),
                              "content": None, "key": None})  # fmt: skip
        return web.Response()

    def _reset(self) -> None:
        self.scripts = {provider: Script() for provider in ANSWERS}
        self.accepted = []
        self.requests = []
        self._keys = {}


def _answer(provider: str, wanted: str | Mapping[str, Any]) -> Answer:
    return ANSWERS[provider][wanted] if isinstance(wanted, str) else Answer.from_json(wanted)


async def _reply(request: web.Request, answer: Answer, status: int, body: Any) -> web.StreamResponse:
    if answer.ending is Ending.HANG:
        await asyncio.sleep(HANG_SECONDS)
    if answer.ending in (Ending.DROP, Ending.HANG):
        _cut(request)
        return web.Response()
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    content += b" " * answer.padding
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json", **answer.headers})
    response.content_length = len(content)
    try:
        await response.prepare(request)
        if answer.ending in (Ending.HALF, Ending.STALL):
            await response.write(content[: len(content) // 2])
            await asyncio.sleep(HANG_SECONDS if answer.ending is Ending.STALL else 0)
            _cut(request)
        else:
            await response.write(content)
            await response.write_eof()
    except ConnectionError:
        pass  # the client had read enough, or is gone
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def serve(port: int) -> None:
    """Serve until cancelled; the port is the first line on stdout."""
    runner = web.AppRunner(FaultServer().application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The fault server")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
