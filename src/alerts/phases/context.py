"""What a phase is given. Phases know nothing of dry runs: the database they get decides."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from src.alerts.models import StopReason
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import Settings

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    return datetime.now(UTC)


class Stop:
    """The wish to end early: a signal, or the deadline. Asked between chunks, never enforced."""

    def __init__(self, deadline_seconds: float | None = None) -> None:
        self._deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        self.signal: signal.Signals | None = None
        self._signalled = float("inf")

    def request(self, number: int) -> None:
        """Signal handler's part."""
        self.signal = self.signal or signal.Signals(number)
        self._signalled = min(self._signalled, time.monotonic())

    @property
    def reason(self) -> StopReason | None:
        if self.signal:
            return StopReason.SIGNAL
        return StopReason.DEADLINE if self.seconds_left() <= 0 else None

    def seconds_left(self) -> float:
        """Until the deadline; infinite without one."""
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def since_signal(self) -> float:
        """Seconds since the first one; none without one."""
        return max(time.monotonic() - self._signalled, 0.0)


@dataclass(frozen=True, slots=True)
class PhaseContext:
    database: Database
    settings: Settings
    rollout: Rollout
    clock: Clock
    since: timedelta
    batch_size: int
    run_id: str
    locks: RunLocks
    stop: Stop

    def proceed(self) -> bool:
        """Between chunks: raise LockLostError if the locks are gone; False if the run should stop."""
        self.locks.ping()
        return self.stop.reason is None
