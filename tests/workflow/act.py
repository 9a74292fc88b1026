"""Runs the real workflow file with act, on this machine: no Docker, no network, stand-ins for the actions.

act works on a small git repository that holds nothing but the workflow; the stand-in for checkout
brings in a copy of the working tree, as checkout would. Secrets and variables are given as GitHub
would give them; `environ` is for what only tests have, such as a provider's base URL.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.process import ROOT

WORKFLOW = ROOT / ".github/workflows/alerts_engine_v2.yml"
ACTIONS = Path(__file__).parent / "actions"


@dataclass(frozen=True, slots=True)
class JobRun:
    """How a run of the job ended, as a person would see it on GitHub."""

    succeeded: bool
    steps: Mapping[str, str]  # name → success or failure; a skipped step is not there
    summary: str
    annotations: tuple[str, ...]
    log: str
    artifact: Path

    def document(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.artifact / f"{name}.json").read_text(encoding="utf-8"))
        return document

    @property
    def headline(self) -> str:
        return self.summary.splitlines()[0]


@dataclass(frozen=True, slots=True)
class Act:
    """A repository with settings, in which the workflow can be run."""

    directory: Path
    secrets: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        """What checkout will bring; a test may change it before it runs the workflow."""
        tree = self.directory / "tree"
        if not tree.exists():
            shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("requirements.txt", "pyproject.toml"):
                shutil.copy(ROOT / name, tree)
        return tree

    def run(self, event: str = "workflow_dispatch", **inputs: str | bool) -> JobRun:
        """Run the workflow as that event starts it."""
        arguments = ["act", event, "--json", *self._arguments(event, inputs)]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8"}
        process = subprocess.run(
            arguments, cwd=self._repository(), env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        return self._read(process)

    def _arguments(self, event: str, inputs: Mapping[str, str | bool]) -> list[str]:
        payload = self.directory / "event.json"
        payload.write_text(json.dumps({"inputs": _filled(inputs)} if event == "workflow_dispatch" else {}))
        environ = {
            "TREE_UNDER_TEST": str(self.tree),
            "PYTHON_UNDER_TEST": sys.executable,
            "ARTIFACTS_UNDER_TEST": str(self.directory / "artifacts"),
            "PIP_NO_INDEX": "1",
            **self.environ,
        }
        settings = (("--secret", self.secrets), ("--var", self.variables), ("--env", environ))
        return [
            "--eventpath", str(payload),
            "--platform", f"{_runner_label()}=-self-hosted",
            "--action-cache-path", str(self.directory / "cache"),
            "--no-skip-checkout", "--no-cache-server",
            "--insecure-secrets",  # what leaks has to be seen: no masking in the log
            *(part for action in _local_repositories() for part in ("--local-repository", action)),
            *(part for flag, values in settings for item in values.items() for part in (flag, "=".join(item))),
        ]  # fmt: skip

    def _repository(self) -> Path:
        repository = self.directory / "repository"
        if not repository.exists():
            workflows = repository / ".github/workflows"
            workflows.mkdir(parents=True)
            shutil.copy(WORKFLOW, workflows)
            identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
            for command in (
                ("init", "--quiet", "--initial-branch=main"),
                ("add", "."),
                (*identity, "commit", "--quiet", "--message=Workflow"),
                ("remote", "add", "origin", "https://github.com/example/alerts.git"),
            ):
                subprocess.run(["git", *command], cwd=repository, check=True)
        return repository

    def _read(self, process: subprocess.CompletedProcess[str]) -> JobRun:
        lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
        steps = {
            line["step"]: line["stepResult"]
            for line in lines
            if "stepResult" in line and line.get("stage") == "Main" and len(line["stepID"]) == 1
        }
        artifacts = sorted((self.directory / "artifacts").glob("*"))
        return JobRun(
            succeeded=process.returncode == 0 and any(line.get("jobResult") == "success" for line in lines),
            steps=steps,
            summary="".join(line["content"] for line in lines if line.get("command") == "summary"),
            annotations=tuple(
                f"{line['command']}: {line['arg']}" for line in lines if line.get("command") in ("error", "warning")
            ),
            log=process.stdout + process.stderr,
            artifact=artifacts[-1] if artifacts else self.directory,
        )


def _filled(inputs: Mapping[str, str | bool]) -> dict[str, str]:
    """As GitHub sends them: text."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in inputs.items()}


def _runner_label() -> str:
    (label,) = re.findall(r"runs-on: (\S+)", WORKFLOW.read_text(encoding="utf-8"))
    return str(label)


def _local_repositories() -> list[str]:
    """`actions/NAME@HASH=FOLDER` for every action of the workflow."""
    uses = re.findall(r"uses: (actions/([\w-]+)@\w+)", WORKFLOW.read_text(encoding="utf-8"))
    return [f"{action}={ACTIONS / name}" for action, name in uses]
