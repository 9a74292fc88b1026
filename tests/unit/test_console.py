"""Documents as people see them: every state has its sign, mends stand below, data is never markup."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from src import console
from src.console import Line, State, Table

PREFLIGHT: dict[str, Any] = {
    "schema_version": 1,
    "db_ok": True,
    "migrations_ok": False,
    "channels_configured": {"email": True, "telegram": False},
    "rollout": {
        "phase": "all",
        "dry_run": False,
        "allowlist_active": True,
        "users_eligible": 1,
        "users_total": 8412,
        "max_send_per_run": 1000,
    },
    "warnings": ["telegram.not_configured: set TELEGRAM_BOT_TOKEN: it is missing"],
    "errors": ["schema.pending: run invoke db.migrate"],
}
HEALTH: dict[str, Any] = {
    "schema_version": 1,
    "generated_at": "2026-01-16T12:31:12Z",
    "status": "warn",
    "deliveries_24h": {
        "email": {
            "instant": {"queued": 0, "sending": 0, "sent": 12, "failed": 0, "skipped": 1},
            "digest": {"queued": 3, "batched": 9},
        }
    },
    "digests_7d": {"email": {"queued": 0, "sending": 0, "sent": 31, "failed": 0, "skipped": 0}},
    "oldest_queued_minutes": {"deliveries": 17.5, "digests": None},
    "held": 4,
    "stuck_sending": 0,
    "last_run": {
        "run_id": "r",
        "phase": "all",
        "status": "success",
        "triggered_by": "manual",
        "started_at": "2026-01-16T12:30:00Z",
        "duration_ms": 2210,
        "totals": {"sent": 12, "failed": 0, "retried": 1, "skipped": 1},
        "stopped_early": False,
        "stop_reason": None,
    },
    "last_success_at": None,
    "warnings": ["queue.late: the oldest due instant waits for 17 minutes"],
    "errors": [],
}
RUN: dict[str, Any] = {
    "schema_version": 1,
    "run_id": "7f",
    "status": "failed",
    "phase": "all",
    "dry_run": False,
    "started_at": "2026-01-16T12:30:00Z",
    "duration_ms": 2210,
    "rollout": {"allowlist_active": True, "max_send_per_run": 10},
    "phases": [
        {"phase": "a", "status": "success", "duration_ms": 40, "counts": {"events_created": 2, "events_skipped": 0}},
        {
            "phase": "c",
            "status": "failed",
            "duration_ms": 1900,
            "counts": {"deliveries": {"sent": 12, "failed": 0}, "halted_channels": ["email"], "stopped_early": True},
        },
    ],
    "totals": {"sent": 12, "failed": 0, "retried": 0, "skipped": 0},
    "recipients": [{"user_id": 42, "channel": "email", "instants": 1, "digests": 2}],
    "stopped_early": False,
    "stop_reason": "channel_halted",
    "warnings": [],
    "errors": ["email.halted: [bold]not markup[/bold]"],
}


def shown(show: Any, *arguments: Any) -> str:
    """What a function of the console prints on a terminal of 120 columns."""
    target = Console(file=io.StringIO(), width=120, markup=False, highlight=False, emoji=False)
    show(*arguments, target)
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_preflight_is_a_list_of_signs_with_mends_below() -> None:
    assert shown(console.print_preflight, PREFLIGHT).splitlines() == [
        "✓ the database answers",
        "✗ the schema is not as needed",
        "✓ email is configured",
        "! telegram is not configured",
        "✓ run of phase all: allowlist active, may reach 1 of 8,412 users, at most 1,000 messages",
        "! telegram.not_configured",
        "    set TELEGRAM_BOT_TOKEN: it is missing",
        "✗ schema.pending",
        "    run invoke db.migrate",
    ]


def test_a_preflight_without_a_database_says_what_is_unknown() -> None:
    rollout = {**PREFLIGHT["rollout"], "users_eligible": None, "users_total": None}
    text = shown(console.print_preflight, {**PREFLIGHT, "db_ok": False, "rollout": rollout})
    assert "✗ the database does not answer" in text
    assert "may reach ? of ? users" in text


def test_health_shows_verdict_queue_and_last_run() -> None:
    text = shown(console.print_health, HEALTH)
    assert text.startswith("! health: warn  (2026-01-16T12:31:12Z)")
    assert "Oldest due: delivery 17.5 min, digest none." in text
    assert "Held: 4. Stuck in sending: 0." in text
    assert "Last run: success, phase all, 2026-01-16T12:30:00Z: sent 12, retried 1, skipped 1." in text
    (row,) = [line for line in text.splitlines() if "email for digests" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "email for digests, 24 h",
        "3",
        "–",
        "–",
        "–",
        "–",
        "9",
    ]


def test_a_quiet_health_has_no_table() -> None:
    quiet = {**HEALTH, "status": "pass", "deliveries_24h": {}, "digests_7d": {}, "last_run": None, "warnings": []}
    assert "│" not in shown(console.print_health, quiet)


def test_a_health_that_could_not_be_computed_is_shown_all_the_same() -> None:
    unknown = dict.fromkeys(HEALTH) | {
        "generated_at": "2026-01-16T12:31:12Z",
        "status": "fail",
        "oldest_queued_minutes": {"deliveries": None, "digests": None},
        "warnings": [],
        "errors": ["database.unreachable: start it"],
    }
    assert "✗ database.unreachable\n    start it" in shown(console.print_health, unknown)


def test_a_run_shows_what_is_not_zero_and_who_got_something() -> None:
    text = shown(console.print_run, RUN)
    assert text.startswith("✗ failed: phase all  (run 7f, 2.2 s)")
    assert "events created 2 " in text
    assert "events skipped" not in text
    assert "deliveries sent 12, halted channels email, stopped early" in text
    assert "Stopped by channel_halted." in text
    assert "[bold]not markup[/bold]" in text
    (row,) = [line for line in text.splitlines() if line.startswith("│") and "42" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["42", "email", "1", "2"]


def test_a_dry_run_says_that_nothing_was_sent() -> None:
    text = shown(console.print_run, {**RUN, "dry_run": True, "status": "success"})
    assert text.startswith("✓ success: phase all  (dry run, nothing was changed or sent, 2.2 s)")
    assert "Would get" in text


def test_a_list_prints_markup_and_emoji_codes_as_they_are() -> None:
    assert shown(console.print_lines, [Line(State.BAD, ":boom: [red]x[/red]")]) == "✗ :boom: [red]x[/red]\n"


def test_a_table_without_rows_is_not_printed() -> None:
    assert shown(console.print_table, Table("T", ("a",), [])) == ""
