"""The tasks that look back: runs, retry-failed, explain, backfill, prune; what they show, ask and change."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import World
from tests.process import ROOT, Finished, Runner
from tests.terminal import on_terminal

INVOKE = ("--search-root", str(ROOT))
WISH = [{"alert_type": "HIGH_IMPACT_EVENT", "region": "Global"}]


def invoke(runner: Runner, *arguments: str, **environ: str) -> Finished:
    return runner.run(*INVOKE, *arguments, module="invoke", COLUMNS="200", **environ)


def answer(runner: Runner, text: str, *arguments: str) -> Finished:
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **runner.environ}
    command = [sys.executable, "-m", "invoke", *INVOKE, *arguments]
    return on_terminal(command, cwd=runner.directory, environ=environ, answers={"[y/N] ": text})


@pytest.fixture
def failed(world: World) -> tuple[int, int]:
    """A delivery that an outage failed, and one that its recipient did."""
    now = datetime.now(UTC)
    event = world.alert_event(created_at=now, fanned_out=True)
    reasons = ("provider_unavailable", "blocked_by_user")
    first, second = (
        world.delivery(world.user(), event, status="failed", failure_reason=reason, created_at=now, attempts=5)
        for reason in reasons
    )
    return first, second


def queued(world: World) -> list[int]:
    return [row["id"] for row in world.rows("SELECT id FROM user_alert_deliveries WHERE status = 'queued'")]


def test_runs_are_listed_and_one_is_told_in_detail(runner: Runner, world: World) -> None:
    world.user("pro", prefs=WISH)
    world.alert_event(created_at=datetime.now(UTC))
    run_id = runner.run("--phase", "all", "--log-json", GITHUB_ACTOR="owner", GITHUB_SHA="c0ffee").document["run_id"]
    (line,) = [line for line in invoke(runner, "runs").stdout.splitlines() if run_id in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[1:5] == [run_id, "all", "success", "owner"]
    assert cells[6:] == ["1", "0", ""]
    detail = invoke(runner, "runs", "--run", run_id).stdout
    assert "c0ffee" in detail
    assert "deliveries created 1" in detail


def test_a_run_that_is_not_on_record_is_an_error(runner: Runner) -> None:
    done = invoke(runner, "runs", "--run", "nonsense")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "runs.unknown" in done.stderr
    assert invoke(runner, "runs").stdout == "! no run is on record\n"


def test_failures_of_an_outage_are_queued_again_after_a_yes(
    runner: Runner, world: World, failed: tuple[int, int]
) -> None:
    done = answer(runner, "y\n", "retry-failed", "--kind", "deliveries")
    assert done.exit_code == 0
    assert "provider_unavailable" in done.stdout
    assert queued(world) == [failed[0]]


@pytest.mark.parametrize("text", ["n\n", "\n"])
def test_nothing_is_queued_again_without_a_yes(
    text: str, runner: Runner, world: World, failed: tuple[int, int]
) -> None:
    assert answer(runner, text, "retry-failed", "--kind", "deliveries").exit_code == 1
    assert invoke(runner, "retry-failed", "--kind", "deliveries").exit_code == 1
    assert queued(world) == []


def test_a_yes_can_be_given_beforehand(runner: Runner, world: World, failed: tuple[int, int]) -> None:
    assert "1 deliveries queued again" in invoke(runner, "retry-failed", "--yes").stdout
    assert "no deliveries to queue again" in invoke(runner, "retry-failed", "--yes").stdout
    assert queued(world) == [failed[0]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry-failed", "--kind", "mails"],
        ["retry-failed", "--since-hours", "0"],
        ["runs", "--limit", "1000"],
        ["explain", "--user", "abc", "--event", "1"],
        ["backfill", "--since-hours", "-5"],
        ["prune", "--older-than", "1d"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], runner: Runner) -> None:
    assert invoke(runner, *arguments).exit_code == 2


def test_explain_tells_gate_by_gate(runner: Runner, world: World) -> None:
    user = world.user("pro", prefs=WISH)
    event = world.alert_event(created_at=datetime.now(UTC))
    arguments = ("explain", "--user", str(user), "--event", str(event))
    text = invoke(runner, *arguments).stdout
    assert "email: instant" in text
    assert "sms: nothing" in text
    assert "✗ destination: " in text
    document = json.loads(invoke(runner, *arguments, "--json").stdout)
    assert {channel["channel"] for channel in document["channels"]} == {"email", "telegram", "sms"}


def test_explaining_what_is_not_there_says_so(runner: Runner, world: World) -> None:
    done = invoke(runner, "explain", "--user", str(world.user()), "--event", "99")
    assert "explain.unknown_event" in done.stderr
    assert done.exit_code == 2


def test_backfill_reaches_those_whom_the_allowlist_left_out(runner: Runner, world: World) -> None:
    first, second = world.user("pro", prefs=WISH), world.user("pro", prefs=WISH)
    world.alert_event(created_at=datetime.now(UTC))
    runner.run("--phase", "b", ALERTS_SEND_ALLOWLIST_USER_IDS=str(first))
    asked = invoke(runner, "backfill", "--since-hours", "24")
    assert asked.exit_code == 1
    assert "1 events, 1 deliveries to be created" in asked.stdout
    assert world.count("user_alert_deliveries") == 1
    assert invoke(runner, "backfill", "--since-hours", "24", "--yes").exit_code == 0
    rows = world.rows("SELECT user_id FROM user_alert_deliveries ORDER BY user_id")
    assert [row["user_id"] for row in rows] == [first, second]
    assert "0 deliveries" in invoke(runner, "backfill", "--since-hours", "24", "--yes").stdout


def test_prune_deletes_what_is_old_and_finished(runner: Runner, world: World) -> None:
    old = datetime.now(UTC) - timedelta(days=100)
    event = world.alert_event(created_at=old, fanned_out=True)
    world.delivery(world.user(), event, status="failed", created_at=old)
    waiting = world.delivery(world.user(), event, created_at=old)
    assert "1 deliveries, 0 digests and 0 runs deleted" in invoke(runner, "prune", "--older-than", "90d").stdout
    assert queued(world) == [waiting]
