"""The engine's workflow really run: what people would see of the job, and what the provider got."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.factories import World
from tests.process import ROOT
from tests.providers.process import Provider, running_provider
from tests.workflow.act import WORKFLOW, Act, JobRun

KEY = "xkeysib-0123456789abcdef-secret"
ALL_STEPS = [
    "Check out",
    "Set up Python",
    "Install",
    "Preflight",
    "Engine",
    "Health",
    "Summary",
    "Keep logs and reports",
]
REPORTS = {"preflight.json", "preflight.log", "run.json", "engine.log", "health.json", "health.log"}


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def act(tmp_path: Path, database_url: str, provider: Provider) -> Act:
    """A repository that sends mail through Brevo, where Brevo is the loopback provider."""
    secrets = {"DATABASE_URL": database_url, "BREVO_API_KEY": KEY}
    return Act(tmp_path, secrets, {"EMAIL_FROM": "Alerts <alerts@example.com>"}, provider.environ)


@pytest.fixture(autouse=True)
def users(world: World) -> list[int]:
    """In every test: five users who are all told of one fresh event at once."""
    world.news(at=datetime.now(UTC))
    return [world.user() for _ in range(5)]


def _got(provider: Provider) -> list[str]:
    return sorted(message["to"] for message in provider.accepted)


def _addresses(world: World, *user_ids: int) -> list[str]:
    rows = world.rows("SELECT email FROM users WHERE id = ANY(%(ids)s)", ids=list(user_ids))
    return sorted(row["email"] for row in rows)


def _assert_red_and_nothing_sent(run: JobRun, provider: Provider) -> None:
    assert not run.succeeded
    assert provider.requests == []
    assert run.headline.startswith("## ❌")
    assert "nothing was sent" in run.headline
    assert "Engine" not in run.steps


def test_a_good_run_sends_and_says_so(act: Act, users: list[int], provider: Provider, world: World) -> None:
    run = act.run("schedule")
    assert run.succeeded
    assert run.steps == dict.fromkeys(ALL_STEPS, "success")
    assert _got(provider) == _addresses(world, *users)
    assert run.headline == "## ✅ 5 sent"
    assert run.document("run")["totals"]["sent"] == 5
    assert world.value("SELECT triggered_by FROM alerts_engine_runs") == "github_actions_schedule"
    assert {path.name for path in run.artifact.iterdir()} == REPORTS
    assert all(note.startswith("warning: ") for note in run.annotations)


def test_nothing_private_is_in_the_log_the_summary_or_the_artifact(
    act: Act, users: list[int], provider: Provider, world: World
) -> None:
    """Also in a run in which a request fails, and a database answers an error."""
    provider.script("brevo", "bare_500", "ok")
    run = act.run()
    files = "".join(path.read_text(encoding="utf-8") for path in run.artifact.iterdir())
    texts = run.log + run.summary + files
    for private in (KEY, act.secrets["DATABASE_URL"], *_addresses(world, *users), "Pipeline attacked"):
        assert private not in texts


def test_a_failing_preflight_turns_the_job_red_before_anything_is_sent(act: Act, provider: Provider) -> None:
    """Here: no channel has its keys."""
    keyless = replace(act, secrets={"DATABASE_URL": act.secrets["DATABASE_URL"]})
    run = keyless.run("schedule")
    _assert_red_and_nothing_sent(run, provider)
    assert run.steps["Preflight"] == "failure"
    assert run.steps["Health"] == "success"
    assert any(note.startswith("error: channel.none_configured: ") for note in run.annotations)
    assert any("BREVO_API_KEY" in note for note in run.annotations if note.startswith("warning: "))


def test_an_unreachable_database_leaves_a_summary_and_reports(act: Act, provider: Provider) -> None:
    run = replace(act, secrets={**act.secrets, "DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/alerts"}).run()
    _assert_red_and_nothing_sent(run, provider)
    assert run.document("preflight")["db_ok"] is False
    assert run.document("health")["errors"]
    assert "hunter2" not in run.log + run.summary


def test_a_capped_run_sends_no_more_than_the_cap(act: Act, provider: Provider) -> None:
    """The variable wins over a secret of the same name."""
    capped = replace(
        act,
        secrets={**act.secrets, "ALERTS_MAX_SEND_PER_RUN": "4"},
        variables={**act.variables, "ALERTS_MAX_SEND_PER_RUN": "2"},
    )
    run = capped.run("schedule")
    assert run.succeeded
    assert len(provider.accepted) == 2
    assert run.headline == "## ⚠️ 2 sent, cap reached"
    assert run.document("run")["stop_reason"] == "max_send"


def test_a_cap_from_a_secret_holds_where_there_is_no_variable(act: Act, provider: Provider) -> None:
    replace(act, secrets={**act.secrets, "ALERTS_MAX_SEND_PER_RUN": "3"}).run("schedule")
    assert len(provider.accepted) == 3


def test_a_dry_run_contacts_nobody_and_changes_nothing(act: Act, provider: Provider, world: World) -> None:
    run = act.run(dry_run=True)
    assert run.succeeded
    assert provider.requests == []
    assert run.headline.startswith("## 🧪 Dry run, nothing was sent: 5 would be")
    assert [world.count(table) for table in ("alert_events", "user_alert_deliveries", "alerts_engine_runs")] == [
        0,
        0,
        0,
    ]


def test_the_runs_allowlist_narrows_the_repositorys(
    act: Act, users: list[int], provider: Provider, world: World
) -> None:
    first, second, third, *_ = users
    allowed = replace(act, variables={**act.variables, "ALERTS_SEND_ALLOWLIST_USER_IDS": f"{first},{second}"})
    run = allowed.run(allowlist=f"{second},{third}")
    assert run.succeeded
    assert _got(provider) == _addresses(world, second)
    assert "allowlist **active**" in run.summary


def test_the_runs_allowlist_cannot_reach_beyond_the_repositorys(
    act: Act, users: list[int], provider: Provider, world: World
) -> None:
    first, second, *_ = users
    allowed = replace(act, secrets={**act.secrets, "ALERTS_SEND_ALLOWLIST_USER_IDS": str(first)})
    allowed.run(allowlist=str(second))
    assert provider.requests == []
    allowed.run("schedule")
    assert _got(provider) == _addresses(world, first)


@pytest.mark.parametrize(
    ("variables", "inputs"),
    [({"ALERTS_V2_ENABLED": "false"}, {"alerts_enabled": True}), ({}, {"alerts_enabled": False})],
    ids=["variable", "input"],
)
def test_what_is_switched_off_on_either_side_is_off(
    act: Act, provider: Provider, variables: Mapping[str, str], inputs: Mapping[str, bool]
) -> None:
    run = replace(act, variables={**act.variables, **variables}).run(**inputs)
    assert run.succeeded
    assert provider.requests == []
    assert run.headline.startswith("## ⏸️ Switched off: nothing was sent")


def test_a_failing_engine_still_leaves_health_and_summary(act: Act, provider: Provider) -> None:
    provider.script("brevo", default="unauthorized")
    run = act.run("schedule")
    assert not run.succeeded
    assert run.steps["Engine"] == "failure"
    assert {run.steps[name] for name in ("Health", "Summary", "Keep logs and reports")} == {"success"}
    assert run.headline.startswith("## ❌ Run failed: 0 sent, channel halted")
    assert run.document("health")["last_run"]["status"] == "failed"
    assert run.document("run")["stop_reason"] == "channel_halted"


def test_without_requirements_the_project_itself_is_installed(act: Act, provider: Provider) -> None:
    (act.tree / "requirements.txt").unlink()
    run = replace(act, environ={**act.environ, "PIP_NO_BUILD_ISOLATION": "0"}).run("schedule")
    assert run.succeeded
    assert len(provider.accepted) == 5


def test_with_nothing_to_install_from_the_job_says_so_and_fails(act: Act, provider: Provider) -> None:
    for name in ("requirements.txt", "pyproject.toml"):
        (act.tree / name).unlink()
    run = act.run("schedule")
    _assert_red_and_nothing_sent(run, provider)
    assert run.headline == "## ❌ Installation failed: nothing was sent"
    assert "error: Nothing to install from: add requirements.txt or pyproject.toml" in run.annotations


@pytest.mark.parametrize("name", ["phase", "since_hours", "batch_size", "allowlist"])
@pytest.mark.parametrize(
    "hostile",
    ["'; touch {marker}; '", "$(touch {marker})", "24\ntouch {marker}", "42 --phase=all"],
    ids=["quote", "substitution", "newline", "second-flag"],
)
def test_a_hostile_input_is_refused_and_runs_nothing(act: Act, provider: Provider, name: str, hostile: str) -> None:
    marker = act.directory / "pwned"
    run = act.run(**{name: hostile.format(marker=marker)})
    _assert_red_and_nothing_sent(run, provider)
    assert not marker.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_step_reaches_the_runner_which_ends_cleanly(
    act: Act, provider: Provider, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The engine step's own script, stopped as GitHub stops it: by a signal to its first process."""
    provider.script("brevo", default="hang")
    (tmp_path / "reports").mkdir()
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    (script,) = [step["run"] for step in job["steps"] if step.get("id") == "engine"]
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RUNNER_TEMP": str(tmp_path),
        "PHASE": "all",
        **act.secrets,
        **act.variables,
        **act.environ,
    }
    with subprocess.Popen(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=environ) as process:
        try:
            while not provider.requests:
                assert process.poll() is None
            process.send_signal(number)
            assert process.wait(timeout=10) == code
        finally:
            process.kill()
    run = yaml.safe_load((tmp_path / "reports/run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["stop_reason"]) == ("interrupted", "signal")
    assert "phase b: success" in (tmp_path / "reports/engine.log").read_text(encoding="utf-8")
