"""The one HTTP call that all channels share: bounded in time and size, never redirected, never leaking.

Nothing here puts a URL, a header or a body into an exception or a log: the Telegram token is part of
the URL, and aiohttp's exceptions carry URLs.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from src.alerts.models import FailureReason

CONNECT_SECONDS = 10
TOTAL_SECONDS = 30
SWEEP_SECONDS = TOTAL_SECONDS / 30
"""How often requests are ended that take longer."""
MAX_REPLY_BYTES = 64 * 1024
# aiohttp warns about larger bodies in one piece, because they hold up the event loop.
ONE_PIECE_BYTES = 512 * 1024


class Reply(NamedTuple):
    """A provider's answer. `body` is its JSON, or None if it is none (or is cut off, or too long)."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: Any

    @property
    def accepted(self) -> bool:
        """What the status says, whatever the body does: sending twice would be worse."""
        return 200 <= self.status < 300

    def get(self, *path: str) -> Any:
        """The value at `path` in the body; None if it is not there."""
        value = self.body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value


class NoReply(NamedTuple):
    """No status came back. `unknown`: the request may have been written."""

    reason: FailureReason
    unknown: bool
    detail: str

    @property
    def accepted(self) -> bool:
        """Nothing says so."""
        return False

    def get(self, *_path: str) -> None:
        """There is no body."""
        return None


class Http:
    """A session with one provider. One timer looks after all requests, since one for each is a twentieth of
    what a request costs."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._base_url = base_url
        self._usable = _is_url(base_url) and all(value.isascii() and value.isprintable() for value in headers.values())
        self._session = aiohttp.ClientSession(
            headers={
                "User-Agent": "energyriskiq-alerts/1",
                "Accept-Encoding": "identity",
                **(headers if self._usable else {}),
            },
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0),  # phase C bounds what is in flight
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._under_way: dict[asyncio.Task[Any], float] = {}  # and when each began
        self._overdue: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def post_json(self, path: str, content: object, headers: Mapping[str, str] | None = None) -> Reply | NoReply:
        """POST `content` as JSON to `path` (already quoted)."""
        return await self._post(path, orjson.dumps(content), "application/json", headers)

    async def post_form(self, path: str, fields: Mapping[str, str]) -> Reply | NoReply:
        """POST `fields` as a form to `path` (already quoted)."""
        return await self._post(path, urlencode(fields).encode(), "application/x-www-form-urlencoded", None)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._session.close()

    async def _post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None
    ) -> Reply | NoReply:
        if not self._usable:
            return NoReply(FailureReason.CREDENTIALS, unknown=False, detail="unusable_key_or_url")
        data: aiohttp.Payload
        if len(body) <= ONE_PIECE_BYTES:
            data = aiohttp.BytesPayload(body, content_type=content_type)
        else:
            data = aiohttp.BytesIOPayload(io.BytesIO(body), content_type=content_type)
        url = URL(self._base_url + path, encoded=True)
        response, task = None, self._watched()
        try:
            response = await self._session.post(url, data=data, headers=headers, allow_redirects=False)
            return Reply(response.status, response.headers, await _read_json(response))
        except aiohttp.ConnectionTimeoutError:
            return NoReply(FailureReason.TIMEOUT, unknown=False, detail="connect_timeout")
        except aiohttp.ClientConnectorError:
            return NoReply(FailureReason.CONNECTION, unknown=False, detail="connect_failed")
        except asyncio.CancelledError:
            overdue = task in self._overdue and not task.uncancel()
            if response is not None:  # its status was read, and stands
                return Reply(response.status, response.headers, None)
            if not overdue:
                raise
            return NoReply(FailureReason.TIMEOUT, unknown=True, detail="no_answer")
        except Exception:  # the parser of answers lets more types through than ClientError and OSError
            return NoReply(FailureReason.CONNECTION, unknown=True, detail="cut_off")
        finally:
            self._under_way.pop(task, None)
            self._overdue.discard(task)

    def _watched(self) -> asyncio.Task[Any]:
        """The running task, which makes one request, and is cancelled when that takes too long."""
        task = cast(asyncio.Task[Any], asyncio.current_task())
        self._under_way[task] = time.monotonic()
        if self._sweeper is None:
            self._sweep()
        return task

    def _sweep(self) -> None:
        earliest = time.monotonic() - TOTAL_SECONDS
        for task in [task for task, began in self._under_way.items() if began <= earliest]:
            del self._under_way[task]
            self._overdue.add(task)
            task.cancel()
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._under_way else None


async def _read_json(response: aiohttp.ClientResponse) -> Any:
    """The body as JSON if it is all there within the bound; the status alone counts otherwise. At its end the
    connection is free again, and in all other cases closed: leaving it to `async with` costs a fifteenth more."""
    chunks = bytearray()
    try:
        while len(chunks) <= MAX_REPLY_BYTES and not response.content.at_eof():
            chunks += await response.content.read(MAX_REPLY_BYTES)
        return orjson.loads(chunks) if len(chunks) <= MAX_REPLY_BYTES else None
    except Exception:  # cut off, slow, no JSON, nested too deeply: the status was read and stands
        return None
    finally:
        if not response.content.at_eof():
            response.close()


def _is_url(text: str) -> bool:
    try:
        return URL(text).host is not None
    except ValueError:
        return False
