"""One transaction as one round trip, awaited by an event loop while it goes on with other work.

The statements go to the server in one query string, which PostgreSQL runs as one transaction and commits
before it says that it is done. Several of them cost one wait, and no thread: a thread that has to get hold
of the interpreter after each answer takes longer than the server. They are prepared, because planning them
takes longer than running them. Behind a transaction-mode pooler each exchange may meet another server
connection, which then says that it does not know them, and is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

import psycopg2
import psycopg2.extensions

from src.db.connection import (
    ANSWER_SECONDS,
    Session,
    local_settings,
    rows,
    transaction_settings,
)
from src.db.failures import translated
from src.db.waiting import Patience

R = TypeVar("R")

UNKNOWN_STATEMENT = "26000"
# Every join of an exchange is a look-up; a plan that is made once must not guess how much there will be.
PLANS = local_settings({"plan_cache_mode": "force_generic_plan", "enable_hashjoin": "off", "enable_mergejoin": "off"})


class Step(NamedTuple):
    """A statement, as text, with its parameters."""

    statement: str
    params: Mapping[str, Any]


class Prepared(NamedTuple):
    """How a statement is run, and how a server connection that does not know it is told."""

    execute: str
    tell: str


async def exchange(session: Session, record: Callable[..., R], steps: Sequence[Step], *, seconds: float) -> list[R]:
    """Run `steps` in one transaction; the last one's rows as `record`s.

    `seconds` bounds all of it, on the server and here. A session inside a transaction, as in a dry run,
    runs them one by one and waits. Raises DatabaseError: nothing of it was done, or, when the answer was
    lost, perhaps all of it; the session is closed then.
    """
    if session.in_transaction:
        with session.transaction(seconds=seconds, by_index=True):
            for step in steps[:-1]:
                session.execute(*step)
            return session.all(record, *steps[-1])
    with translated(), session.connection.cursor() as cursor:
        known = [prepared(step.statement) for step in steps]
        calls = [cursor.mogrify(one.execute, step.params) for one, step in zip(known, steps, strict=True)]
        script = b";\n".join([_settings(seconds), *calls])
        try:
            await _run(session, cursor, script, seconds)
        except psycopg2.Error as error:
            if error.pgcode != UNKNOWN_STATEMENT:
                raise
            told = "".join(one.tell for one in known)
            await _run(session, cursor, told.encode() + script, seconds)
        return rows(cursor, record)


@cache
def _settings(seconds: float) -> bytes:
    return f"{transaction_settings(seconds, by_index=True)}; {PLANS}".encode()


@cache
def prepared(statement: str) -> Prepared:
    """For a statement with parameters `%(name)s`, whose types the server infers."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    numbered = statement % {name: f"${number}" for number, name in enumerate(names, 1)}
    own = f"alerts_{hashlib.sha256(statement.encode()).hexdigest()[:16]}"
    arguments = ", ".join(f"%({name})s" for name in names)
    tell = (
        f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = '{own}') THEN"
        f" EXECUTE $prepare$PREPARE {own} AS {numbered}$prepare$; END IF; END $do$;\n"
    )
    return Prepared(f"EXECUTE {own} ({arguments})" if names else f"EXECUTE {own}", tell)


async def _run(session: Session, cursor: Any, script: bytes, seconds: float) -> None:
    cursor.execute(script)
    try:
        await _answer(session.connection, seconds + ANSWER_SECONDS)
    except (psycopg2.Error, asyncio.CancelledError) as error:
        if getattr(error, "pgcode", None) is None:  # the server may be at it still
            session.close()
        raise


async def _answer(connection: Any, seconds: float) -> None:
    """Poll until done, as `waiting.wait` does."""
    loop = asyncio.get_running_loop()
    patience = Patience(seconds)
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        seconds_to_look = patience.look()
        file, reading = connection.fileno(), state == psycopg2.extensions.POLL_READ
        ready = loop.create_future()
        (loop.add_reader if reading else loop.add_writer)(file, _tell, ready)
        look = loop.call_later(seconds_to_look, _tell, ready)
        try:
            await ready
        finally:
            look.cancel()
            (loop.remove_reader if reading else loop.remove_writer)(file)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
