"""Phase C on a test's database against the fault server: many people at once, runs at any time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from src.alerts.phases import send
from src.alerts.phases.context import PhaseContext, Stop
from src.alerts.phases.send import SendReport
from src.alerts.rollout import Rollout
from src.db.connection import Database
from src.db.locks import RunLocks
from src.settings import read_settings
from tests.factories import NOW, World
from tests.providers.process import Provider

BREVO = {"EMAIL_PROVIDER": "brevo", "BREVO_API_KEY": "brevo-key-4711", "EMAIL_FROM": "alerts@example.com"}
RESEND = {"EMAIL_PROVIDER": "resend", "RESEND_API_KEY": "resend-key-4711", "EMAIL_FROM": "alerts@example.com"}
TELEGRAM = {"TELEGRAM_BOT_TOKEN": "4711:telegram-token"}
TWILIO = {"TWILIO_ACCOUNT_SID": "AC4711", "TWILIO_AUTH_TOKEN": "twilio-4711", "TWILIO_PHONE_NUMBER": "+15005550006"}
FAST = {f"ALERTS_RATE_LIMIT_{channel}_PER_MINUTE": "600000" for channel in ("EMAIL", "TELEGRAM", "SMS")}
"""No provider's documented rate slows a test down."""

LONGEST_RUN = 30  # seconds, after which a run that does not end shows its deadline
TABLES = {"deliveries": "user_alert_deliveries", "digests": "user_alert_digests"}


@dataclass(frozen=True, slots=True)
class Sending:
    """Phase C as the pipeline runs it, `later` than `NOW`, with the environment of these variables."""

    database: Database
    world: World
    provider: Provider
    environ: Mapping[str, str] = field(default_factory=lambda: {**FAST, **RESEND})

    def run(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        later: timedelta = timedelta(0),
        allowlist: frozenset[int] | None = None,
        max_send: int = 1000,
        batch_size: int = 200,
        stop: Stop | None = None,
        simulate: bool = False,
    ) -> SendReport:
        """One run; the keywords are what a run's flags and circumstances would be."""
        settings, errors, _ = read_settings({**self.environ, **self.provider.environ, **(environ or {})})
        assert not errors
        began = time.monotonic()

        def clock() -> datetime:
            return NOW + later + timedelta(seconds=time.monotonic() - began)

        database = self.database
        if simulate:
            database = Database(database._url, simulate=True)
        run_id = str(uuid4())
        with RunLocks(database, run_id) as locks, database.simulation():
            assert locks.try_phase("c")
            return send.run(
                PhaseContext(
                    database=database,
                    settings=settings,
                    rollout=Rollout(allowlist, None, max_send),
                    clock=clock,
                    since=timedelta(hours=24),
                    batch_size=batch_size,
                    run_id=run_id,
                    locks=locks,
                    stop=stop or Stop(LONGEST_RUN),
                )
            )

    def people(self, number: int, **columns: Any) -> list[int]:
        """The ids of new users who can be reached on every channel: user 7 at user7@example.com, in chat 1007,
        at +15551000007, unless `columns` (SQL expressions of `i`) say otherwise."""
        shown = {
            "email": "'user' || i || '@example.com'",
            "email_verified": "true",
            "telegram_chat_id": "(1000 + i)::text",
            "phone_number": "'+1555' || 1000000 + i",
            **columns,
        }
        first = self.world.value("SELECT COALESCE(max(id), 0) + 1 FROM users")
        self.world.execute(
            f"INSERT INTO users (id, {', '.join(shown)}) SELECT i, {', '.join(shown.values())}"
            " FROM generate_series(%(first)s, %(last)s) AS i",
            first=first,
            last=first + number - 1,
        )
        return list(range(first, first + number))

    def instants(self, users: list[int], channel: str = "email", events: int = 1, **columns: Any) -> None:
        """A queued instant of each of `events` new alerts for each of these users."""
        for _ in range(events):
            event = self.world.alert_event(fanned_out=True, **columns)
            self.world.execute(
                "INSERT INTO user_alert_deliveries"
                " (user_id, alert_event_id, channel, delivery_kind, status, priority, created_at)"
                " SELECT user_id, %(event)s, %(channel)s, 'instant', 'queued', e.severity, %(now)s"
                " FROM unnest(%(users)s::bigint[]) AS user_id, alert_events AS e WHERE e.id = %(event)s",
                event=event,
                channel=channel,
                users=users,
                now=NOW,
            )

    def digests(self, users: list[int], channel: str = "email") -> None:
        """Yesterday's digest, of one alert, for each of these users."""
        event = self.world.alert_event(fanned_out=True, created_at=NOW - timedelta(hours=24))
        for user_id in users:
            item = self.world.delivery(user_id, event, channel, kind="digest")
            self.world.digest(user_id, [item], channel)

    def rows(self, columns: str = "status", queue: str = "deliveries", **wanted: Any) -> list[Any]:
        """The values of one column, or tuples of several, by id."""
        where = " AND ".join(f"{name} = %({name})s" for name in wanted) or "true"
        kind = "delivery_kind = 'instant'" if queue == "deliveries" else "true"
        rows = self.world.rows(f"SELECT {columns} FROM {TABLES[queue]} WHERE {kind} AND {where} ORDER BY id", **wanted)
        values = [tuple(row.values()) for row in rows]
        return [value[0] for value in values] if rows and len(rows[0]) == 1 else values

    def statuses(self, queue: str = "deliveries", **wanted: Any) -> dict[str, int]:
        return dict(Counter(self.rows("status", queue, **wanted)))

    def accepted(self) -> Counter[str]:
        """How often each destination was accepted."""
        return Counter(message["to"] for message in self.provider.accepted)

    def addresses(self, users: list[int]) -> Counter[str]:
        """What `accepted` has to be when each of these got one mail."""
        return Counter(f"user{user_id}@example.com" for user_id in users)
