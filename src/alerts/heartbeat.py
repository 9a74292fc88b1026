"""The dead man's switch: tells a monitor that a run began and how it ended, so that silence raises an alarm.

The convention is healthchecks.io's: GET `URL/start`, then `URL/<exit code>`, both with the run's id as
`rid`. A ping never fails a run and never holds it up for longer than it may. The URL is a secret: no log
line and no exception carries it.
"""

from __future__ import annotations

import logging
from threading import Thread
from urllib.parse import urlencode, urlsplit

from src.settings import Secret

log = logging.getLogger(__name__)

PING_SECONDS = 5.0
HURRIED_SECONDS = 1.0
"""After a signal: GitHub kills what has not ended 7.5 seconds later, and sending takes five of them."""
LAST_SECONDS = 6.6
"""After a signal, when the ping is over, should the database have taken its time as well."""


def ping_start(url: Secret, run_id: str) -> None:
    """Say that a run begins."""
    _ping(url, "start", run_id, PING_SECONDS)


def ping_end(url: Secret, run_id: str, exit_code: int, since_signal: float = 0.0) -> None:
    """Say how a run ended, so many seconds after a signal; anything but 0 is a failure to the monitor."""
    hurried = max(min(HURRIED_SECONDS, LAST_SECONDS - since_signal), 0.0)
    _ping(url, str(exit_code), run_id, hurried if exit_code > 128 else PING_SECONDS)


def _ping(url: Secret, signal: str, run_id: str, seconds: float) -> None:
    """Ask in a thread that is left behind when time is up: looking up a name cannot be interrupted."""
    said: list[str] = []
    thread = Thread(target=lambda: said.append(_request(url, signal, run_id, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    complaint = said[0] if said else f"no answer within {seconds:.1g} s"
    if complaint:
        log.warning("heartbeat.not_sent: %s: check ALERTS_HEARTBEAT_URL and the monitor", complaint)


def _request(url: Secret, signal: str, run_id: str, seconds: float) -> str:
    """Make the request; what was wrong with it, in words that hold nothing of the URL."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        parts = urlsplit(url.reveal())
        if parts.scheme not in ("http", "https"):
            return "it is no http(s) URL"
        query = "&".join(filter(None, (parts.query, urlencode({"rid": run_id}))))
        target = parts._replace(path=f"{parts.path.rstrip('/')}/{signal}", query=query, fragment="").geturl()
        with urlopen(target, timeout=seconds):  # noqa: S310 - the scheme is checked
            return ""
    except HTTPError as error:
        return f"the monitor answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        return f"the request failed ({type(error).__name__})"
