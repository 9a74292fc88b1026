"""Preflight: may the coming run start, whom may it reach, and what should be mended before. Changes nothing.

Facts are gathered first, so that one that is missing hides no other; then the checks below judge them.
The document (DESIGN 3.2) always has all its keys: what is not known is false or null.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from src.alerts.checks import Check, Severity, run_checks
from src.alerts.preflight_facts import Facts, gather
from src.alerts.rollout import Rollout
from src.errors import Finding
from src.settings import Settings

SCHEMA_VERSION = 1
OLDEST_SERVER = 140_000
MOST_IDS_NAMED = 20


def preflight(
    settings: Settings, errors: list[Finding], warnings: list[Finding], rollout: Rollout, *, phase: str, dry_run: bool
) -> dict[str, Any]:
    """The document for a run of `phase`. `errors`, `warnings`: what reading the settings found. Never raises
    for trouble with the database."""
    facts = gather(settings, rollout, phase, dry_run)
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
            how = ", with special characters percent-encoded," if "SMTP_URL" in channel.missing else ""
            yield Finding(f"{name}.incomplete", f"{names} missing or unusable: set it{how} to send {label}")
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
