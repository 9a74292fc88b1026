"""What the workflow files promise and no linter knows."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from src.settings import SECRETS, read_settings
from tests.process import ROOT
from tests.workflow.act import WORKFLOW

FILES = sorted(WORKFLOW.parent.glob("*.yml"))
# The channels' keys and the database, and nothing else (INTERNAL_RUNNER_TOKEN, for one, is not the engine's).
CHANNEL_KEYS = {
    "BREVO_API_KEY",
    "RESEND_API_KEY",
    "SMTP_URL",
    "TELEGRAM_BOT_TOKEN",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
}
VARIABLE_OR_SECRET = {"ALERTS_SEND_ALLOWLIST_USER_IDS", "ALERTS_MAX_SEND_PER_RUN"}
RUNNER_STEPS = ("preflight", "engine", "health")


def _load(path: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - strings only
    return document


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    (job,) = _load(WORKFLOW)["jobs"].values()
    return dict(job)


@pytest.fixture(scope="module")
def steps(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step.get("id", step["name"]): step for step in job["steps"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_script_holds_an_expression(path: Any) -> None:
    for job in _load(path)["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_with_their_version_beside_it(path: Any) -> None:
    uses = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert uses
    for use in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_permitted_at_the_top_and_only_reading_below(path: Any) -> None:
    workflow = _load(path)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert int(job["timeout-minutes"]) <= 30
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == ["false"]


def test_both_files_pin_the_same_version_of_an_action() -> None:
    pins = {use for path in FILES for use in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


def test_the_schedule_is_every_ten_minutes_off_the_hour() -> None:
    workflow = _load(WORKFLOW)
    assert workflow["on"]["schedule"] == [{"cron": "7-57/10 * * * *"}]
    assert workflow["concurrency"] == {"group": "alerts-engine-v2", "cancel-in-progress": "false"}


def test_the_deadline_leaves_time_to_finish_before_each_timeout(
    job: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    deadline, engine = int(job["env"]["ALERTS_DEADLINE_SECONDS"]), int(steps["engine"]["timeout-minutes"])
    others = sum(int(steps[name]["timeout-minutes"]) for name in ("preflight", "health"))
    assert deadline + 60 <= engine * 60
    assert engine + others < int(job["timeout-minutes"])


def test_secrets_are_the_database_and_the_channels_keys_in_the_three_runner_steps_only(
    job: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    assert set(SECRETS) >= CHANNEL_KEYS
    assert "secrets." not in str(job["env"])
    for name, step in steps.items():
        found = set(re.findall(r"secrets\.(\w+)", str(step)))
        expected = {"DATABASE_URL"} | CHANNEL_KEYS | VARIABLE_OR_SECRET if name in RUNNER_STEPS else set()
        assert found == expected, name


def test_the_repositorys_variable_wins_over_the_secret_of_the_same_name(steps: dict[str, dict[str, Any]]) -> None:
    for name in RUNNER_STEPS:
        for variable in VARIABLE_OR_SECRET:
            assert steps[name]["env"][variable] == f"${{{{ vars.{variable} || secrets.{variable} }}}}"


def test_the_runner_takes_the_place_of_the_shell(steps: dict[str, dict[str, Any]]) -> None:
    for name in RUNNER_STEPS:
        assert steps[name]["run"].startswith("exec python -m src.alerts.runner ")


def test_every_setting_of_the_workflow_is_one_that_the_engine_reads(
    job: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    """Each name is asked for by the only reader of the environment."""
    read: set[str] = set()

    class Recording(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return default

    read_settings(Recording())
    inputs = {"PHASE", "DRY_RUN", "SINCE_HOURS", "BATCH_SIZE", "RUN_ALLOWLIST"}
    assert set(job["env"]) - inputs <= read
    assert set(steps["engine"]["env"]) <= read


def test_dependabot_looks_after_actions_python_and_npm() -> None:
    updates = _load(ROOT / ".github/dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip", "npm"}
