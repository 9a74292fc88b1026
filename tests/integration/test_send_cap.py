"""The cap is a cap (I5): whatever providers do, they accept at most as many messages as a run may send."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.alerts.channels import classification
from src.db.connection import Database
from tests.factories import NOW, World
from tests.integration.sending import BREVO, RESEND, TELEGRAM, TWILIO, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider, Wanted

EMAIL = {"resend": RESEND, "brevo": BREVO}
SLOW = Answer(accepts=True, seconds_before=0.01, seconds_after=0.03)
WAIT = Answer(429, "slow down", {"Retry-After": "0.05"})
LATE_REFUSAL = Answer(500, "oops", seconds_before=0.02)
ANSWERS: list[Wanted] = ["ok", "ok", SLOW, SLOW, WAIT, LATE_REFUSAL, "drop", "drop_accepted", "half", "proxy_400"]
PROVIDERS = ("email", "telegram", "twilio")


@dataclass(frozen=True, slots=True)
class Case:
    """What is queued, what the providers answer in turn, and the caps of runs one after the other."""

    email: str
    instants: dict[str, int]
    digests: int
    answers: dict[str, list[Wanted]]
    caps: list[int]
    concurrency: int
    batch_size: int
    refused: bool


cases = st.builds(
    Case,
    email=st.sampled_from(sorted(EMAIL)),
    instants=st.fixed_dictionaries({channel: st.integers(0, 14) for channel in ("email", "telegram", "sms")}),
    digests=st.integers(0, 6),
    answers=st.fixed_dictionaries({name: st.lists(st.sampled_from(ANSWERS), max_size=12) for name in PROVIDERS}),
    caps=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    concurrency=st.sampled_from([1, 3, 32, 32]),
    batch_size=st.sampled_from([1, 4, 200, 200]),
    refused=st.booleans(),
)


@pytest.fixture
def sending(database: Database, world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Sending:
    monkeypatch.setattr(classification, "SHORTEST_WAIT", 0.01)
    return Sending(database, world, provider)


def populate(sending: Sending, case: Case) -> None:
    """Everybody gets one message, so that a destination tells which."""
    sending.world.execute("TRUNCATE users, alert_events RESTART IDENTITY CASCADE")
    for channel, number in case.instants.items():
        if number:
            sending.instants(sending.people(number), channel)
    sending.digests(sending.people(case.digests) if case.digests else [])


def script(sending: Sending, case: Case) -> None:
    sending.provider.reset()
    for name, answers in case.answers.items():
        refuse = ["user2@example.com"] if case.refused else []
        sending.provider.script(case.email if name == "email" else name, *answers, refuse=refuse)


def rows(sending: Sending) -> dict[tuple[str, int], dict[str, Any]]:
    """All messages by queue and user."""
    columns = "user_id, channel, status, attempts, next_retry_at, send_key"
    statement = (
        f"SELECT 'deliveries' AS queue, {columns} FROM user_alert_deliveries WHERE delivery_kind = 'instant'"
        f" UNION ALL SELECT 'digests', {columns} FROM user_alert_digests"
    )
    return {(row["queue"], row["user_id"]): row for row in sending.world.rows(statement)}


def asked_for(sending: Sending, users: set[int]) -> set[int]:
    """Which of these users were in any request."""
    sent = " ".join(str(request["content"]) for request in sending.provider.requests)
    written = "'user{}@example.com'", "'chat_id': {},", "'+1555{}'"
    return {
        u for u in users if any(w.format(n) in sent for w, n in zip(written, (u, 1000 + u, 1000000 + u), strict=True))
    }


@settings(max_examples=30)
@given(case=cases)
def test_no_run_has_more_accepted_than_its_cap(sending: Sending, case: Case) -> None:
    populate(sending, case)
    script(sending, case)
    environ = {**TELEGRAM, **TWILIO, **EMAIL[case.email], "ALERTS_SEND_CONCURRENCY": str(case.concurrency)}
    later = timedelta(0)
    for cap in case.caps:
        before, known = rows(sending), len(sending.provider.accepted)
        report = sending.run(environ, max_send=cap, later=later, batch_size=case.batch_size)
        after = rows(sending)
        assert len(sending.provider.accepted) - known <= cap
        assert "sending" not in {row["status"] for row in after.values()}
        asked = asked_for(sending, {user_id for _, user_id in before})
        assert {key: after[key] for key in after if key[1] not in asked} == {
            key: before[key] for key in before if key[1] not in asked
        }
        due = [row for row in after.values() if row["status"] == "queued" and not is_waiting(row, later)]
        if report.counts["stop_reason"] == "max_send":
            assert due
        elif not report.counts["halted_channels"] and not any(row["send_key"] for row in after.values()):
            assert not due
        later += timedelta(minutes=5)
    assert_all_is_sent_in_the_end(sending, environ, later)


def is_waiting(row: dict[str, Any], later: timedelta) -> bool:
    return row["next_retry_at"] is not None and row["next_retry_at"] > NOW + later + timedelta(seconds=30)


def assert_all_is_sent_in_the_end(sending: Sending, environ: dict[str, str], later: timedelta) -> None:
    """Nothing is lost; under a key nothing goes out twice, elsewhere only what had an unknown outcome."""
    for name in ("resend", "brevo", "telegram", "twilio"):
        sending.provider.script(name)
    while "queued" in {row["status"] for row in rows(sending).values()}:
        later += timedelta(minutes=5)
        assert later < timedelta(minutes=28), "it does not end, or keys have lost their protection"
        sending.run(environ, later=later)
    assert {row["status"] for row in rows(sending).values()} <= {"sent", "failed"}
    accepted = Counter((message["provider"], message["to"]) for message in sending.provider.accepted)
    assert all(times == 1 for (name, _), times in accepted.items() if name in EMAIL)
    sent = sum(row["status"] == "sent" for row in rows(sending).values())
    assert len(accepted) >= sent
