"""When a channel is broken (I7) and how fast it may go: pure state machines, told of time and outcomes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason
from src.alerts.retry import OUTAGES

IN_A_ROW = 5
WINDOW = 20

_MENDS = {
    FailureReason.CREDENTIALS: "the provider refused the credentials or the set-up: check its secrets and sender",
    FailureReason.ACCOUNT: "the account is out of quota or suspended: top it up or wait for the quota to renew",
}
_OUTAGE_MEND = "the provider does not answer properly: see its status page; what is queued goes out when it is back"


@dataclass(slots=True)
class Breaker:
    """Judges one channel in one run, an outcome per request.

    Halts at the first answer about credentials or the account, after 5 outages in a row, when half of
    the last 20 requests were outages, and at the end if every request was one.
    """

    halted: FailureReason | None = None
    detail: str = ""
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _answered: bool = False

    def tell(self, outcome: Outcome) -> None:
        """Take the outcome of a request (for a batch: of its first message)."""
        if outcome.verdict is Verdict.WAIT:
            return
        if outcome.verdict is Verdict.HALT:
            self._halt(outcome.reason or FailureReason.CREDENTIALS, outcome.detail)
            return
        outage = outcome.reason in OUTAGES
        self._recent.append(outage)
        self._answered = self._answered or not outage
        if outage:
            streak = list(self._recent)[-IN_A_ROW:]
            full = len(self._recent) == WINDOW
            if (len(streak) == IN_A_ROW and all(streak)) or (full and sum(self._recent) * 2 >= WINDOW):
                self._halt(outcome.reason or FailureReason.PROVIDER_UNAVAILABLE, outcome.detail)
            else:
                self.detail = self.detail or outcome.detail

    def finish(self) -> None:
        """At the end: a channel whose every request ended in an outage is down, however few they were."""
        if self._recent and not self._answered:
            self._halt(FailureReason.PROVIDER_UNAVAILABLE, self.detail)

    @property
    def mend(self) -> str:
        return _MENDS.get(self.halted, _OUTAGE_MEND) if self.halted else ""

    def _halt(self, reason: FailureReason, detail: str) -> None:
        if self.halted is None:
            self.halted, self.detail = reason, detail


HORIZON = 0.25
"""Seconds ahead for which requests are claimed, so that rows wait in `sending` for nothing but their destination."""
DESTINATIONS_KEPT = 10_000
"""How many destinations are remembered before it is looked which of them may be written to again."""


class Pacer:
    """Spaces requests evenly. Times are monotonic seconds, `rate` is requests a second (None: no limit),
    `per_destination` the least number of seconds between two requests to one destination, `per_group` to a group
    (an id that begins with `-`) or a channel (`@name`; users have no names there)."""

    def __init__(self, rate: float | None, per_destination: float = 0.0, per_group: float = 0.0) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._next = 0.0
        self._paused_until = 0.0
        self._per_destination = per_destination
        self._per_group = per_group
        self._next_to: dict[str, float] = {}
        self._kept = DESTINATIONS_KEPT
        self._delayed: list[float] = []

    def permits(self, now: float) -> int | None:
        """How many requests have their turn within the horizon; None: any number."""
        if self.paused(now):
            return 0
        if not self._gap:
            return None
        self._give_turns(now)
        ahead = now + HORIZON - max(self._next, now)
        delayed = sum(start <= now + HORIZON for start in self._delayed)
        return max(int(ahead / self._gap) + 1 - delayed, 0) if ahead >= 0 else 0

    def take(self, now: float, destination: str = "") -> float:
        """Book the next turn: the moment at which to start. Who has to wait for a destination takes a turn then."""
        self._give_turns(now)
        turn = start = max(self._next, now)
        if self._per_destination:
            start = max(start, self._next_to.get(destination, 0.0))
            group = destination.startswith(("-", "@"))
            self._next_to[destination] = start + (self._per_group if group else self._per_destination)
            if len(self._next_to) > self._kept:
                self._next_to = {to: moment for to, moment in self._next_to.items() if moment > now}
                self._kept = max(2 * len(self._next_to), DESTINATIONS_KEPT)  # else it would look at every request
        if start > turn and self._gap:
            heappush(self._delayed, start)
        else:
            self._next = turn + self._gap
        return start

    def _give_turns(self, now: float) -> None:
        """To those who have waited for their destinations."""
        while self._delayed and self._delayed[0] <= max(self._next, now):
            self._next = max(self._next, heappop(self._delayed)) + self._gap

    def wait(self, now: float) -> float:
        """Seconds until there is a permit."""
        return max(self._next - HORIZON - now if self._gap else 0.0, self._paused_until - now, 0.0)

    def paused(self, now: float) -> bool:
        """Whether no request may start, also one that has its turn already."""
        return now < self._paused_until

    def pause(self, until: float) -> None:
        """No request has its turn before that moment."""
        self._paused_until = max(self._paused_until, until)
        self._delayed = sorted(start for start in self._delayed if start > until)  # the others do not start
        self._next = max(self._next, until)
