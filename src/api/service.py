"""What the API works with: settings as they were at the start, a bounded database, a clock, the token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader

from src.api.problems import ProblemError
from src.db.connection import Database, Session
from src.errors import DatabaseError, Finding
from src.settings import Secret, Settings

TOKEN_HEADER = "x-internal-token"  # noqa: S105 - a header's name
MAX_SESSIONS = 4
PATIENCE_SECONDS = 2.0


class BoundedDatabase(Database):
    """At most `MAX_SESSIONS` connections at once; whoever gets none within `PATIENCE_SECONDS` is told so.

    A server that does not answer is given up as quickly: a dashboard is no reason to wait.
    """

    def __init__(self, url: Secret) -> None:
        super().__init__(url, connect_seconds=PATIENCE_SECONDS)
        self._places = BoundedSemaphore(MAX_SESSIONS)

    def open(self) -> Session:
        if not self._places.acquire(timeout=PATIENCE_SECONDS):
            raise DatabaseError(Finding("database.busy", "too many requests at once: try again in a moment"))
        try:
            return super().open()
        except BaseException:
            self._places.release()
            raise

    def release(self, session: Session) -> None:
        try:
            super().release(session)
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True)
class Service:
    """`warnings`: what reading the settings found."""

    settings: Settings
    warnings: tuple[Finding, ...]
    database: Database | None
    clock: Callable[[], datetime]

    @property
    def connected(self) -> Database:
        """The database. Raises DatabaseError if none is named."""
        if self.database is None:
            raise DatabaseError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server"))
        return self.database


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


_given_token = APIKeyHeader(name=TOKEN_HEADER, auto_error=False, description="INTERNAL_RUNNER_TOKEN of the server")
TheService = Annotated[Service, Depends(_service)]


async def require_token(service: TheService, given: Annotated[str | None, Depends(_given_token)]) -> None:
    """401 unless the request has the server's token, 503 if the server has none."""
    token = service.settings.secrets.get("INTERNAL_RUNNER_TOKEN")
    if token is None:
        raise ProblemError(503, Finding("api.no_token", "set INTERNAL_RUNNER_TOKEN where the server runs"))
    if not hmac.compare_digest((given or "").encode("latin-1"), token.reveal().encode()):
        finding = Finding("api.unauthorized", f"send the server's token in the header {TOKEN_HEADER}")
        raise ProblemError(401, finding, {"WWW-Authenticate": f'ApiKey header="{TOKEN_HEADER}"'})
