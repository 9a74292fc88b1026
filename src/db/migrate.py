"""Migrations: numbered SQL files, a ledger, one transaction each, under an advisory lock.

`apply` is the only way the schema changes; runs never migrate. A database newer than the code is
refused, and a file that changed after it was applied is named. No column or table of an existing database is
taken away; what stands in the way is listed before anything is changed. A run and a migration keep out of each
other's way: code that is sending must not find that the schema has become another.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from src.db.adoption import OldMessages, duplicates, old_messages
from src.db.catalogue import catalogue, differences
from src.db.connection import Database, Session
from src.db.failures import LOCKED
from src.db.locks import lock_key, phase_lock_name
from src.errors import DatabaseError, Finding

DIRECTORY = Path(__file__).parent / "migrations"
TURN_SECONDS = 60  # for another `apply` to finish
TABLE_LOCK_SECONDS = 5  # readers and writers of a table queue behind whoever waits to change it
ATTEMPTS = 6
_LEDGER = """
CREATE TABLE IF NOT EXISTS alerts_schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT version, name, checksum FROM alerts_schema_migrations ORDER BY version"
_RECORD = """
INSERT INTO alerts_schema_migrations (version, name, checksum) VALUES (%(version)s, %(name)s, %(checksum)s)
"""


class Migration(NamedTuple):
    """One numbered file; `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Applied(NamedTuple):
    version: int
    name: str
    checksum: str


class Status(NamedTuple):
    """What the ledger says against the files. `findings` are reasons to touch nothing."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    findings: tuple[Finding, ...]

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """`findings`, and what is pending."""
        if not self.pending:
            return self.findings
        names = ", ".join(migration.name for migration in self.pending)
        return (*self.findings, Finding("schema.pending", f"not applied yet: {names}: run invoke db.migrate"))


class Plan(NamedTuple):
    """What `apply` would do: run `status.pending`, which mends `differences`, unless `duplicates` stand in
    the way; `old` is what it would leave unsent."""

    status: Status
    differences: tuple[Finding, ...]
    duplicates: tuple[Finding, ...]
    old: OldMessages

    @property
    def sql(self) -> str:
        """The pending files, each in a transaction of its own."""
        return "\n".join(f"-- {step.name}\nBEGIN;\n{step.sql}\nCOMMIT;\n" for step in self.status.pending)


def migrations() -> list[Migration]:
    """All files, in order: `0001_name.sql`."""
    return [
        Migration(int(path.name[:4]), path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(DIRECTORY.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def status(session: Session) -> Status:
    """Compare ledger and files; the ledger need not exist."""
    if session.value("SELECT to_regclass('alerts_schema_migrations')") is None:
        return Status((), tuple(migrations()), ())
    applied = tuple(session.all(Applied, _APPLIED))
    known = {migration.version: migration for migration in migrations()}
    done = {row.version for row in applied}
    findings = []
    if done - set(known):
        text = f"the database is at version {max(done)}, this code at {max(known)}: deploy the newer code"
        findings.append(Finding("schema.newer", text))
    findings += [
        Finding("schema.changed_migration", f"{row.name} is not as it was when it was applied: restore the file")
        for row in applied
        if row.version in known and known[row.version].checksum != row.checksum
    ]
    return Status(applied, tuple(m for version, m in known.items() if version not in done), tuple(findings))


def plan(session: Session) -> Plan:
    """Look, and change nothing."""
    now, found = status(session), catalogue(session)
    pending = bool(now.pending)
    in_the_way = duplicates(session, found) if pending else []
    return Plan(now, tuple(differences(found, pending=pending)), tuple(in_the_way), old_messages(session, found))


def apply(database: Database) -> list[Migration]:
    """Apply what is pending and return it. Two at once are safe: the second waits, then finds nothing.

    A table that is busy is left alone for a moment and tried again, so that nobody waits for longer than
    `TABLE_LOCK_SECONDS` behind a migration that waits itself; a run under way may end meanwhile. Who writes to a
    table waits while an index of it is built. Raises DatabaseError; what was applied until then stays.
    """
    done: list[Migration] = []
    failures = 0
    with database.session() as session:
        while True:
            try:
                migration = _apply_next(session)
            except DatabaseError as error:
                failures += 1
                if failures == ATTEMPTS or error.findings[0].code != LOCKED:
                    raise
            else:
                if migration is None:
                    return done
                done.append(migration)


def _apply_next(session: Session) -> Migration | None:
    with session.transaction(seconds=3600):
        session.execute("SELECT set_config('lock_timeout', %(seconds)s || 's', true)", {"seconds": TURN_SECONDS})
        session.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": lock_key("alerts_v2_migrate")})
        session.execute("SELECT set_config('lock_timeout', %(seconds)s || 's', true)", {"seconds": TABLE_LOCK_SECONDS})
        now = status(session)
        if not now.pending and not now.findings:
            return None
        if in_the_way := now.findings or duplicates(session, catalogue(session)):
            raise DatabaseError(*in_the_way)
        _keep_runs_out(session)
        migration = now.pending[0]
        session.execute(_LEDGER)
        session.execute(migration.sql)
        entry = {"version": migration.version, "name": migration.name, "checksum": migration.checksum}
        session.execute(_RECORD, entry)
        return migration


def _keep_runs_out(session: Session) -> None:
    """Until the transaction ends no phase of a run goes on, of whatever version of the code."""
    keys = [lock_key(phase_lock_name(phase)) for phase in "abcd"]
    try:
        session.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%(keys)s::bigint[]) AS key", {"keys": keys})
    except DatabaseError as error:
        if error.findings[0].code != LOCKED:
            raise
        raise DatabaseError(Finding(LOCKED, "a run is under way: when it has ended, run this again")) from None
