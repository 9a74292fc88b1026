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
    """The moments (monotonic seconds) from which no wait of this process may be long, from which there may be
    none, and from which there may be none after `wind_up`."""

    begins = float("inf")
    ends = float("inf")
    last = float("inf")


_haste = _Haste()


def hurry(seconds: float, work: float, last: float) -> None:
    """The process has to end: `seconds` from now, waits that take longer than `HURRIED_SECONDS` are cut
    short, in every thread, with StoppedError. What they were for is rolled back. However many there are, they
    end in time together: from `work` on, and after `wind_up` from `last` on, every wait is cut at once."""
    now = time.monotonic()
    _haste.begins = min(_haste.begins, now + seconds)
    _haste.ends = min(_haste.ends, now + work)
    _haste.last = min(_haste.last, now + last)


def wind_up() -> None:
    """The work is over: the time that it was not allowed to take is for putting on record what became of it."""
    _haste.ends = _haste.last


class Patience:
    """How long a wait that begins now may take: `seconds`, and less once the process has to end."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._deadline = self._began + seconds

    def look(self) -> float:
        """How many seconds to wait before looking again. Raises what ends the wait, if it has been too long."""
        now = time.monotonic()
        cut = min(max(_haste.begins, self._began + HURRIED_SECONDS), _haste.ends)
        if now >= cut:
            raise HurriedError
        if now > self._deadline:
            raise psycopg2.OperationalError("no answer in time")
        return min(LOOK_SECONDS, cut - now)


def wait(connection: Any, seconds: float) -> None:
    """Poll until done, at most so long. Raises psycopg2's errors."""
    patience = Patience(seconds)
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        mask = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller = select.poll()
        poller.register(connection.fileno(), mask)
        while not poller.poll(patience.look() * 1000):
            pass
