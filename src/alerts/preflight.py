"""Preflight: may the coming run start, whom may it reach, and what should be mended before. Changes nothing.

Facts are gathered first, each part on its own so that one that fails hides no other; then the checks
below judge them. The document (DESIGN 3.2) always has all its keys: what is not known is false or null.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from src.alerts.channels.configuration import Configuration, configuration
from src.alerts.checks import Check, Severity, run_checks
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

SCHEMA_VERSION = 1
OLDEST_SERVER = 140_000
MOST_IDS_NAMED = 20
_SQL = load_queries(Path(__file__).parent / "sql", "preflight")

T = TypeVar("T")


class Server(NamedTuple):
    version: int
    read_only: bool


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


def preflight(
    settings: Settings, errors: list[Finding], warnings: list[Finding], rollout: Rollout, *, phase: str, dry_run: bool
) -> dict[str, Any]:
    """The document for a run of `phase`. `errors`, `warnings`: what reading the settings found. Never raises
    for trouble with the database."""
    facts = Facts(settings, rollout, phase, dry_run, configuration(settings))
    _gather(facts)
    report = run_checks(CHECKS, facts)
    broken = [finding.code for finding in report.errors]
    return {
        "schema_version": SCHEMA_VERSION,
        "db_ok": facts.server is not None and not any(code.startswith(("database.", "locks.")) for code in broken),
        "migrations_ok": facts.schema_known and not any(code.startswith("schema.") for code in broken),
        "channels_configured": {name.value: channel.complete for name, channel in facts.channels.items()},
        "rollout": {
            "phase": phase,
            "dry_run": dry_run,
            "allowlist_active": rollout.allowed is not None,
            "users_eligible": facts.audience and facts.audience.eligible,
            "users_total": facts.audience and facts.audience.total,
            "max_send_per_run": rollout.max_send,
        },
        "warnings": [str(finding) for finding in [*warnings, *report.warnings]],
        "errors": [str(finding) for finding in [*errors, *report.errors]],
    }


def _gather(facts: Facts) -> None:
    try:
        if facts.settings.database_url is None:
            raise ConfigError(Finding("database.url_missing", "set DATABASE_URL to a PostgreSQL server"))
        database = Database(resolve(facts.settings.database_url))
        with database.session() as session:
            _look(facts, session, database)
    except AlertsError as error:
        facts.trouble += error.findings


def _look(facts: Facts, session: Session, database: Database) -> None:
    def attempt(question: Callable[[], T]) -> T | None:
        """The answer, or None; what a missing table breaks is told by the schema's own check."""
        try:
            with session.transaction():
                return question()
        except AlertsError as error:
            facts.trouble += [f for f in error.findings if f.code != MISMATCH or not facts.schema_findings()]
            return None

    with session.transaction():
        facts.server = session.one(Server, _SQL["server"])
    facts.schema = attempt(lambda: migrate.status(session))
    facts.found = found = attempt(lambda: catalogue(session))
    allowed = {"allowed": facts.rollout.allowed_ids}
    facts.behind = attempt(lambda: list(session.value(_SQL["sequences"])))
    facts.audience = attempt(lambda: session.one(Audience, _SQL["audience"], allowed))
    facts.reached = attempt(lambda: int(session.value(_SQL["reached"])))
    facts.old = attempt(lambda: old_messages(session, found)) if found else None
    if found and facts.schema and facts.schema.pending:
        facts.duplicates = attempt(lambda: duplicates(session, found))
    facts.locks_hold = attempt(lambda: _locks_hold(session, database))


def _locks_hold(session: Session, database: Database) -> bool:
    """Whether locks that another connection holds as runs do are held, and a transaction has one backend."""
    name = f"preflight-{os.urandom(8).hex()}"
    try:
        with RunLocks(database, name) as locks:
            held = locks.try_phase(name)
            keys = (lock_key(name), lock_key(phase_lock_name(name)))
            taken = [session.value(_SQL["try_lock"], {"key": key}) for key in keys]
            backends = {session.value(_SQL["backend"]) for _ in range(3)}
            locks.release_phase()
    except LockLostError:
        return False
    return held and not any(taken) and len(backends) == 1


def _database(facts: Facts) -> Iterable[Finding]:
    yield from facts.trouble
    if facts.server and facts.server.read_only:
        yield Finding("database.read_only", "the database is read-only: use the primary, or allow writing again")
    if facts.server and facts.server.version < OLDEST_SERVER:
        yield Finding("database.too_old", "PostgreSQL is older than 14: upgrade the server")


def _schema(facts: Facts) -> Iterable[Finding]:
    yield from facts.schema_findings()
    yield from facts.duplicates or []
    for table in facts.behind or []:
        mend = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"  # noqa: S608 - shown, never run
        yield Finding("schema.sequence_behind", f"{table} has rows beyond its sequence, new ones would be lost: {mend}")


def _locks(facts: Facts) -> Iterable[Finding]:
    if facts.locks_hold is False:
        mend = "connect DATABASE_URL directly, or through a pooler in session or transaction mode"
        yield Finding("locks.do_not_hold", f"locks only seem to hold, two runs could work at once: {mend}")


def _no_channel(facts: Facts) -> Iterable[Finding]:
    complete = any(channel.complete for channel in facts.channels.values())
    if facts.sends and not facts.dry_run and facts.settings.enabled and not complete:
        mend = "set one channel's variables, or ALERTS_TRANSPORT=outbox to write messages to files"
        yield Finding("channel.none_configured", f"phase c is to send, and no channel is configured: {mend}")


def _channels(facts: Facts) -> Iterable[Finding]:
    for name, channel in facts.channels.items():
        label = {"email": "mails", "telegram": "Telegram messages", "sms": "SMS"}[name]
        names = ", ".join(channel.missing)
        if channel.partial:
            yield Finding(f"{name}.incomplete", f"{names} missing or unusable: set it to send {label}")
        elif not channel.complete:
            yield Finding(f"{name}.not_configured", f"set {names} to send {label}")


def _disabled(facts: Facts) -> Iterable[Finding]:
    if not facts.settings.enabled:
        yield Finding("engine.disabled", "the run will do nothing: set ALERTS_V2_ENABLED to true to switch it on")


def _allowlist(facts: Facts) -> Iterable[Finding]:
    if facts.rollout.allowed is None:
        return
    reach = f"{facts.audience.eligible} of {facts.audience.total} users" if facts.audience else "those named"
    mend = "unset ALERTS_SEND_ALLOWLIST_USER_IDS and --allowlist to reach everybody"
    yield Finding("rollout.allowlist_active", f"only {reach} may be reached: {mend}")
    if facts.audience and facts.audience.unknown:
        unknown = facts.audience.unknown
        named = ", ".join(map(str, unknown[:MOST_IDS_NAMED])) + (" …" if len(unknown) > MOST_IDS_NAMED else "")
        yield Finding("rollout.unknown_users", f"allowed ids that are no users: {named}: correct the allowlist")


def _blast_radius(facts: Facts) -> Iterable[Finding]:
    """Whom a run may reach against what it may send, and against what the last ones did."""
    if not facts.sends or facts.audience is None:
        return
    eligible, cap = facts.audience.eligible, facts.rollout.max_send
    who = f"{eligible} of {facts.audience.total} users may be reached"
    if eligible > cap:
        mend = "the rest waits for the next run; raise ALERTS_MAX_SEND_PER_RUN or narrow the allowlist"
        yield Finding("rollout.more_than_cap", f"{who}, and a run sends at most {cap} messages: {mend}")
    if facts.reached is not None and eligible > 10 * max(facts.reached, 1):
        mend = "make sure that this is meant, or narrow the allowlist and widen it step by step"
        yield Finding(
            "rollout.blast_radius", f"{who}, the last live runs sent {facts.reached} messages at most: {mend}"
        )


def _old(facts: Facts) -> Iterable[Finding]:
    return facts.old.findings if facts.old else []


CHECKS: tuple[Check[Facts], ...] = (
    Check(Severity.ERROR, _database),
    Check(Severity.ERROR, _schema),
    Check(Severity.ERROR, _locks),
    Check(Severity.ERROR, _no_channel),
    Check(Severity.WARNING, _disabled),
    Check(Severity.WARNING, _channels),
    Check(Severity.WARNING, _allowlist),
    Check(Severity.WARNING, _blast_radius),
    Check(Severity.WARNING, _old),
)
