"""A live run with work for every phase, and what must be true once the work is done.

One news event for A, six instants and two people's digests for B, yesterday's digests for D, all by
email through Brevo, whose idempotency keys allow no duplicate at all.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.factories import World
from tests.process import Finished, Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider

INSTANTS = 12
DIGESTS = 4
ENVIRON = {
    "ALERTS_TRANSPORT": "live",
    "ALERTS_DIGEST_HOUR": "0",
    "ALERTS_SEND_CONCURRENCY": "2",
    "BREVO_API_KEY": "brevo-key-4711",
    "EMAIL_FROM": "alerts@example.com",
}
PRIVATE = ("brevo-key-4711", "hunter2", "@example.com", "Pipeline", "postgresql://")
SECONDS = 30  # within which a run that meets a fault has to end


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class BusyRun:
    """A database full of work, and the runner on it."""

    world: World
    runner: Runner
    provider: Provider

    def populate(self) -> None:
        now = datetime.now(UTC)
        yesterday = now - timedelta(hours=26)
        self.world.news(at=now)
        old = self.world.alert_event(fanned_out=True, created_at=yesterday)
        for _ in range(INSTANTS):
            self.world.user("pro")
        for _ in range(DIGESTS):
            self.world.delivery(self.world.user("free"), old, kind="digest", created_at=yesterday)

    def start(self, *, seconds_per_request: float = 0.4) -> subprocess.Popen[str]:
        """A run that sends two mails per request, two requests at a time."""
        self.provider.script("brevo", default=Answer(accepts=True, seconds_after=seconds_per_request))
        environ = ENVIRON | self.provider.environ
        return self.runner.start("--phase", "all", "--log-json", "--batch-size", "2", **environ)

    def wait_until_sending(self) -> None:
        until(lambda: self.provider.accepted)

    def end_of(self, process: subprocess.Popen[str]) -> Finished:
        """The run ended in time, cleanly, and said nothing private; exit 1 and status `failed` go together."""
        finished = wait_for(process, SECONDS)
        assert "Traceback" not in finished.stderr
        assert not [word for word in PRIVATE if word in finished.stdout + finished.stderr]
        assert finished.exit_code == (finished.document["status"] == "failed"), finished
        return finished

    def assert_failed(self, finished: Finished, *codes: str) -> None:
        """Exit 1, and one of these among the errors."""
        errors = [error.partition(": ")[0] for error in finished.document["errors"]]
        assert finished.exit_code == 1, finished
        assert set(errors) & set(codes), finished.document["errors"]
        assert not self.is_done(), "the fault came too late to show anything"

    def is_done(self) -> bool:
        return len(self.provider.accepted) == INSTANTS + DIGESTS

    def assert_rerun_completes(self) -> None:
        """The next run does the rest: everything sent, nothing twice, every record closed."""
        finished = self.end_of(self.start(seconds_per_request=0))
        assert finished.exit_code == 0, json.dumps(finished.document, indent=1)
        self.assert_done()

    def assert_done(self) -> None:
        accepted = Counter(message["to"] for message in self.provider.accepted)
        assert set(accepted.values()) == {1}, "sent twice"
        assert len(accepted) == INSTANTS + DIGESTS, "lost"
        sent = (
            "SELECT status, count(*) FROM user_alert_deliveries WHERE delivery_kind = 'instant' GROUP BY 1"
            " UNION ALL SELECT 'digest ' || status, count(*) FROM user_alert_digests GROUP BY 1 ORDER BY 1"
        )
        assert self.world.rows(sent) == [
            {"status": "digest sent", "count": DIGESTS},
            {"status": "sent", "count": INSTANTS},
        ]
        runs = self.world.rows("SELECT status, finished_at FROM alerts_engine_runs ORDER BY started_at")
        assert all(run["finished_at"] for run in runs), "a run's record is open"
        assert runs[-1]["status"] == "success"
