"""Advisory locks that also hold behind a transaction-mode pooler (invariant I10).

One dedicated connection sits in an idle READ COMMITTED transaction for the length of a run. It holds
a lock named after the run, by which others know that the run is alive, and inside a savepoint each,
the lock of the phase under way: rolling back to the savepoint frees it. Such a transaction has no
snapshot between statements (its backend_xmin is null), so it keeps no old rows from vacuum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from src.db.connection import Database, Session
from src.errors import DatabaseError, Finding, LockLostError, StoppedError

LOCK_LOST = "lock.lost"
_TRY = "SELECT pg_try_advisory_xact_lock(%(key)s)"
_STAY = """
SELECT set_config(name, value, true)
FROM (VALUES ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'), ('statement_timeout', '5000'),
             ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '3'),
             ('tcp_keepalives_count', '3')) AS wish (name, value)
WHERE current_setting(name, true) IS NOT NULL
"""


def lock_key(name: str) -> int:
    """The signed 64-bit key of a lock: the first eight bytes of the name's SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def phase_lock_name(phase: str) -> str:
    return f"alerts_v2_phase_{phase}"


class RunLocks:
    """The locks of one run; leaving the block frees them all. Raises LockLostError once they are gone, and
    StoppedError when a wait was cut short, which tells nothing of them."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._run_id = run_id
        self._session: Session | None = None

    def __enter__(self) -> RunLocks:
        session = self._database.connect()
        try:
            session.begin()
            session.execute(_STAY)
            session.value(_TRY, {"key": lock_key(self._run_id)})
        except BaseException:
            session.close()
            raise
        self._session = session
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.abandon()
            self._session = None

    def try_phase(self, phase: str) -> bool:
        """Take the lock of a phase, or say at once that another run has it."""
        return self._try("SAVEPOINT phase", lock_key(phase_lock_name(phase)))

    def release_phase(self) -> None:
        """Free the lock of the phase taken last."""
        self._do("ROLLBACK TO SAVEPOINT phase")
        self._do("RELEASE SAVEPOINT phase")

    def is_alive(self, run_id: str) -> bool:
        """Whether another run holds its own lock still."""
        free = self._try("SAVEPOINT probe", lock_key(run_id))
        self._do("ROLLBACK TO SAVEPOINT probe")
        self._do("RELEASE SAVEPOINT probe")
        return not free

    def ping(self) -> None:
        """Raise LockLostError if the locks are gone."""
        self._do("SELECT 1")

    def _try(self, savepoint: str, key: int) -> bool:
        with self._held() as session:
            session.execute(savepoint)
            return bool(session.value(_TRY, {"key": key}))

    def _do(self, statement: str) -> None:
        with self._held() as session:
            session.execute(statement)

    @contextmanager
    def _held(self) -> Iterator[Session]:
        if self._session is None or self._session.closed:
            raise _lost()
        try:
            yield self._session
        except StoppedError:
            raise
        except DatabaseError as error:
            raise _lost() from error


def _lost() -> LockLostError:
    return LockLostError(
        Finding(LOCK_LOST, "the connection that holds the locks is gone: the run was stopped, the next goes on")
    )
