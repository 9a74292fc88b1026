"""The guarded rollout with the real runner: who gets something, who does not, and what is on record."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from src.db.connection import Database
from src.db.locks import RunLocks
from tests.factories import World
from tests.process import ROOT, Finished, Runner
from tests.terminal import on_terminal

MODULE = "src.ops.rollout"


@pytest.fixture
def users(world: World) -> tuple[int, int]:
    """Two users on the same plan, and two events that both of them want."""
    now = datetime.now(UTC)
    wish = [{"alert_type": "HIGH_IMPACT_EVENT", "region": "Global"}]
    users = (world.user("pro", prefs=wish), world.user("pro", prefs=wish))
    for _ in range(2):
        world.alert_event(created_at=now)
    return users


def roll_out(runner: Runner, *arguments: str, **environ: str) -> Finished:
    return runner.run(*arguments, module=MODULE, COLUMNS="120", **environ)


def ask(runner: Runner, answer: str, *arguments: str) -> Finished:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **runner.environ}
    command = [sys.executable, "-m", MODULE, *arguments]
    return on_terminal(command, cwd=runner.directory, environ=environ, answers={"[y/N] ": answer})


def files(runner: Runner) -> list[Path]:
    return sorted((runner.directory / "outbox").glob("*"))


def recipients(world: World) -> list[int]:
    rows = world.rows("SELECT DISTINCT user_id FROM user_alert_deliveries ORDER BY user_id")
    return [row["user_id"] for row in rows]


def test_the_chosen_user_gets_messages_and_nobody_else_anything(
    runner: Runner, world: World, users: tuple[int, int]
) -> None:
    done = roll_out(runner, "--user", str(users[0]), "--yes", GITHUB_ACTOR="owner", GITHUB_SHA="c0ffee")
    assert (done.exit_code, done.stderr) == (0, "")
    assert recipients(world) == [users[0]]
    assert len(files(runner)) == 2
    order = ["✓ the database answers", "dry run, nothing was changed or sent", "Would get", "confined to 1 user",
             "Got", "every row that the run created or claimed belongs to them"]  # fmt: skip
    places = [done.stdout.index(text) for text in order]
    assert places == sorted(places)
    assert not world.value("SELECT count(*) FROM alert_events WHERE fanout_completed_at IS NOT NULL")


def test_a_rollout_is_on_record_with_who_what_commit_and_outcome(
    runner: Runner, world: World, users: tuple[int, int]
) -> None:
    roll_out(runner, "--user", str(users[0]), "--yes", GITHUB_ACTOR="owner", GITHUB_SHA="c0ffee")
    (run,) = world.rows("SELECT actor, git_sha, status, rollout FROM alerts_engine_runs")
    assert (run["actor"], run["git_sha"], run["status"]) == ("owner", "c0ffee", "success")
    assert run["rollout"]["requested"] == {"users": [users[0]], "plan": None, "percent": None}
    assert (run["rollout"]["chosen"], run["rollout"]["verified"]) == (1, True)
    (line,) = [line for line in roll_out(runner, "--history").stdout.splitlines() if "owner" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")][1:] == [
        "owner", "c0ffee", f"user {users[0]}", "1", "2", "success",
    ]  # fmt: skip


def test_without_ci_the_record_names_the_login_and_the_commit(
    runner: Runner, world: World, users: tuple[int, int]
) -> None:
    roll_out(runner, "--user", str(users[0]), "--yes", LOGNAME="night-shift")
    (run,) = world.rows("SELECT actor, git_sha FROM alerts_engine_runs")
    assert run["actor"] == "night-shift"
    assert len(run["git_sha"]) == 40


def test_several_users_and_a_plan_can_be_named(runner: Runner, world: World, users: tuple[int, int]) -> None:
    trader = world.user("trader", prefs=[{"alert_type": "HIGH_IMPACT_EVENT", "region": "Global"}])
    done = roll_out(runner, "--user", str(users[1]), "--plan", "trader", "--yes")
    assert done.exit_code == 0
    assert recipients(world) == [users[1], trader]


@pytest.mark.parametrize(("flags", "sent"), [(["--max-send", "1"], 1), ([], 10)])
def test_the_cap_holds(runner: Runner, world: World, flags: list[str], sent: int) -> None:
    user = world.user("pro", prefs=[{"alert_type": "HIGH_IMPACT_EVENT", "region": "Global"}])
    for _ in range(12):
        world.alert_event(created_at=datetime.now(UTC))
    done = roll_out(runner, "--user", str(user), "--yes", *flags)
    assert done.exit_code == 0
    assert len(files(runner)) == sent


def test_a_yes_at_the_question_sends(runner: Runner, world: World, users: tuple[int, int]) -> None:
    done = ask(runner, "y\n", "--user", str(users[0]))
    assert done.exit_code == 0
    assert recipients(world) == [users[0]]


@pytest.mark.parametrize("answer", ["n\n", "\n", "ye\n"])
def test_anything_else_at_the_question_sends_nothing(
    answer: str, runner: Runner, world: World, users: tuple[int, int]
) -> None:
    done = ask(runner, answer, "--user", str(users[0]))
    assert done.exit_code == 1
    assert "rollout.declined" in done.stdout
    assert not files(runner)
    assert world.count("user_alert_deliveries") == world.count("alerts_engine_runs") == 0


def test_ctrl_c_at_the_question_sends_nothing(runner: Runner, world: World, users: tuple[int, int]) -> None:
    done = ask(runner, "\x03", "--user", str(users[0]))
    assert done.exit_code == 130
    assert "Traceback" not in done.stdout
    assert world.count("user_alert_deliveries") == 0


def test_nobody_to_ask_sends_nothing(runner: Runner, world: World, users: tuple[int, int]) -> None:
    done = roll_out(runner, "--user", str(users[0]))
    assert done.exit_code == 1
    assert "rollout.declined" in done.stderr
    assert world.count("user_alert_deliveries") == 0


@pytest.mark.parametrize("text", ["abc", "4 2", "-1", "0"])
def test_an_id_that_is_no_number_is_wrong_usage_and_named(text: str, runner: Runner) -> None:
    done = roll_out(runner, f"--user={text}", "--yes")
    assert done.exit_code == 2
    assert repr(text) in done.stderr


def test_an_id_that_is_no_user_is_refused_by_name(runner: Runner, world: World, users: tuple[int, int]) -> None:
    done = roll_out(runner, "--user", str(users[0]), "--user", "99999", "--yes")
    assert done.exit_code == 1
    assert "no such user: 99999" in done.stderr
    assert world.count("user_alert_deliveries") == 0


def test_a_user_whom_the_environment_leaves_out_is_refused(
    runner: Runner, world: World, users: tuple[int, int]
) -> None:
    inside, outside = map(str, users)
    done = roll_out(runner, "--user", outside, "--yes", ALERTS_SEND_ALLOWLIST_USER_IDS=inside)
    assert done.exit_code == 1
    assert f"not allowed: {outside}" in done.stderr
    assert world.count("user_alert_deliveries") == 0


def test_a_malformed_allowlist_stops_it(runner: Runner, users: tuple[int, int]) -> None:
    done = roll_out(runner, "--user", str(users[0]), "--yes", ALERTS_SEND_ALLOWLIST_USER_IDS="42,,43")
    assert done.exit_code == 1
    assert "allowlist.malformed" in done.stderr


def test_a_failing_preflight_stops_it(runner: Runner, world: World, users: tuple[int, int]) -> None:
    done = roll_out(runner, "--user", str(users[0]), "--yes", ALERTS_TRANSPORT="live")
    assert done.exit_code == 1
    assert "channel.none_configured" in done.stderr
    assert world.count("user_alert_deliveries") == 0


def test_a_run_under_way_leaves_no_preview_and_stops_it(
    runner: Runner, world: World, database: Database, users: tuple[int, int]
) -> None:
    with RunLocks(database, "another run") as locks:
        assert locks.try_phase("b")
        done = roll_out(runner, "--user", str(users[0]), "--yes")
    assert done.exit_code == 1
    assert "rollout.no_preview" in done.stderr
    assert world.count("user_alert_deliveries") == 0


def test_a_row_of_anybody_else_is_a_loud_failure(runner: Runner, world: World, users: tuple[int, int]) -> None:
    world.execute(
        """
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, created_at)
            SELECT id, NEW.alert_event_id, NEW.channel, NEW.created_at FROM users WHERE id <> NEW.user_id
            ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$;
        CREATE TRIGGER meddle AFTER INSERT ON user_alert_deliveries
        FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION meddle();
        """
    )
    done = roll_out(runner, "--user", str(users[0]), "--yes")
    assert done.exit_code == 1
    assert "rollout.touched_others" in done.stderr
    assert f"of user {users[1]}" in done.stderr
    assert world.value("SELECT rollout -> 'verified' FROM alerts_engine_runs") is False
    assert "not verified" in roll_out(runner, "--history").stdout


def test_rows_that_others_create_meanwhile_are_no_failure(runner: Runner, world: World, users: tuple[int, int]) -> None:
    world.execute(
        """
        CREATE FUNCTION inbox() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, created_at)
            SELECT id, NEW.alert_event_id, 'account', 'sent', NEW.created_at FROM users
            ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$;
        CREATE TRIGGER inbox AFTER INSERT ON user_alert_deliveries
        FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION inbox();
        """
    )
    assert roll_out(runner, "--user", str(users[0]), "--yes").exit_code == 0


def test_an_empty_history_says_so(runner: Runner) -> None:
    done = roll_out(runner, "--history")
    assert (done.exit_code, done.stdout) == (0, "! no rollout is on record\n")
