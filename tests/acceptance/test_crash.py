"""`kill -9` at any instant (I6): the real runner, killed again and again, loses nothing and sends nothing twice
that an idempotency key protects. What a provider accepted is held against the database."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import pytest

from tests.factories import World
from tests.process import Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider
from tests.providers.smtp import SmtpServer

SEED = int(os.environ.get("ALERTS_TEST_SEED", random.SystemRandom().randrange(10**6)))
INSTANTS, DIGESTS = 900, 60
SLOW = Answer(accepts=True, seconds_before=0.05, seconds_after=0.1)
SLOW_SECONDS = SLOW.seconds_before + SLOW.seconds_after
BUSY = {
    "ALERTS_TRANSPORT": "live",
    "ALERTS_DIGEST_HOUR": "0",
    "ALERTS_SEND_CONCURRENCY": "6",
    # A rerun can come so soon that Resend is still busy with the request of the killed one, and says so.
    "ALERTS_RETRY_BASE_SECONDS": "1",
    "ALERTS_RETRY_MAX_SECONDS": "1",
    "ALERTS_MAX_ATTEMPTS": "100",
    "EMAIL_FROM": "alerts@example.com",
    **{f"ALERTS_RATE_LIMIT_{channel}_PER_MINUTE": "600000" for channel in ("EMAIL", "TELEGRAM")},
}
ENVIRONS = {
    "telegram": {"TELEGRAM_BOT_TOKEN": "4711:telegram-token"},
    "resend": {"EMAIL_PROVIDER": "resend", "RESEND_API_KEY": "resend-key-4711"},
    "brevo": {"EMAIL_PROVIDER": "brevo", "BREVO_API_KEY": "brevo-key-4711"},
    "smtp": {"EMAIL_PROVIDER": "smtp"},
}
KEYED = ("resend", "brevo")
ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %(name)s"
MESSAGES = (
    "SELECT 'instant' AS kind, user_id, status, failure_reason FROM user_alert_deliveries"
    " WHERE delivery_kind = 'instant'"
    " UNION ALL SELECT 'digest', user_id, status, failure_reason FROM user_alert_digests"
)


class SlowSmtpServer(SmtpServer):
    """Takes a message at once and says so later."""

    async def _reply(self, command: str, writer: asyncio.StreamWriter) -> str:
        if command == "END":
            await asyncio.sleep(SLOW_SECONDS if self.slow else 0)
        return await super()._reply(command, writer)

    slow = True


@contextmanager
def slow_smtp_server() -> Iterator[SlowSmtpServer]:
    """In a thread of this process, which nobody kills."""
    loop, state = asyncio.new_event_loop(), SlowSmtpServer()
    server = loop.run_until_complete(asyncio.start_server(state.converse, "127.0.0.1", 0))
    state.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()


@dataclass(slots=True)
class Crashes:
    """A database full of work, a slow provider, and the runner to be killed."""

    world: World
    runner: Runner
    provider: Provider
    name: str
    environ: dict[str, str]
    smtp: SlowSmtpServer | None = None
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    kills: int = 0
    in_flight: set[tuple[object, ...]] = field(default_factory=set)
    spread: Counter[str] = field(default_factory=Counter)

    def populate(self) -> None:
        """Instants that phase B is still to create, and digests that phase D is still to build."""
        now = datetime.now(UTC)
        telegram = self.name == "telegram"
        self.world.execute(
            "INSERT INTO users (id, email, email_verified, telegram_chat_id)"
            " SELECT i, CASE WHEN NOT %(telegram)s THEN 'user' || i || '@example.com' END, true,"
            " CASE WHEN %(telegram)s THEN i::text END FROM generate_series(1, %(number)s) AS i",
            telegram=telegram,
            number=INSTANTS + DIGESTS,
        )
        self.world.execute(
            "INSERT INTO user_plans (user_id, plan) SELECT i, 'pro' FROM generate_series(1, %(number)s) AS i",
            number=INSTANTS,
        )
        self.world.news(at=now)
        yesterday = now - timedelta(hours=26)
        old = self.world.alert_event(fanned_out=True, created_at=yesterday)
        self.world.execute(
            "INSERT INTO user_alert_prefs (user_id, region, alert_type, enabled)"
            " SELECT i, 'Europe', 'HIGH_IMPACT_EVENT', false FROM generate_series(%(first)s, %(last)s) AS i",
            first=INSTANTS + 1,
            last=INSTANTS + DIGESTS,
        )
        self.world.execute(
            "INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, delivery_kind, priority, created_at)"
            " SELECT i, %(event)s, %(channel)s, 'digest', 4, %(at)s FROM generate_series(%(first)s, %(last)s) AS i",
            event=old,
            channel="telegram" if telegram else "email",
            at=yesterday,
            first=INSTANTS + 1,
            last=INSTANTS + DIGESTS,
        )

    def kill_one(self) -> None:
        """Start a run and kill it: at any moment of its life, or once it is sending."""
        orphans = self.sending()
        process = self.runner.start("--phase", "all", "--log-json", "--batch-size", "3", **self.environ)
        if self.random.random() < 0.25:
            time.sleep(self.random.uniform(0.1, 1.5))
        else:
            self._wait_until_sending(process, orphans)
            time.sleep(self.random.uniform(0, 0.9))
        assert process.poll() is None, "the run was over: more work or slower answers are needed"
        process.kill()
        wait_for(process)
        self.kills += 1
        self._wait_until_gone()
        sending = self.sending()
        self.in_flight |= sending
        self.spread["in flight" if sending else "idle"] += 1

    def _wait_until_sending(self, process: subprocess.Popen[str], orphans: set[tuple[object, ...]]) -> None:
        while not self.sending() - orphans:
            assert process.poll() is None, wait_for(process)
            time.sleep(0.02)

    def _wait_until_gone(self) -> None:
        """The server has ended what the killed run had begun."""
        until = time.monotonic() + 10
        while self.world.value(ALIVE, name="energyriskiq-alerts") > 1:  # one of them asks
            assert time.monotonic() < until
            time.sleep(0.02)

    def sending(self) -> set[tuple[object, ...]]:
        """Claims without a result."""
        rows = self.world.rows(
            "SELECT * FROM (SELECT 'delivery', id, status, claimed_by FROM user_alert_deliveries"
            " UNION ALL SELECT 'digest', id, status, claimed_by FROM user_alert_digests) AS m WHERE status = 'sending'"
        )
        return {tuple(row.values()) for row in rows}

    def finish(self) -> None:
        """Runs that nobody kills, until nothing is left."""
        self.provider.script(self.name if self.name != "smtp" else "resend")
        if self.smtp:
            self.smtp.slow = False
        left = self.sending()
        finished = self.runner.run("--phase", "all", "--log-json", **{**self.environ, "ALERTS_SEND_CONCURRENCY": "32"})
        assert finished.exit_code == 0, finished
        assert finished.document["phases"][-1]["counts"]["recovered"] == len(left)
        until = time.monotonic() + 30
        while self.world.value(f"SELECT count(*) FROM ({MESSAGES}) AS m WHERE status = 'queued'"):
            assert time.monotonic() < until, "it does not become quiet"
            self.runner.run("--phase", "c", "--log-json", **self.environ)
        assert self.runner.run("--phase", "all", "--log-json", **self.environ).document["totals"]["sent"] == 0

    def accepted(self) -> Counter[str]:
        if self.smtp:
            return Counter(str(message_from_bytes(content)["To"]) for content in self.smtp.accepted)
        return Counter(message["to"] for message in self.provider.accepted)

    def everybody(self) -> set[str]:
        form = "{}" if self.name == "telegram" else "user{}@example.com"
        return {form.format(user_id) for user_id in range(1, INSTANTS + DIGESTS + 1)}

    def tell(self, capsys: pytest.CaptureFixture[str]) -> None:
        twice = sum(self.accepted().values()) - len(self.accepted())
        with capsys.disabled():
            print(
                f"\ncrash {self.name}: ALERTS_TEST_SEED={SEED}, {self.kills} kills ({dict(self.spread)}),"
                f" {len(self.in_flight)} messages in flight, {twice} sent twice"
            )


@contextmanager
def crashes(name: str, world: World, runner: Runner, provider: Provider, **environ: str) -> Iterator[Crashes]:
    with slow_smtp_server() as smtp:
        environ = {**BUSY, **ENVIRONS[name], **provider.environ, **environ}
        found = Crashes(world, runner, provider, name, environ)
        if name == "smtp":
            found.smtp = smtp
            environ["SMTP_URL"] = f"smtp://127.0.0.1:{smtp.port}"
        else:
            provider.script(name, default=SLOW)
        found.populate()
        yield found


@pytest.mark.parametrize(("name", "kills"), [("telegram", 9), ("resend", 9), ("brevo", 9), ("smtp", 5)])
def test_nothing_is_lost_and_nothing_under_a_key_is_sent_twice(
    world: World, runner: Runner, provider: Provider, capsys: pytest.CaptureFixture[str], name: str, kills: int
) -> None:
    with crashes(name, world, runner, provider) as crash:
        for _ in range(kills):
            crash.kill_one()
        crash.finish()
        crash.tell(capsys)
        messages = Counter((row["kind"], row["status"]) for row in world.rows(MESSAGES))
        assert messages == {("instant", "sent"): INSTANTS, ("digest", "sent"): DIGESTS}
        accepted = crash.accepted()
        assert set(accepted) == crash.everybody()
        twice = sum(accepted.values()) - len(accepted)
        assert twice == 0 if name in KEYED else twice <= len(crash.in_flight)
        assert max(accepted.values()) <= 1 + crash.kills
        runs = world.rows("SELECT status, finished_at FROM alerts_engine_runs ORDER BY id")
        assert all(run["finished_at"] for run in runs)
        assert {run["status"] for run in runs[:-2]} <= {"failed"}


def test_with_the_owners_rule_fail_nothing_is_ever_sent_twice(
    world: World, runner: Runner, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    with crashes("telegram", world, runner, provider, ALERTS_UNKNOWN_OUTCOME="fail") as crash:
        for _ in range(4):
            crash.kill_one()
        crash.finish()
        crash.tell(capsys)
        rows = world.rows(MESSAGES)
        failed = [row for row in rows if row["status"] == "failed"]
        assert {row["status"] for row in rows} <= {"sent", "failed"}
        assert {row["failure_reason"] for row in failed} <= {"outcome_unknown"}
        assert len(failed) == len(crash.in_flight)
        accepted = crash.accepted()
        assert max(accepted.values()) == 1
        assert {str(row["user_id"]) for row in rows if row["status"] == "sent"} <= set(accepted)
        assert len(rows) == INSTANTS + DIGESTS
