"""When a provider asks to wait: that channel pauses, no attempt is used, and rates are kept evenly."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from src.alerts.phases import judge
from src.alerts.phases.context import Stop
from src.db.connection import Database
from tests.factories import NOW, World
from tests.integration.sending import BREVO, RESEND, TELEGRAM, TWILIO, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider

CHANNELS = {"brevo": "email", "resend": "email", "telegram": "telegram", "twilio": "sms"}
ENVIRONS = {"brevo": BREVO, "resend": RESEND, "telegram": TELEGRAM, "twilio": TWILIO}


def told_to_wait(name: str, seconds: int) -> Answer:
    """What each provider answers when it is asked too often."""
    by_header = {"Retry-After": str(seconds)}
    answers: dict[str, Callable[[], Answer]] = {
        "brevo": lambda: Answer(429, {"code": "too_many_requests"}, {"x-sib-ratelimit-reset": str(seconds)}),
        "resend": lambda: Answer(429, {"name": "rate_limit_exceeded"}, {"ratelimit-reset": str(seconds)}),
        "telegram": lambda: Answer(429, {"ok": False, "parameters": {"retry_after": seconds}}),
        "twilio": lambda: Answer(429, {"code": 20429}, by_header),
    }
    return answers[name]()


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def seconds_between(provider: Provider) -> list[float]:
    moments = [request["at"] for request in provider.requests]
    return [after - before for before, after in itertools.pairwise(moments)]


@pytest.mark.parametrize("name", CHANNELS)
def test_a_short_wait_pauses_that_channel_only_and_the_run_goes_on(
    sending: Sending, provider: Provider, name: str
) -> None:
    people = sending.people(3)
    sending.instants(people, CHANNELS[name])
    other = "twilio" if name == "telegram" else "telegram"
    sending.instants(people, CHANNELS[other])
    provider.script(name, told_to_wait(name, 1))
    began = time.monotonic()
    report = sending.run({**ENVIRONS[other], **ENVIRONS[name], "ALERTS_SEND_CONCURRENCY": "1"})
    assert time.monotonic() - began >= 1
    assert sending.statuses() == {"sent": 6}
    assert set(sending.rows("attempts")) == {1}
    counts = report.counts["deliveries"]
    assert (counts["sent"], counts["retried"], counts["failed"]) == (6, 0, 0)
    assert (report.errors, report.counts["stop_reason"]) == ((), None)
    mine = [request["at"] for request in provider.requests if request["provider"] == name]
    others = [request["at"] for request in provider.requests if request["provider"] == other]
    assert mine[1] - mine[0] >= 1
    assert max(others) < mine[1]


@pytest.mark.parametrize("name", CHANNELS)
def test_a_wait_longer_than_a_run_leaves_the_rest_for_the_next(sending: Sending, provider: Provider, name: str) -> None:
    people = sending.people(3)
    sending.instants(people, CHANNELS[name])
    provider.script(name, told_to_wait(name, 600))
    began = time.monotonic()
    report = sending.run({**ENVIRONS[name], "ALERTS_SEND_CONCURRENCY": "1"}, batch_size=1)
    assert time.monotonic() - began < 10
    assert set(sending.rows("status, attempts")) == {("queued", 0)}
    (retry_at,) = {moment for moment in sending.rows("next_retry_at") if moment}
    assert timedelta(seconds=599) < retry_at - NOW < timedelta(seconds=620)
    assert (report.errors, report.counts["stop_reason"]) == ((), None)
    assert report.counts["deliveries"]["left_queued"] == 3
    sending.run(ENVIRONS[name], later=timedelta(minutes=11))
    assert sending.statuses() == {"sent": 3}


def test_a_wait_past_the_deadline_is_not_waited_for(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(2), "telegram")
    provider.script("telegram", default=told_to_wait("telegram", 30))
    began = time.monotonic()
    sending.run(TELEGRAM, stop=Stop(20))
    assert time.monotonic() - began < 10
    assert sending.statuses() == {"queued": 2}


def test_a_provider_that_only_ever_asks_to_wait_does_not_hold_the_run(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "LONGEST_PAUSE", 3.0)
    sending.instants(sending.people(5), "telegram")
    provider.script("telegram", default=told_to_wait("telegram", 1))
    began = time.monotonic()
    report = sending.run(TELEGRAM)
    assert time.monotonic() - began < 15
    assert (sending.statuses(), set(sending.rows("attempts"))) == ({"queued": 5}, {0})
    assert report.counts["stop_reason"] is None


def test_waits_with_progress_in_between_are_no_reason_to_give_up(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "LONGEST_PAUSE", 1.5)
    sending.instants(sending.people(5), "telegram")
    provider.script("telegram", *[told_to_wait("telegram", 1), "ok"] * 3)
    sending.run({**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "1"})
    assert sending.statuses() == {"sent": 5}


@pytest.mark.parametrize(("concurrency", "waits"), [("1", 2), ("32", 20)])
def test_every_message_that_was_told_to_wait_goes_out_in_the_same_run(
    sending: Sending, provider: Provider, concurrency: str, waits: int
) -> None:
    sending.instants(sending.people(60), "telegram")
    provider.script("telegram", *["ok"] * 7, *[told_to_wait("telegram", 1)] * waits)
    sending.run({**TELEGRAM, "ALERTS_SEND_CONCURRENCY": concurrency}, stop=Stop(60))
    assert sending.statuses() == {"sent": 60}
    assert set(sending.accepted().values()) == {1}


def test_the_rate_of_the_settings_is_kept_evenly(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(40), "telegram")
    began = time.monotonic()
    sending.run({**TELEGRAM, "ALERTS_RATE_LIMIT_TELEGRAM_PER_MINUTE": "1200"})  # 20 a second
    took = time.monotonic() - began
    assert sending.statuses() == {"sent": 40}
    assert 1.9 < took < 10
    moments = [request["at"] for request in provider.requests]
    busiest = max(sum(start <= moment < start + 0.5 for moment in moments) for start in moments)
    assert busiest <= 10 + 5  # ten in half a second, and what a busy machine holds back


def test_resends_documented_rate_is_kept_without_settings(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(8))
    environ = {**RESEND, "ALERTS_RATE_LIMIT_EMAIL_PER_MINUTE": ""}
    sending.run(environ, batch_size=1)
    assert sending.statuses() == {"sent": 8}
    assert len(provider.requests) == 8
    moments = [request["at"] for request in provider.requests]
    assert moments[-1] - moments[0] > 7 / 5 - 0.2


def test_one_chat_gets_a_message_a_second_while_others_go_on(sending: Sending, provider: Provider) -> None:
    busy, *others = sending.people(10)
    sending.instants([busy], "telegram", events=3)
    sending.instants(others, "telegram")
    sending.run(TELEGRAM)
    assert sending.statuses() == {"sent": 12}
    to_busy = [request["at"] for request in provider.requests if request["content"]["chat_id"] == 1000 + busy]
    assert min(after - before for before, after in itertools.pairwise(to_busy)) > 0.8
    rest = [request["at"] for request in provider.requests if request["content"]["chat_id"] != 1000 + busy]
    assert max(rest) < to_busy[1]


def test_nothing_that_has_its_turn_already_goes_out_during_a_pause(sending: Sending, provider: Provider) -> None:
    """Such as the next messages to a busy chat, which are a second apart."""
    sending.instants(sending.people(1), "telegram", events=6)
    provider.script("telegram", "ok", told_to_wait("telegram", 4), default="ok")
    sending.run(TELEGRAM)
    moments = [request["at"] for request in provider.requests]
    assert min(moments[2:]) - moments[1] >= 4
    assert set(sending.rows("status, attempts")) == {("sent", 1)}


def test_a_group_gets_a_message_every_three_seconds(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(1, telegram_chat_id="'-1001234567890'"), "telegram", events=2)
    sending.run(TELEGRAM)
    assert sending.statuses() == {"sent": 2}
    (between,) = seconds_between(provider)
    assert between > 2.8
