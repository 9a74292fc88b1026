"""Waiting for the server: bounded on this side as well, and cut short once the process has to end.

A server that is paused or cut off never answers, and a driver that waits for it lets no signal handler
run. So connections are psycopg2's asynchronous ones, and polled: here, and in an event loop by `exchange`.
"""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2
import psycopg2.extensions

from src.db.failures import HurriedError

LOOK_SECONDS = 0.2
HURRIED_SECONDS = 1.0
"""How long a wait may still take once the process has to end."""


class _Haste:
    """The moment (monotonic seconds) from which no wait of this process may be long."""

    begins = float("inf")


_haste = _Haste()


def hurry(seconds: float) -> None:
    """The process has to end: `seconds` from now, waits that take longer than `HURRIED_SECONDS` are cut
    short, in every thread, with StoppedError. What they were for is rolled back. To be called once."""
    _haste.begins = min(_haste.begins, time.monotonic() + seconds)


class Patience:
    """How long a wait that begins now may take: `seconds`, and less once the process has to end."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._deadline = self._began + seconds

    def check(self) -> None:
        """Raise what ends the wait, if it has been too long. To be called every `LOOK_SECONDS`."""
        now = time.monotonic()
        if now > max(_haste.begins, self._began + HURRIED_SECONDS):
            raise HurriedError
        if now > self._deadline:
            raise psycopg2.OperationalError("no answer in time")


def wait(connection: Any, seconds: float) -> None:
    """Poll until done, at most so long. Raises psycopg2's errors."""
    patience = Patience(seconds)
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        mask = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller = select.poll()
        poller.register(connection.fileno(), mask)
        while not poller.poll(LOOK_SECONDS * 1000):
            patience.check()
