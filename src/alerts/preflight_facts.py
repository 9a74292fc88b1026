"""What preflight is judged by: server, schema, audience, and whether locks hold. Looks, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from src.alerts.channels.configuration import Configuration, configuration
from src.alerts.models import ChannelName
from src.alerts.rollout import Rollout
from src.db import migrate
from src.db.adoption import OldMessages, duplicates, old_messages
from src.db.catalogue import Found, catalogue, differences
from src.db.connection import Database, Session, load_queries
from src.db.embedded import resolve
from src.db.failures import MISMATCH
from src.db.locks import RunLocks, lock_key, phase_lock_name
from src.errors import AlertsError, ConfigError, Finding, LockLostError
from src.settings import Settings

_SQL = load_queries(Path(__file__).parent / "sql", "preflight")


class Server(NamedTuple):
    version: int
    read_only: bool


class Try(NamedTuple):
    """An attempt to take a lock that another connection holds, and the server process that answered."""

    backend: int
    taken: bool


class Audience(NamedTuple):
    """Users in all, those the run may reach, and allowed ids that are no users."""

    total: int
    eligible: int
    unknown: list[int]


@dataclass
class Facts:
    """What is known when the checks begin; None: not found out."""

    settings: Settings
    rollout: Rollout
    phase: str
    dry_run: bool
    channels: Mapping[ChannelName, Configuration]
    server: Server | None = None
    schema: migrate.Status | None = None
    found: Mapping[str, Found] | None = None
    audience: Audience | None = None
    reached: int | None = None
    old: OldMessages | None = None
    duplicates: list[Finding] | None = None
    behind: list[str] | None = None
    locks_hold: bool | None = None
    trouble: list[Finding] = field(default_factory=list)

    @property
    def sends(self) -> bool:
        return self.phase in ("c", "all")

    @property
    def schema_known(self) -> bool:
        return self.schema is not None and self.found is not None

    def schema_findings(self) -> list[Finding]:
        if self.schema is None or self.found is None:
            return []
        return [*self.schema.all_findings, *differences(self.found, pending=bool(self.schema.pending))]


def gather(settings: Settings, rollout: Rollout, phase: str, dry_run: bool) -> Facts:
    """Find out all that can be found out; the rest is None, and `trouble` says why."""
    facts = Facts(settings, rollout, phase, dry_run, configuration(settings))
    try:
        if settings.database_url is None:
            raise ConfigError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server"))
        database = Database(resolve(settings.database_url))
        with database.session() as session:
            _look(facts, session, database)
    except AlertsError as error:
        facts.trouble += error.findings
    return facts


def _look(facts: Facts, session: Session, database: Database) -> None:
    """Ask everything in one transaction; if that fails, each question in its own, so that all that can be
    answered is. What a missing table breaks is told by the schema's own check."""
    questions = (_ask_server, _ask_schema, _ask_rows, _ask_audience, partial(_ask_locks, database=database))
    try:
        with session.transaction():
            for ask in questions:
                ask(facts, session)
    except AlertsError as failure:
        if session.closed:
            facts.trouble += failure.findings
            return
        for ask in questions:
            try:
                with session.transaction():
                    ask(facts, session)
            except AlertsError as error:
                facts.trouble += [f for f in error.findings if f.code != MISMATCH or not facts.schema_findings()]


def _ask_server(facts: Facts, session: Session) -> None:
    facts.server = session.one(Server, _SQL["server"])


def _ask_schema(facts: Facts, session: Session) -> None:
    facts.found = catalogue(session)
    facts.schema = migrate.status(session)
    facts.old = old_messages(session, facts.found)
    facts.duplicates = duplicates(session, facts.found) if facts.schema.pending else []


def _ask_rows(facts: Facts, session: Session) -> None:
    facts.behind = session.value(_SQL["sequences"])
    facts.reached = int(session.value(_SQL["reached"]))


def _ask_audience(facts: Facts, session: Session) -> None:
    facts.audience = session.one(Audience, _SQL["audience"], {"allowed": facts.rollout.allowed_ids})


def _ask_locks(facts: Facts, session: Session, database: Database) -> None:
    """Whether locks that another connection holds as runs do are held, and a transaction has one backend."""
    name = f"preflight-{os.urandom(8).hex()}"
    try:
        with RunLocks(database, name) as locks:
            held = locks.try_phase(name)
            keys = (lock_key(name), lock_key(phase_lock_name(name)))
            tries = [session.one(Try, _SQL["try_lock"], {"key": key}) for key in keys]
            locks.release_phase()
    except LockLostError:
        facts.locks_hold = False
    else:
        facts.locks_hold = held and not any(t.taken for t in tries) and len({t.backend for t in tries}) == 1
