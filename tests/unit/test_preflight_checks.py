"""Preflight's judgement of given facts; what the database says is tested with a database."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

import pytest

from src.alerts.channels.configuration import configuration
from src.alerts.checks import Check, Severity, run_checks
from src.alerts.codes import CODES
from src.alerts.preflight import CHECKS
from src.alerts.preflight_facts import Audience, Facts, Server
from src.alerts.rollout import Rollout
from src.db.adoption import Left, OldMessages
from src.errors import Finding
from src.settings import Settings, read_settings
from tests.process import ROOT

TELEGRAM = {"TELEGRAM_BOT_TOKEN": "123:abc"}
TWILIO = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "secret", "TWILIO_PHONE_NUMBER": "+15005550006"}
ALL_CHANNELS = {"BREVO_API_KEY": "key", "EMAIL_FROM": "alerts@example.com", **TELEGRAM, **TWILIO}


def facts(environ: dict[str, str] | None = None, *, allowlist: frozenset[int] | None = None, **known: Any) -> Facts:
    """All is well, but for what is given."""
    settings: Settings = read_settings(ALL_CHANNELS if environ is None else environ)[0]
    rollout = Rollout(None, allowlist, known.pop("cap", 1000))
    defaults = {
        "phase": "all",
        "dry_run": False,
        "server": Server(160_000, False),
        "audience": Audience(20, 20, []),
        "reached": 10,
        "locks_hold": True,
    }
    return Facts(settings=settings, rollout=rollout, channels=configuration(settings), **{**defaults, **known})


def codes(given: Facts) -> tuple[list[str], list[str]]:
    report = run_checks(CHECKS, given)
    return [finding.code for finding in report.errors], [finding.code for finding in report.warnings]


CASES: dict[str, tuple[Facts, list[str], list[str]]] = {
    "all well": (facts(), [], []),
    "nothing known": (facts(server=None, audience=None, reached=None, locks_hold=None), [], []),
    "trouble": (facts(trouble=[Finding("database.unreachable", "")]), ["database.unreachable"], []),
    "read-only": (facts(server=Server(160_000, True)), ["database.read_only"], []),
    "PostgreSQL 13": (facts(server=Server(130_014, False)), ["database.too_old"], []),
    "PostgreSQL 14": (facts(server=Server(140_000, False)), [], []),
    "locks only seem to hold": (facts(locks_hold=False), ["locks.do_not_hold"], []),
    "no channel": (
        facts({}),
        ["channel.none_configured"],
        ["email.not_configured", "telegram.not_configured", "sms.not_configured"],
    ),
    "no channel, dry run": (
        facts({}, dry_run=True),
        [],
        ["email.not_configured", "telegram.not_configured", "sms.not_configured"],
    ),
    "no channel, fan-out only": (
        facts({}, phase="b"),
        [],
        ["email.not_configured", "telegram.not_configured", "sms.not_configured"],
    ),
    "no channel, switched off": (
        facts({"ALERTS_V2_ENABLED": "false"}),
        [],
        ["engine.disabled", "email.not_configured", "telegram.not_configured", "sms.not_configured"],
    ),
    "outbox": (facts({"ALERTS_TRANSPORT": "outbox"}), [], []),
    "half a channel": (
        facts({"EMAIL_FROM": "alerts@example.com", "TWILIO_ACCOUNT_SID": "AC1", **TELEGRAM}),
        [],
        ["email.incomplete", "sms.incomplete"],
    ),
    "allowlist": (facts(allowlist=frozenset({42})), [], ["rollout.allowlist_active"]),
    "allowlist of strangers": (
        facts(allowlist=frozenset({42, 43}), audience=Audience(20, 1, [43])),
        [],
        ["rollout.allowlist_active", "rollout.unknown_users"],
    ),
    "as many as the cap": (facts(cap=20), [], []),
    "more than the cap": (facts(cap=19), [], ["rollout.more_than_cap"]),
    "more than the cap, but nothing is sent": (facts(cap=19, phase="b"), [], []),
    "ten times what was reached": (facts(reached=2), [], []),
    "more than ten times": (facts(reached=1), [], ["rollout.blast_radius"]),
    "first run for many": (facts(reached=0), [], ["rollout.blast_radius"]),
    "first run for a few": (facts(reached=0, audience=Audience(20, 10, [])), [], []),
    "left from before": (facts(old=OldMessages(Left(2, 1), Left())), [], ["adoption.held_back"]),
    "nothing left from before": (facts(old=OldMessages(Left(), Left())), [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_each_state_is_judged_as_promised(case: str) -> None:
    given, errors, warnings = CASES[case]
    assert codes(given) == (errors, warnings)


def test_findings_name_variables_ids_and_numbers() -> None:
    given = facts(
        {"EMAIL_FROM": "alerts@example.com", **TWILIO}, allowlist=frozenset({42}), audience=Audience(8412, 1, [7])
    )
    assert list(map(str, run_checks(CHECKS, given).warnings)) == [
        "email.incomplete: BREVO_API_KEY missing or unusable: set it to send mails",
        "telegram.not_configured: set TELEGRAM_BOT_TOKEN to send Telegram messages",
        "rollout.allowlist_active: only 1 of 8412 users may be reached:"
        " unset ALERTS_SEND_ALLOWLIST_USER_IDS and --allowlist to reach everybody",
        "rollout.unknown_users: allowed ids that are no users: 7: correct the allowlist",
    ]


def test_an_unusable_smtp_url_is_said_to_need_its_characters_encoded() -> None:
    given = facts({"EMAIL_PROVIDER": "smtp", "EMAIL_FROM": "a@example.com", "SMTP_URL": "smtp://u:12#ss@h", **TWILIO})
    (finding,) = [f for f in run_checks(CHECKS, given).warnings if f.code == "email.incomplete"]
    assert finding.text == (
        "SMTP_URL missing or unusable: set it, with special characters percent-encoded, to send mails"
    )


def test_a_long_list_of_strangers_is_cut() -> None:
    given = facts(allowlist=frozenset({1}), audience=Audience(1, 0, list(range(1000))))
    (finding,) = [f for f in run_checks(CHECKS, given).warnings if f.code == "rollout.unknown_users"]
    assert "19 …" in finding.text
    assert "20" not in finding.text


def test_the_same_finding_is_reported_once() -> None:
    twice = Check(Severity.WARNING, lambda found: found)
    finding = Finding("a.b", "text")
    report = run_checks((twice, twice), [finding, replace(finding)])
    assert (report.warnings, report.errors) == ([finding], [])


def test_every_code_of_a_document_is_in_the_table() -> None:
    """Those of settings, database, preflight and health, and no others."""
    modules = [*ROOT.glob("src/db/*.py"), ROOT / "src/settings.py", *ROOT.glob("src/alerts/preflight*.py")]
    modules += ROOT.glob("src/alerts/health*.py")
    prefixes = {code.split(".")[0] for code in CODES}
    written = {
        node.value
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"[a-z]+\.[a-z_]+", str(node.value))
        and node.value.split(".")[0] in prefixes
    }
    channels = {
        f"{name}.{state}" for name in ("email", "telegram", "sms") for state in ("incomplete", "not_configured")
    }
    assert set(CODES) - channels - written == set()
    assert written - set(CODES) == set()
