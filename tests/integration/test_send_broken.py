"""A broken channel is not a broken message (I7): it halts alone, its rows stay as they were."""

from __future__ import annotations

import socket

import pytest

from src.db.connection import Database
from tests.factories import World
from tests.integration.sending import BREVO, RESEND, TELEGRAM, TWILIO, Sending
from tests.providers.process import Provider

CHANNELS = {"brevo": "email", "resend": "email", "telegram": "telegram", "twilio": "sms"}
ENVIRONS = {"brevo": BREVO, "resend": RESEND, "telegram": TELEGRAM, "twilio": TWILIO}
BROKEN = [
    ("brevo", "unauthorized", "secrets"),
    ("brevo", "not_enough_credits", "quota"),
    ("brevo", "account_under_validation", "secrets"),
    ("resend", "missing_key", "secrets"),
    ("resend", "daily_quota", "quota"),
    ("resend", "monthly_quota", "quota"),
    ("resend", "domain_not_verified", "sender"),
    ("telegram", "unauthorized", "secrets"),
    ("telegram", "wrong_token", "secrets"),
    ("twilio", "credentials", "secrets"),
    ("twilio", "day_limit", "quota"),
    ("twilio", "sender_not_ours", "sender"),
]
OUTAGES = [
    ("brevo", "unavailable"),
    ("resend", "application_error"),
    ("telegram", "bad_gateway"),
    ("telegram", "drop"),
    ("twilio", "internal"),
]


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def untouched(sending: Sending, channel: str, number: int) -> bool:
    """Whether all rows of a channel are still queued, with their attempts unchanged, and due."""
    rows = sending.rows("status, attempts, next_retry_at, claimed_by", channel=channel)
    return rows == [("queued", 0, None, None)] * number


@pytest.mark.parametrize(("name", "answer", "mend"), BROKEN)
def test_the_first_answer_about_the_account_halts_that_channel_alone(
    sending: Sending, provider: Provider, name: str, answer: str, mend: str
) -> None:
    people = sending.people(40)
    other = "sms" if CHANNELS[name] == "telegram" else "telegram"
    sending.instants(people, CHANNELS[name], events=2)
    sending.instants(people[:5], other)
    provider.script(name, default=answer)
    report = sending.run({**TELEGRAM, **TWILIO, **ENVIRONS[name], "ALERTS_SEND_CONCURRENCY": "4"}, batch_size=4)
    assert untouched(sending, CHANNELS[name], 80)
    assert sending.statuses(channel=other) == {"sent": 5}
    assert sum(request["provider"] == name for request in provider.requests) <= 4  # those in flight
    assert report.counts["halted_channels"] == [CHANNELS[name]]
    assert (report.counts["stop_reason"], report.counts["stopped_early"]) == ("channel_halted", False)
    assert report.counts["deliveries"]["left_queued"] == 80
    (error,) = report.errors
    assert error.code == f"channel.halted.{CHANNELS[name]}"
    assert mend in error.text


@pytest.mark.parametrize(("name", "answer"), OUTAGES)
@pytest.mark.parametrize("number", [1, 3, 40])
def test_a_provider_that_is_down_halts_and_its_attempts_come_back(
    sending: Sending, provider: Provider, name: str, answer: str, number: int
) -> None:
    people = sending.people(number)
    sending.instants(people, CHANNELS[name])
    sending.instants(people[:1], "sms" if CHANNELS[name] == "telegram" else "telegram")
    provider.script(name, default=answer)
    report = sending.run({**TELEGRAM, **TWILIO, **ENVIRONS[name], "ALERTS_SEND_CONCURRENCY": "2"}, batch_size=2)
    assert untouched(sending, CHANNELS[name], number)
    assert sending.statuses() == {"queued": number, "sent": 1}
    assert report.counts["halted_channels"] == [CHANNELS[name]]
    counts = report.counts["deliveries"]
    assert (counts["retried"], counts["failed"], counts["sent"]) == (0, 0, 1)
    assert sum(request["provider"] == name for request in provider.requests) < 10


def test_an_outage_costs_no_message_its_last_attempt(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(1), "telegram")
    sending.world.execute("UPDATE user_alert_deliveries SET attempts = 4")
    provider.script("telegram", default="unavailable")
    for _ in range(3):
        report = sending.run(TELEGRAM)
        assert sending.rows("status, attempts, failure_reason") == [("queued", 4, None)]
        assert report.counts["deliveries"]["failed"] == 0
    provider.script("telegram")
    sending.run(TELEGRAM)
    assert sending.statuses() == {"sent": 1}


def test_nothing_listens_at_the_provider(sending: Sending) -> None:
    sending.instants(sending.people(3), "telegram")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        report = sending.run({**TELEGRAM, "TELEGRAM_BASE_URL": f"http://127.0.0.1:{unused.getsockname()[1]}"})
    assert untouched(sending, "telegram", 3)
    assert "status page" in report.errors[0].text


def test_half_of_the_last_twenty_halts(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(60), "telegram")
    provider.script("telegram", *["ok", "unavailable"] * 30)
    report = sending.run({**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "1"})
    assert report.counts["halted_channels"] == ["telegram"]
    assert sending.statuses() == {"sent": 10, "queued": 50}
    assert set(sending.rows("attempts", status="queued")) == {0}


def test_one_failure_in_many_is_retried_later_and_halts_nothing(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(30), "telegram")
    provider.script("telegram", *["ok"] * 10, "unavailable")
    report = sending.run(TELEGRAM)
    assert report.counts["halted_channels"] == []
    assert report.counts["deliveries"]["retried"] == 1
    (row,) = sending.rows("attempts, last_error, next_retry_at", status="queued")
    assert row[:2] == (1, "telegram 503")
    assert row[2] is not None


@pytest.mark.parametrize(
    ("name", "answer"), [("telegram", "no_chat"), ("twilio", "no_number"), ("telegram", "blocked")]
)
def test_dead_destinations_halt_nothing_however_many(
    sending: Sending, provider: Provider, name: str, answer: str
) -> None:
    sending.instants(sending.people(30), CHANNELS[name])
    provider.script(name, default=answer)
    report = sending.run(ENVIRONS[name])
    assert (report.errors, report.counts["stop_reason"]) == ((), None)
    assert sending.statuses() == {"failed": 30}
    assert set(sending.rows("failure_reason")) == {"blocked_by_user" if answer == "blocked" else "invalid_destination"}


def test_an_address_that_is_none_does_not_make_an_outage_look_like_less(sending: Sending, provider: Provider) -> None:
    people = sending.people(3)
    sending.instants(people, "telegram")
    sending.world.execute("UPDATE users SET telegram_chat_id = 'no chat' WHERE id = %(id)s", id=people[0])
    provider.script("telegram", default="unavailable")
    report = sending.run(TELEGRAM)
    assert report.counts["halted_channels"] == ["telegram"]
    assert sending.rows("status, attempts") == [("failed", 1), ("queued", 0), ("queued", 0)]


def test_an_outage_gives_nothing_back_to_what_failed_for_another_reason(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(6), "telegram")
    provider.script("telegram", "no_chat", default="unavailable")
    report = sending.run({**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "1"})
    assert sending.statuses() == {"failed": 1, "queued": 5}
    assert report.counts["halted_channels"] == ["telegram"]
    counts = report.counts["deliveries"]
    assert (counts["failed"], counts["retried"], counts["left_queued"]) == (1, 0, 5)
