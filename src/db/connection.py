"""Connections: every wait bounded, every transaction in UTC, safe behind a transaction-mode pooler.

How connecting and each statement are waited for is said in `waiting`. Nothing relies on session state:
each transaction sets what it needs with SET LOCAL.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import starmap
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import psycopg2
from psycopg2 import sql

import src.db.types  # noqa: F401 - registers them
from src.db.failures import HurriedError, translated
from src.db.waiting import wait
from src.settings import Secret

CONNECT_SECONDS = 8.0
STATEMENT_SECONDS = 20.0
LOCK_SECONDS = 10.0
ROLLBACK_SECONDS = 5.0
ANSWER_SECONDS = 2.0
"""How much longer than the server a client waits for a statement that takes too long."""

R = TypeVar("R")
Params = Mapping[str, Any]
Statement: TypeAlias = str | sql.Composed

_LOOK_UPS = {"enable_seqscan": "off", "jit": "off", "max_parallel_workers_per_gather": 0}


def transaction_settings(seconds: float, by_index: bool) -> str:
    """What each transaction sets for itself; see `Session.transaction`."""
    timeouts = {"statement_timeout": int(seconds * 1000), "lock_timeout": int(LOCK_SECONDS * 1000)}
    return local_settings({"TimeZone": "UTC", **timeouts, **(_LOOK_UPS if by_index else {})})


def local_settings(settings: Mapping[str, object]) -> str:
    """One statement, since each costs, that sets these for the length of the transaction."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())


def load_queries(directory: Path, name: str) -> dict[str, str]:
    """The statements of `directory/name.sql`: each starts with a line `-- name: …`."""
    parts = re.split(
        r"^-- name: *(\w+).*$", (directory / f"{name}.sql").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def rows(cursor: Any, record: Callable[..., R]) -> list[R]:
    """What a statement gave, each row as what `record` makes of its columns by name."""
    names = [column.name for column in cursor.description or ()]
    if not names:
        return []
    if names == _parameters(record):  # the same, in a fifth of the time
        return list(starmap(record, cursor.fetchall()))
    return [record(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


@cache
def _parameters(record: Callable[..., Any]) -> list[str]:
    """In their order; none where nobody can tell, as with `dict`."""
    try:
        return list(inspect.signature(record).parameters)
    except ValueError:
        return []


class Session:
    """One connection, used by one thread at a time. All statements run inside `transaction()`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._depth = 0
        self._patience = STATEMENT_SECONDS + ANSWER_SECONDS
        self._lock = threading.RLock()
        self._cut_short = False

    def begin(self) -> None:
        """Open a transaction that lasts until `abandon`; meanwhile any thread may use it."""
        self._begin(None, STATEMENT_SECONDS, by_index=False)
        self._depth += 1

    def abandon(self) -> None:
        """Roll back what `begin` opened and close; its locks are free when this returns."""
        self._abandon(None)
        self.close()

    @contextmanager
    def transaction(self, *, seconds: float = STATEMENT_SECONDS, by_index: bool = False) -> Iterator[Session]:
        """BEGIN … COMMIT, or a savepoint inside a transaction that is open already.

        `seconds` bounds each statement, on the server and here. `by_index` keeps the planner from scanning
        whole tables, for queues whose statistics are always old, and from what takes longer to begin than
        such look-ups do. Any exception rolls back.
        """
        with self._lock:
            savepoint = f"s{self._depth}" if self._depth else None
            self._begin(savepoint, seconds, by_index)
            self._depth += 1
            try:
                yield self
            except BaseException:
                self._depth -= 1
                self._abandon(savepoint)
                raise
            self._depth -= 1
            with translated():
                self._run(f"RELEASE SAVEPOINT {savepoint}" if savepoint else "COMMIT")

    def all(self, record: Callable[..., R], statement: Statement, params: Params | None = None) -> list[R]:
        """Rows as what `record`, mostly a frozen dataclass, makes of the columns by name; none if it gives none."""
        with translated(), self._cursor(statement, params) as cursor:
            return rows(cursor, record)

    def one(self, record: Callable[..., R], statement: Statement, params: Params | None = None) -> R:
        """The only row; a statement that may return none belongs to `all`."""
        (row,) = self.all(record, statement, params)
        return row

    def value(self, statement: Statement, params: Params | None = None) -> Any:
        """The first column of the first row; None without rows."""
        with translated(), self._cursor(statement, params) as cursor:
            row = cursor.fetchone()
            return row[0] if row else None

    def execute(self, statement: Statement, params: Params | None = None) -> int:
        """Run and return the number of rows affected."""
        with translated(), self._cursor(statement, params) as cursor:
            return int(cursor.rowcount)

    def close(self) -> None:
        self._connection.close()

    @property
    def connection(self) -> Any:
        """The driver's, for `exchange`."""
        return self._connection

    @property
    def in_transaction(self) -> bool:
        return self._depth > 0

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    @contextmanager
    def _cursor(self, statement: Statement, params: Params | None, seconds: float | None = None) -> Iterator[Any]:
        with self._lock:
            if self._cut_short:
                raise HurriedError  # the server may be at it still: whatever is asked now has no answer either
            with self._connection.cursor() as cursor:
                cursor.execute(statement, params)
                try:
                    wait(self._connection, seconds or self._patience)
                except HurriedError:
                    self._cut_short = True
                    raise
                yield cursor

    def _run(self, statement: Statement, seconds: float | None = None) -> None:
        with self._cursor(statement, None, seconds):
            pass

    def _begin(self, savepoint: str | None, seconds: float, by_index: bool) -> None:
        self._patience = seconds + ANSWER_SECONDS
        begin = f"BEGIN ISOLATION LEVEL READ COMMITTED; {transaction_settings(seconds, by_index)}"
        with translated():
            self._run(f"SAVEPOINT {savepoint}" if savepoint else begin)

    def _abandon(self, savepoint: str | None) -> None:
        """Roll back; a connection that is gone, or does not answer soon, is closed."""
        try:
            self._run(f"ROLLBACK TO SAVEPOINT {savepoint}" if savepoint else "ROLLBACK", ROLLBACK_SECONDS)
        except psycopg2.Error:
            self._connection.close()


class Database:
    """Where sessions come from.

    With `simulate=True` every session is one and the same, inside one transaction that is never
    committed: what the code writes is seen by the code after it and by nobody else (invariant I3).
    `connect_seconds` bounds the making of a connection.
    """

    def __init__(self, url: Secret, *, simulate: bool = False, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._url = url
        self.simulate = simulate
        self._connect_seconds = connect_seconds
        self._shared: Session | None = None

    def connect(self) -> Session:
        """A new connection. Raises DatabaseError."""
        with translated():
            connection = psycopg2.connect(
                self._url.reveal(),
                application_name="energyriskiq-alerts",
                keepalives_idle=10,
                keepalives_interval=3,
                keepalives_count=3,
                tcp_user_timeout=15_000,
                async_=True,
            )
            wait(connection, self._connect_seconds)
            return Session(connection)

    def open(self) -> Session:
        """A session, to be handed to `release` when it is done with."""
        return self._shared or self.connect()

    def release(self, session: Session) -> None:
        if session is not self._shared:
            session.close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for the length of the block."""
        session = self.open()
        try:
            yield session
        finally:
            self.release(session)

    @contextmanager
    def simulation(self) -> Iterator[None]:
        """In a dry run: hold the transaction that is rolled back at the end of the block."""
        if not self.simulate:
            yield
            return
        self._shared = self.connect()
        try:
            self._shared.begin()
            yield
        finally:
            self._shared.abandon()
            self._shared = None
