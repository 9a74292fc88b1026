"""One transaction in one round trip: all of it or nothing, on whatever server connection it meets."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from src.alerts.phases import contents
from src.alerts.phases.traffic import Traffic
from src.db.connection import Database, Session
from src.db.exchange import Step, exchange
from src.errors import DatabaseError
from tests.factories import World
from tests.integration.sending import TELEGRAM, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    email: str


def add(user_id: int, email: str) -> Step:
    return Step("INSERT INTO users (id, email) VALUES (%(id)s, %(email)s)", {"id": user_id, "email": email})


LOOK = Step(
    "SELECT id, email FROM users WHERE email <> %(not)s AND id > %(least)s ORDER BY id", {"not": "", "least": 0}
)
FAIL = Step("SELECT 1 / %(zero)s::int AS id", {"zero": 0})
SLEEP = Step("SELECT pg_sleep(%(seconds)s::float8)", {"seconds": 30})


def run(session: Session, *steps: Step, seconds: float = SECONDS) -> list[Row]:
    return asyncio.run(exchange(session, Row, steps, seconds=seconds))


def test_it_gives_the_rows_of_the_last_step_and_commits(database: Database, world: World) -> None:
    with database.session() as session:
        assert run(session, add(1, "a'b\\c"), add(2, "100 %"), LOOK) == [Row(1, "a'b\\c"), Row(2, "100 %")]
        assert run(session, add(3, "c")) == []
        assert not session.in_transaction
    assert world.count("users") == 3


def test_an_error_leaves_nothing_and_the_session_goes_on(database: Database, world: World) -> None:
    with database.session() as session:
        with pytest.raises(DatabaseError, match=r"database\.error"):
            run(session, add(1, "a"), FAIL)
        assert world.count("users") == 0
        assert run(session, add(2, "b"), LOOK) == [Row(2, "b")]


def test_a_server_connection_that_forgot_the_statements_is_told_again(database: Database, world: World) -> None:
    """As behind a pooler, where the next exchange may meet another one."""
    with database.session() as session:
        run(session, add(1, "a"), LOOK)
        session.execute("DEALLOCATE ALL")
        assert len(run(session, add(2, "b"), LOOK)) == 2
        known = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'alerts_%%'"
        assert session.value(known, {}) == 2
    assert world.count("users") == 2


def test_what_takes_too_long_is_cancelled(database: Database) -> None:
    began = time.monotonic()
    with database.session() as session:
        with pytest.raises(DatabaseError, match=r"database\.canceled"):
            run(session, SLEEP, seconds=0.3)
        assert time.monotonic() - began < 10
        assert run(session, LOOK) == []


def test_a_lost_connection_closes_the_session(database: Database, world: World) -> None:
    with database.session() as session:
        pid = session.value("SELECT pg_backend_pid()")
        world.value("SELECT pg_terminate_backend(%(pid)s)", pid=pid)
        with pytest.raises(DatabaseError, match=r"database\.unreachable"):
            run(session, LOOK)
        assert session.closed


def test_inside_a_transaction_it_can_be_rolled_back(database: Database, world: World) -> None:
    simulated = Database(database._url, simulate=True)
    with simulated.simulation(), simulated.session() as session:
        assert run(session, add(1, "a"), LOOK) == [Row(1, "a")]
        with pytest.raises(DatabaseError):
            run(session, add(2, "b"), FAIL)
        assert run(session, LOOK) == [Row(1, "a")]
    assert world.count("users") == 0


@pytest.mark.parametrize("concurrency", [1, 5, 8])
def test_never_more_is_claimed_than_may_be_in_flight(
    database: Database, world: World, provider: Provider, concurrency: int
) -> None:
    """Also while results are on their way into the database, and with two exchanges at once."""
    sending = Sending(database, world, provider)
    sending.instants(sending.people(150), "telegram")
    provider.script("telegram", default=Answer(accepts=True, seconds_after=0.002))
    environ = {**TELEGRAM, "ALERTS_SEND_CONCURRENCY": str(concurrency)}
    seen = []
    with ThreadPoolExecutor(1) as aside:
        done = aside.submit(sending.run, environ)
        while not done.done():
            seen.append(world.value("SELECT count(*) FROM user_alert_deliveries WHERE status = 'sending'"))
    assert done.result().counts["deliveries"]["sent"] == 150
    assert 0 < max(seen) <= concurrency


def test_two_exchanges_do_not_lose_each_others_texts(
    database: Database, world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other digest is loaded while the one before it waits for its turn to be composed."""
    sending = Sending(database, world, provider)
    sending.digests(sending.people(60), "telegram")
    monkeypatch.setattr(contents, "KEPT", 0)
    seen: list[int] = []
    start = Traffic.start

    def counted(self: Traffic, sending: bool) -> None:
        start(self, sending)
        seen.append(len(self._under_way))

    monkeypatch.setattr(Traffic, "start", counted)
    report = sending.run({**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "6"})
    assert max(seen) == 2
    assert (report.counts["digests"]["sent"], report.counts["digests"]["failed"]) == (60, 0)
