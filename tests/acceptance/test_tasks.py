"""`invoke` behaves like the commands that it starts: their output, their exit codes, their signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks import namespace
from tests.factories import World
from tests.process import ROOT, Finished, Runner, wait_for
from tests.providers.answers import Answer
from tests.providers.process import Provider
from tests.terminal import on_terminal

INVOKE = ("--search-root", str(ROOT))


def invoke(runner: Runner, *arguments: str, **environ: str) -> Finished:
    return runner.run(*INVOKE, *arguments, module="invoke", COLUMNS="120", **environ)


def on_screen(runner: Runner, *arguments: str) -> Finished:
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **runner.environ}
    command = [sys.executable, "-m", "invoke", *INVOKE, *arguments]
    return on_terminal(command, cwd=runner.directory, environ=environ, answers={})


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.02)


def test_the_list_explains_every_task(runner: Runner) -> None:
    listed = json.loads(invoke(runner, "--list", "--list-format", "json").stdout)
    tasks = {task["name"]: task["help"] for task in listed["tasks"]}
    for collection in listed["collections"]:
        tasks |= {f"{collection['name']}.{task['name']}": task["help"] for task in collection["tasks"]}
    assert set(tasks) == set(namespace.task_names)
    assert all(tasks.values())


def test_every_option_is_explained() -> None:
    arguments = {(name, str(argument)): argument.help for name in namespace.task_names
                 for argument in deepcopy(namespace[name]).get_arguments()}  # fmt: skip
    assert [key for key, text in arguments.items() if not text] == []


@pytest.mark.parametrize(
    ("arguments", "environ", "exit_code"),
    [
        (["run", "--phase", "all"], {}, 0),
        (["run", "--phase", "x"], {}, 2),
        (["run"], {}, 2),
        (["run", "--phase", "all", "--batch-size", "0"], {}, 2),
        (["run", "--phase", "all", "--user", "4 2"], {}, 2),
        (["run", "--phase", "all"], {"DATABASE_URL": ""}, 1),
        (["run", "--phase", "all"], {"ALERTS_V2_ENABLED": "false"}, 0),
        (["preflight"], {}, 0),
        (["preflight"], {"ALERTS_SEND_ALLOWLIST_USER_IDS": "42,abc"}, 1),
        (["health"], {}, 0),
        (["health"], {"DATABASE_URL": ""}, 1),
        (["db.status"], {}, 0),
        (["db.migrate"], {"DATABASE_URL": ""}, 1),
    ],
)
def test_the_exit_code_is_the_commands_own(
    arguments: list[str], environ: dict[str, str], exit_code: int, runner: Runner
) -> None:
    assert invoke(runner, *arguments, **environ).exit_code == exit_code


def test_it_works_from_any_directory_without_an_installation(runner: Runner) -> None:
    assert invoke(runner, "preflight", PYTHONPATH="").exit_code == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_piped_preflight_is_the_runners_bytes(flags: list[str], runner: Runner) -> None:
    assert invoke(runner, "preflight", *flags).stdout == runner.run("--preflight").stdout


def test_preflight_of_a_dry_run_of_one_phase_is_asked_for_as_such(runner: Runner) -> None:
    rollout = invoke(runner, "preflight", "--phase", "b", "--dry-run").document["rollout"]
    assert (rollout["phase"], rollout["dry_run"]) == ("b", True)


def test_on_a_terminal_preflight_is_a_doctors_list(runner: Runner) -> None:
    lines = on_screen(runner, "preflight").stdout.splitlines()
    assert "✓ the database answers" in lines
    assert all(line.startswith(("✓ ", "! ", "✗ ", "    ")) for line in lines)


def test_on_a_terminal_preflight_fails_with_the_runners_code_and_its_mend(runner: Runner) -> None:
    unconfigured = Runner(runner.directory, {**runner.environ, "ALERTS_TRANSPORT": "live"})
    done = on_screen(unconfigured, "preflight")
    assert done.exit_code == 1
    assert "✗ channel.none_configured\n    " in done.stdout


def test_on_a_terminal_json_stays_json(runner: Runner) -> None:
    assert json.loads(on_screen(runner, "preflight", "--json").stdout)["schema_version"] == 1
    assert json.loads(on_screen(runner, "health", "--json").stdout)["schema_version"] == 1


def test_health_shows_a_verdict_on_a_terminal_and_json_in_a_pipe(runner: Runner) -> None:
    assert "health: " in on_screen(runner, "health").stdout.splitlines()[0]
    assert invoke(runner, "health").document["schema_version"] == 1


def test_health_check_fails_when_health_does(runner: Runner, world: World) -> None:
    assert invoke(runner, "health", "--check").exit_code == 0
    now = datetime.now(UTC)
    world.insert("alerts_engine_runs", run_id="r", phase="all", started_at=now, finished_at=now, status="failed")
    assert invoke(runner, "health").exit_code == 0
    checked = invoke(runner, "health", "--check")
    assert (checked.exit_code, checked.document["status"]) == (1, "fail")


def test_a_run_takes_all_its_options(runner: Runner, world: World) -> None:
    wish = [{"alert_type": "HIGH_IMPACT_EVENT", "region": "Global"}]
    first, second, third = (world.user("pro", prefs=wish) for _ in range(3))
    world.alert_event(created_at=datetime.now(UTC))
    flags = ("--since-hours", "48", "--batch-size", "5", "--max-send", "1", "--user", str(first), "--user", str(second))
    document = invoke(runner, "run", "--phase", "all", "--dry-run", "--log-json", *flags).document
    assert document["dry_run"] is True
    assert document["rollout"] == {"allowlist_active": True, "max_send_per_run": 1}
    assert {row["user_id"] for row in document["recipients"]} <= {first, second}
    assert document["phases"][1]["counts"]["deliveries_created"] == 2
    assert world.count("user_alert_deliveries") == 0
    assert third


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_the_runner_and_its_exit_code_comes_back(
    number: signal.Signals, exit_code: int, runner: Runner, world: World, provider: Provider
) -> None:
    event = world.alert_event(created_at=datetime.now(UTC), fanned_out=True)
    for _ in range(3):
        world.delivery(world.user("pro"), event, created_at=datetime.now(UTC))
    provider.script("resend", default=Answer(accepts=True, seconds_after=1))
    live = {
        "ALERTS_TRANSPORT": "live",
        "EMAIL_PROVIDER": "resend",
        "RESEND_API_KEY": "re_key",
        "EMAIL_FROM": "a@example.com",
        **provider.environ,
    }
    process = runner.start(*INVOKE, "run", "--phase", "c", module="invoke", **live)
    wait_until(lambda: provider.requests)
    process.send_signal(number)
    done = wait_for(process, 15)
    assert done.exit_code == exit_code
    assert world.value("SELECT status FROM alerts_engine_runs") == "interrupted"
    assert world.value("SELECT count(*) FROM user_alert_deliveries WHERE status = 'sent'") == 3


def test_migrating_an_empty_database_and_again(runner: Runner, empty_database_url: str) -> None:
    url = {"DATABASE_URL": empty_database_url}
    assert "is not applied" in invoke(runner, "db.status", **url).stdout
    plan = invoke(runner, "db.migrate", "--plan", **url)
    assert "CREATE TABLE" in plan.stdout
    assert "applied 0001_tables" in invoke(runner, "db.migrate", **url).stdout
    assert "the schema is current" in invoke(runner, "db.migrate", **url).stdout
    assert "is not applied" not in invoke(runner, "db.status", **url).stdout
    assert invoke(runner, "db.migrate", "--plan", **url).stdout == ""


def test_old_messages_are_released_only_when_asked_for(runner: Runner, world: World) -> None:
    event = world.alert_event(created_at=datetime.now(UTC), fanned_out=True)
    world.delivery(world.user(), event, adopted=True)
    assert "adoption.held_back" in invoke(runner, "db.migrate").stdout
    assert world.value("SELECT adopted FROM user_alert_deliveries")
    assert "1 deliveries, 0 digests" in invoke(runner, "db.migrate", "--include-old").stdout
    assert not world.value("SELECT adopted FROM user_alert_deliveries")


@pytest.fixture
def psql(tmp_path: Path) -> Path:
    """A directory with a psql that shows how it was started, and ends with 7 when it is terminated."""
    program = tmp_path / "bin" / "psql"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nprintf "%s|" "$@" "$PGPASSWORD"\n'
        '[ "$WAIT" ] && { trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done; }\nexit 3\n'
    )
    program.chmod(0o755)
    return program.parent


def test_psql_gets_the_password_where_nobody_sees_it(runner: Runner, psql: Path) -> None:
    path = f"{psql}{os.pathsep}{os.environ['PATH']}"
    done = invoke(runner, "db.psql", DATABASE_URL="postgresql://me:hunter2@db.example.com:6432/alerts", PATH=path)
    arguments, password, _ = done.stdout.split("|")
    assert (done.exit_code, password) == (3, "hunter2")
    assert sorted(arguments.split()) == ["dbname=alerts", "host=db.example.com", "port=6432", "user=me"]


def test_signals_go_down_to_the_last_child(runner: Runner, psql: Path) -> None:
    path = f"{psql}{os.pathsep}{os.environ['PATH']}"
    process = runner.start(*INVOKE, "db.psql", module="invoke", PATH=path, WAIT="yes")
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert wait_for(process, 15).exit_code == 7


def test_a_child_that_a_signal_ends_counts_as_shells_count() -> None:
    program = "from src.ops import child; import sys; sys.exit(child.run(['sh', '-c', 'kill -9 $$']).exit_code)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == 128 + signal.SIGKILL
