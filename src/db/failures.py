"""What the driver's errors mean to people. Their texts, which can hold values and addresses, go no further."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from src.errors import DatabaseError, Finding, StoppedError

LOCKED = "database.locked"
MISMATCH = "schema.mismatch"
STOPPED = Finding("database.canceled", "the run was stopped before the database answered: run again")


class HurriedError(psycopg2.OperationalError):  # type: ignore[misc]  # psycopg2 has no types
    """A wait was cut short because the process has to end."""


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
    **dict.fromkeys(
        ("55P03", "40P01"),
        Finding(LOCKED, "somebody else holds a lock for too long: look for long transactions, and run again"),
    ),
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
    except HurriedError:
        raise StoppedError(STOPPED) from None
    except psycopg2.Error as error:
        raise DatabaseError(explain(error)) from None
