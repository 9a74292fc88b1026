"""Connections: every wait bounded, every transaction in UTC, safe behind a transaction-mode pooler.

A psycopg2 wait callback bounds connecting and each statement on the client's side as well, because a
server that is paused or cut off never answers; it also lets signal handlers run while a statement is
under way. Nothing relies on session state: each transaction sets what it needs with SET LOCAL.
"""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2 import sql
from psycopg2.extras import Json, register_uuid

from src.errors import DatabaseError, Finding
from src.settings import Secret

CONNECT_SECONDS = 8.0
STATEMENT_SECONDS = 20.0
LOCK_SECONDS = 10.0
LOCKED = "database.locked"
MISMATCH = "schema.mismatch"

R = TypeVar("R")
Params = Mapping[str, Any]
Statement: TypeAlias = str | sql.Composed

_limits = threading.local()


def _wait(connection: Any) -> None:
    """psycopg2's wait callback: poll until done, at most as long as the limit in force in this thread."""
    limit = getattr(_limits, "seconds", STATEMENT_SECONDS + 2)
    deadline = time.monotonic() + limit
    poller = select.poll()
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        mask = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), mask)
        ready = poller.poll(max(deadline - time.monotonic(), 0) * 1000)
        if not ready:
            raise psycopg2.OperationalError("no answer in time")
        poller.unregister(connection.fileno())


psycopg2.extensions.set_wait_callback(_wait)
register_uuid()
psycopg2.extensions.register_adapter(dict, Json)


class _Array:
    """A list as one array literal, several times faster than psycopg2's element by element adaption.

    The statement casts it (`%(ids)s::bigint[]`). Elements are None, numbers, UUIDs, datetimes or texts.
    """

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def getquoted(self) -> bytes:
        items = ("NULL" if value is None else _quoted(value) for value in self._values)
        literal = psycopg2.extensions.adapt("{" + ",".join(items) + "}")
        literal.prepare(self._connection)
        return bytes(literal.getquoted())

    def prepare(self, connection: Any) -> None:
        """psycopg2 calls this first; texts are encoded as the connection says."""
        self._connection = connection


def _quoted(value: Any) -> str:
    if isinstance(value, int | float):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


psycopg2.extensions.register_adapter(list, _Array)


def _utc(value: str | None, cursor: Any) -> datetime | None:
    """Columns without a time zone hold UTC (existing databases have them)."""
    moment = psycopg2.extensions.PYDATETIME(value, cursor)
    return moment.replace(tzinfo=UTC) if moment is not None else None


psycopg2.extensions.register_type(psycopg2.extensions.new_type((1114,), "UTC_TIMESTAMP", _utc))


def load_queries(directory: Path, name: str) -> dict[str, str]:
    """The statements of `directory/name.sql`: each starts with a line `-- name: …`."""
    parts = re.split(
        r"^-- name: *(\w+).*$", (directory / f"{name}.sql").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


_REFUSALS = (
    ("password authentication failed", "the password or user name was refused: check DATABASE_URL"),
    ("no password supplied", "the server asks for a password: add it to DATABASE_URL"),
    ("could not translate host name", "the host name is not known: check DATABASE_URL"),
    ("connection refused", "nothing listens at that host and port: start the database or check DATABASE_URL"),
    ("does not exist", "the database or role does not exist: check DATABASE_URL"),
    ("no answer in time", "no answer in time: check the host, the network and the firewall"),
    ("timeout expired", "no answer in time: check the host, the network and the firewall"),
    ("remaining connection slots", "the server has no connection left: close some or raise max_connections"),
    ("too many clients", "the server has no connection left: close some or raise max_connections"),
    ("starting up", "the server is starting up: try again in a moment"),
    ("shutting down", "the server is shutting down: try again when it is back"),
    ("ssl connection", "the server and DATABASE_URL do not agree on SSL: check sslmode"),
)


_BY_STATE = {
    "55P03": Finding(LOCKED, "somebody else holds a lock for too long: look for long transactions, and run again"),
    "25006": Finding("database.read_only", "the database is read-only: use the primary, or allow writing again"),
    "42501": Finding("database.no_access", "the role lacks a privilege: the preflight says which to grant"),
    **dict.fromkeys(
        ("42P01", "42703", "42883"),
        Finding(MISMATCH, "the schema is not as this code needs it: the preflight says what is missing"),
    ),
    "53100": Finding("database.disk_full", "the server's disk is full: free some space and run again"),
    "57014": Finding("database.canceled", "a statement was cancelled or took too long: run again, or look for locks"),
}


def explain(error: psycopg2.Error) -> Finding:
    """What a driver error means, without its text, which can hold values and connection strings."""
    sqlstate = error.pgcode
    if sqlstate in _BY_STATE:
        return _BY_STATE[sqlstate]
    text = str(error).lower()
    if "statement pooling" in text:
        mend = "connect DATABASE_URL directly, or through a pooler in session or transaction mode"
        return Finding("locks.do_not_hold", f"a pooler in statement mode allows no transactions: {mend}")
    if sqlstate and not sqlstate.startswith(("08", "28", "3D", "53", "57")):
        named = [
            f"{what} {name}"
            for what in ("constraint", "table", "column")
            if (name := getattr(error.diag, f"{what}_name", None))
        ]
        return Finding("database.error", " ".join([f"PostgreSQL refused a statement (SQLSTATE {sqlstate})", *named]))
    if isinstance(error, psycopg2.ProgrammingError) or "invalid dsn" in text or "invalid connection option" in text:
        return Finding(
            "database.url_invalid", "DATABASE_URL is no connection string: use postgresql://user@host:5432/name"
        )
    for sign, mend in _REFUSALS:
        if sign in text:
            return Finding("database.unreachable", mend)
    suffix = f" (SQLSTATE {sqlstate})" if sqlstate else ""
    return Finding("database.unreachable", f"the connection failed or was lost{suffix}: check the server and run again")


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors become `DatabaseError`; their text goes no further."""
    try:
        yield
    except psycopg2.Error as error:
        raise DatabaseError(explain(error)) from None


class Session:
    """One connection, used by one thread at a time. All statements run inside `transaction()`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._depth = 0
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Open a transaction that lasts until `close`, which rolls it back; any thread may use it."""
        self._begin(None, STATEMENT_SECONDS, by_index=False)
        self._depth += 1

    @contextmanager
    def transaction(self, *, seconds: float = STATEMENT_SECONDS, by_index: bool = False) -> Iterator[Session]:
        """BEGIN … COMMIT, or a savepoint inside a transaction that is open already.

        `seconds` bounds each statement, on the server and here. `by_index` keeps the planner from
        scanning whole tables, for queues whose statistics are always old. Any exception rolls back.
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
                self._run(f"RELEASE SAVEPOINT {savepoint}" if savepoint else "COMMIT", None)

    def all(self, record: type[R], statement: Statement, params: Params | None = None) -> list[R]:
        """Rows as instances of a frozen dataclass whose fields are the columns."""
        with translated(), self._cursor(statement, params) as cursor:
            names = [column.name for column in cursor.description]
            return [record(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

    def one(self, record: type[R], statement: Statement, params: Params | None = None) -> R:
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
    def closed(self) -> bool:
        return bool(self._connection.closed)

    @contextmanager
    def _cursor(self, statement: Statement, params: Params | None) -> Iterator[Any]:
        with self._lock, self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            yield cursor

    def _run(self, statement: Statement, params: Params | None) -> None:
        with self._cursor(statement, params):
            pass

    def _begin(self, savepoint: str | None, seconds: float, by_index: bool) -> None:
        _limits.seconds = seconds + 2
        with translated():
            if savepoint:
                self._run(f"SAVEPOINT {savepoint}", None)
            else:
                settings = {
                    "statement": int(seconds * 1000),
                    "lock": int(LOCK_SECONDS * 1000),
                    "seqscan": "off" if by_index else "on",
                }
                self._run(
                    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL TIME ZONE 'UTC';"
                    " SET LOCAL statement_timeout = %(statement)s; SET LOCAL lock_timeout = %(lock)s;"
                    " SET LOCAL enable_seqscan = %(seqscan)s",
                    settings,
                )

    def _abandon(self, savepoint: str | None) -> None:
        """Roll back; a connection that is gone has rolled back already."""
        try:
            self._run(f"ROLLBACK TO SAVEPOINT {savepoint}" if savepoint else "ROLLBACK", None)
        except psycopg2.Error:
            self._connection.close()


class Database:
    """Where sessions come from.

    With `simulate=True` every session is one and the same, inside one transaction that is never
    committed: what the code writes is seen by the code after it and by nobody else (invariant I3).
    """

    def __init__(self, url: Secret, *, simulate: bool = False) -> None:
        self._url = url
        self.simulate = simulate
        self._shared: Session | None = None

    def connect(self) -> Session:
        """A new connection, at most `CONNECT_SECONDS` in the making. Raises DatabaseError."""
        _limits.seconds = CONNECT_SECONDS
        try:
            with translated():
                connection = psycopg2.connect(
                    self._url.reveal(),
                    application_name="energyriskiq-alerts",
                    keepalives_idle=10,
                    keepalives_interval=3,
                    keepalives_count=3,
                    tcp_user_timeout=15_000,
                )
                connection.autocommit = True
                return Session(connection)
        finally:
            _limits.seconds = STATEMENT_SECONDS + 2

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
            self._shared.close()
            self._shared = None
