"""The outermost layer: security headers on every answer, one log line a request, no error without an answer.

The log names the route, never the address that was asked for: addresses hold unsubscribe tokens, and what
people paste where it does not belong.
"""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.problems import problem
from src.errors import Finding, internal

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Boundary:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            finding = internal(error)
            log.error("%s", finding)
            if not status:
                await problem(500, Finding("internal", "see the server's log"))(scope, receive, send_with_headers)
        route = getattr(scope.get("route"), "path", "(no such address)")
        log.info("%s %s %d, %d ms", scope["method"], route, status, (time.monotonic() - began) * 1000)
