"""Migrations: numbered SQL files, a ledger, one transaction each, under an advisory lock.

`apply` is the only way the schema changes; runs never migrate. A database newer than the code is
refused, and a file that changed after it was applied is named.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from src.db.connection import Database, Session
from src.db.locks import lock_key
from src.errors import DatabaseError, Finding

DIRECTORY = Path(__file__).parent / "migrations"
_LEDGER = """
CREATE TABLE IF NOT EXISTS alerts_schema_migrations (
    version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT version, name, checksum FROM alerts_schema_migrations ORDER BY version"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    version: int
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the ledger says against the files."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    findings: tuple[Finding, ...]


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


def apply(database: Database) -> list[Migration]:
    """Apply what is pending and return it. Two at once are safe: the second waits, then finds nothing."""
    done = []
    with database.session() as session:
        while migration := _apply_next(session):
            done.append(migration)
    return done


def _apply_next(session: Session) -> Migration | None:
    with session.transaction(seconds=600):
        session.execute("SET LOCAL lock_timeout = '60s'")
        session.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": lock_key("alerts_v2_migrate")})
        now = status(session)
        if now.findings:
            raise DatabaseError(*now.findings)
        if not now.pending:
            return None
        migration = now.pending[0]
        session.execute(_LEDGER)
        session.execute(migration.sql)
        session.execute(
            "INSERT INTO alerts_schema_migrations (version, name, checksum) VALUES (%(version)s, %(name)s, %(checksum)s)",
            {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
        )
        return migration
