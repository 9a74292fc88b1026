"""What hardly ever happens between the engine, its database and a provider, and would then be sent twice, lost, or
said to be what it is not. Each of these was found by looking for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from src.alerts.phases import exchanges, pump, traffic
from src.alerts.phases.context import Stop
from src.alerts.phases.outbound import Outbound, Queue
from src.db.connection import Database, Session
from src.db.exchange import Step
from src.errors import DatabaseError, Finding
from tests.factories import World
from tests.integration.busy import until
from tests.integration.sending import BREVO, FAST, RESEND, TELEGRAM, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider
from tests.providers.smtp import HANG, smtp_server

MINUTE = timedelta(minutes=1)
EMAIL = {"resend": RESEND, "brevo": BREVO}
FAIL_UNKNOWN = {"ALERTS_UNKNOWN_OUTCOME": "fail"}
GONE = DatabaseError(Finding("database.unreachable", "the answer was lost"))


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def test_a_result_whose_commit_was_not_confirmed_does_not_end_the_next_request(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is offered again when the row, queued by it, has been claimed anew; the new request's result counts."""
    sending.instants(sending.people(40), "telegram")
    wait = Answer(429, {"ok": False, "parameters": {"retry_after": 1}})
    provider.script(
        "telegram",
        wait,
        *["ok"] * 31,
        default=Answer(accepts=True, seconds_before=0.5, seconds_after=2.5),
    )
    exchange, lost = exchanges.exchange, threading.Event()

    async def flaky(
        session: Session, record: Callable[..., Any], steps: Sequence[Step], *, seconds: float
    ) -> list[Any]:
        rows = await exchange(session, record, steps, seconds=seconds)
        if not lost.is_set() and any("queued" in (step.params.get("status") or ()) for step in steps):
            lost.set()
            await asyncio.to_thread(until, lambda: len(provider.requests) > 32)  # the one that had to wait, again
            session.close()
            raise GONE
        return rows

    monkeypatch.setattr(exchanges, "exchange", flaky)
    report = sending.run(TELEGRAM)
    assert lost.is_set()
    assert [finding.code for finding in report.errors] == ["database.unreachable"]
    provider.script("telegram")
    sending.run(TELEGRAM, later=20 * MINUTE)
    assert sending.statuses() == {"sent": 40}
    assert set(sending.accepted().values()) == {1}


def test_results_are_written_once_the_database_is_back_however_late(
    sending: Sending, provider: Provider, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "RECORD_SECONDS", 0.7)
    monkeypatch.setattr(traffic, "LINGER_SECONDS", 0.05)  # in which more answers come
    people = sending.people(32)
    sending.instants(people, "telegram")
    slow = {f"{1000 + id}": Answer(accepts=True, seconds_after=2.5 + i * 0.004) for i, id in enumerate(people)}
    provider.script("telegram", to=slow | {f"{1000 + people[0]}": Answer(accepts=True, seconds_after=0.5)})
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(sending.run, TELEGRAM)
        until(lambda: len(provider.accepted) == 32)
        world.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle' AND pid <> pg_backend_pid()"
        )
        run.result()
    assert sending.statuses() == {"sent": 32}


@pytest.mark.parametrize("in_time", [False, True])
def test_a_row_that_somebody_holds_keeps_no_other_result_from_being_written(
    sending: Sending, provider: Provider, database: Database, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    """Such as one of a user who is being deleted. Its own result is written if that ends soon, else it is recovered."""
    monkeypatch.setattr(exchanges, "EXCHANGE_SECONDS", 1.0)
    monkeypatch.setattr(traffic, "LINGER_SECONDS", 0.05)  # in which more answers come
    monkeypatch.setattr(traffic, "RECORD_SECONDS", 60 if in_time else 1.5)
    people = sending.people(32)
    sending.instants(people, "telegram")
    provider.script("telegram", default=Answer(accepts=True, seconds_after=1))
    with ThreadPoolExecutor(1) as aside, database.session() as other:
        run = aside.submit(sending.run, TELEGRAM)
        until(lambda: len(provider.accepted) == 32)
        with other.transaction():
            other.execute("SELECT FROM user_alert_deliveries WHERE user_id = %(id)s FOR UPDATE", {"id": people[0]})
            until(lambda: sending.statuses() == {"sent": 31, "sending": 1})
            if not in_time:
                report = run.result()
        report = run.result()
    assert sending.statuses() == ({"sent": 32} if in_time else {"sent": 31, "sending": 1})
    assert [finding.code for finding in report.errors] == ["database.canceled"]
    assert set(sending.accepted().values()) == {1}


def test_a_row_that_somebody_holds_does_not_hold_the_run(
    sending: Sending, provider: Provider, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor when another result was written since writing failed."""
    monkeypatch.setattr(exchanges, "EXCHANGE_SECONDS", 1.0)
    monkeypatch.setattr(traffic, "RECORD_SECONDS", 1.5)
    failed, fail = threading.Event(), traffic.Traffic.fail

    def failing(self: traffic.Traffic, error: DatabaseError) -> None:
        fail(self, error)
        failed.set()

    monkeypatch.setattr(traffic.Traffic, "fail", failing)
    first, last = sending.people(2)
    sending.instants([first, last], "telegram")
    answers = {str(1000 + first): 0.5, str(1000 + last): 4.0}
    provider.script("telegram", to={to: Answer(accepts=True, seconds_after=at) for to, at in answers.items()})
    hold = "SELECT FROM user_alert_deliveries WHERE user_id = %(id)s FOR UPDATE"
    with ThreadPoolExecutor(1) as aside, database.session() as one, database.session() as other:
        run = aside.submit(sending.run, TELEGRAM)
        until(lambda: len(provider.accepted) == 2)
        with other.transaction():
            other.execute(hold, {"id": last})
            with one.transaction():
                one.execute(hold, {"id": first})
                assert failed.wait(10)
            ended = wait([run], timeout=20).done
        assert ended
    assert sending.rows("status") == ["sent", "sending"]


def test_what_is_claimed_after_the_cut_off_is_put_back(
    sending: Sending, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was never asked for, so that its outcome is not unknown."""
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.5)
    sending.instants(sending.people(8), "telegram")
    world.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.25); RETURN NEW; END'"
    )
    world.execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON user_alert_deliveries FOR EACH ROW"
        " WHEN (NEW.status = 'sending') EXECUTE FUNCTION slow()"
    )
    stop = Stop(30)
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(sending.run, TELEGRAM | FAIL_UNKNOWN, stop=stop)
        until(lambda: world.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        monkeypatch.setattr(stop, "_deadline", time.monotonic())
        report = run.result()
    assert report.counts["stop_reason"] == "deadline"
    assert set(sending.rows("status, attempts")) == {("queued", 0)}


@contextmanager
def hanging_smtp_server() -> Iterator[int]:
    """The port of one that never answers MAIL."""
    ports: list[int] = []
    done = threading.Event()

    async def serve() -> None:
        async with smtp_server({"MAIL": HANG}) as state:
            ports.append(state.port)
            await asyncio.to_thread(done.wait)

    with ThreadPoolExecutor(1) as aside:
        server = aside.submit(asyncio.run, serve())
        until(lambda: ports)
        try:
            yield ports[0]
        finally:
            done.set()
            server.result()


def test_a_mail_whose_content_was_not_written_is_not_of_unknown_outcome(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a dialogue that is cut off before, nor while it waits for a connection."""
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.5)
    sending.instants(sending.people(12))
    with hanging_smtp_server() as port:
        smtp = {"EMAIL_PROVIDER": "smtp", "EMAIL_FROM": "a@example.com", "SMTP_URL": f"smtp://127.0.0.1:{port}"}
        sending.run(smtp | FAIL_UNKNOWN, stop=Stop(1))
    assert set(sending.rows("status, attempts")) == {("queued", 0)}


def test_one_channels_defect_ends_that_channel_only(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its places under the cap come back: the others would wait for them."""
    people = sending.people(6)
    sending.instants(people[:1], "email")
    sending.instants(people, "telegram")
    exchange = exchanges.exchange

    async def defective(
        session: Session, record: Callable[..., Any], steps: Sequence[Step], *, seconds: float
    ) -> list[Any]:
        if any(step.params.get("channel") == "email" for step in steps):
            raise TypeError("anna@example.com")
        return await exchange(session, record, steps, seconds=seconds)

    monkeypatch.setattr(exchanges, "exchange", defective)
    report = sending.run(TELEGRAM | RESEND, max_send=5)
    assert report.counts["stop_reason"] == "max_send"
    assert sending.statuses(channel="telegram") == {"sent": 5, "queued": 1}
    assert sending.statuses(channel="email") == {"queued": 1}
    (finding,) = report.errors
    assert (finding.code, "TypeError" in finding.text, "example.com" in str(finding)) == ("internal", True, False)


def test_an_alert_whose_content_cannot_be_loaded_puts_its_rows_back(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = sending.people(2)
    sending.instants(people, "telegram")
    monkeypatch.setattr("src.alerts.phases.contents.EventContent", None)  # called, it raises TypeError
    report = sending.run(TELEGRAM)
    assert set(sending.rows("status, attempts")) == {("queued", 0)}
    assert [finding.code for finding in report.errors] == ["internal"]
    monkeypatch.undo()
    sending.run({**FAST, **TELEGRAM}, later=MINUTE)
    assert len(provider.accepted) == 2


def test_an_alert_with_a_driver_that_is_null_goes_out(sending: Sending) -> None:
    sending.instants(sending.people(1), "telegram", driver_event_ids=[1, None])
    assert sending.run(TELEGRAM).errors == ()
    assert sending.statuses() == {"sent": 1}


def test_attempts_that_cannot_be_given_back_cost_no_other_channel_its_counts(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = sending.people(2)
    sending.instants(people, "telegram")
    sending.instants(people, "email")
    provider.script("telegram", default="unavailable")

    def broken(self: Outbound, queue: Queue, ids: Sequence[int]) -> set[int]:
        raise GONE

    monkeypatch.setattr(Outbound, "give_back", broken)
    report = sending.run(TELEGRAM | RESEND)
    assert report.counts["by_channel"]["email"]["sent"] == 2
    assert [finding.code for finding in report.errors] == ["channel.halted.telegram", "database.unreachable"]


def test_a_status_that_was_read_stands_when_the_run_is_cut_off(
    sending: Sending, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.5)
    sending.instants(sending.people(2), "telegram")
    provider.script("telegram", default="stall")
    sending.run(TELEGRAM | FAIL_UNKNOWN, stop=Stop(1))
    assert sending.statuses() == {"sent": 2}
