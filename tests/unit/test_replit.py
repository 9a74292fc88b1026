"""The operator's guide says what is: its codes, first lines, fields and variables are those of the code."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from src.alerts.codes import CODES
from src.alerts.models import ChannelName
from tasks import namespace
from tests.documents import masked
from tests.process import ROOT
from tests.unit.test_summary import CASES, headline, made

GUIDE = (ROOT / "replit.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/alerts_engine_v2.yml").read_text(encoding="utf-8")


def _section(title: str) -> str:
    """The text between a heading and the next of its level."""
    return GUIDE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def _rows(text: str) -> list[list[str]]:
    """The cells of all tables, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(lines) if line.startswith("| ---")}
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for index, line in enumerate(lines)
        if index not in heads and not line.startswith("| ---")
    ]


def _names(rows: list[list[str]]) -> set[str]:
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row[0])}


def test_each_preflight_and_health_code_stands_there_with_its_mend() -> None:
    rows = _rows(_section("Preflight codes")) + _rows(_section("Health codes"))
    assert sorted(rows) == sorted([f"`{code}`", entry.meaning, entry.mend] for code, entry in CODES.items())


def test_each_other_code_of_a_run_stands_there() -> None:
    """Codes are written where findings are made; usage errors explain themselves."""
    found = set()
    of_a_run = ("src/alerts/runner.py", "src/alerts/pipeline.py", "src/alerts/phases/*.py", "src/errors.py")
    for path in (path for pattern in of_a_run for path in ROOT.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding" and node.args:
                found |= {ast.unparse(node.args[0]).removeprefix("f").strip("'\"")}
    found = {code for code in found if re.fullmatch(r"[\w.{}]+", code) and code.islower()}
    templates = {code for code in found if "{" in code}
    named = {code.replace("{name}", name) for code in templates for name in ChannelName}
    assert _names(_rows(_section("Run codes"))) == (found - templates | named) - set(CODES) - {"usage"}


@pytest.mark.parametrize("case", CASES)
def test_each_first_line_that_a_summary_can_have_is_explained(case: str) -> None:
    """But for its numbers. What is added after a dot in the middle has rows of its own, and may change the sign."""
    first, *more = re.sub(r"\d+", "12", headline(made(*CASES[case])).removeprefix("## ")).split(" · ")
    explained = [row[0] for row in _rows(_section("What happened? The job summary"))]
    assert first in explained or (more and first.partition(" ")[2] in [row.partition(" ")[2] for row in explained])
    for addition in more:
        assert any(addition in row for row in explained)


def test_each_field_of_a_summary_is_explained() -> None:
    fields = _rows(_section("What happened? The job summary").split("Below it:")[1])
    explained = " ".join(row[0] for row in fields)
    summary = made().markdown
    for label in re.findall(r"\*\*([A-Z][^*:]+):\*\*|### (\w+)|<summary>([^<]+)</summary>", summary):
        assert "".join(label) in explained or "".join(label) == "Warnings"


def test_secrets_and_variables_are_those_of_the_workflow() -> None:
    needs = _section("What the workflow needs")
    secrets, variables = (_names(_rows(part)) for part in needs.split("| variable |"))
    either = set(re.findall(r"vars\.(\w+) \|\| secrets\.\1\b", WORKFLOW))
    assert secrets == set(re.findall(r"secrets\.(\w+)", WORKFLOW)) - either
    assert variables == set(re.findall(r"vars\.(\w+)", WORKFLOW))


def test_each_task_that_the_guide_tells_to_run_is_there() -> None:
    told = "".join(part for part in GUIDE.split("\n## ") if not part.startswith(("Preflight codes", "Health codes")))
    assert set(re.findall(r"invoke ([a-z.-]+)", told)) <= set(namespace.task_names)


def _masked(value: Any, path: tuple[tuple[Any, Any], ...] = ()) -> Any:
    """A document as its snapshot has it: times and ids replaced by their names."""
    if isinstance(value, dict):
        return {key: _masked(inner, (*path, (key, type(inner)))) for key, inner in value.items()}
    return masked(value, path)


@pytest.mark.parametrize(
    ("flag", "snapshot"), [("preflight", "test_preflight/test_all_well"), ("health", "test_health/test_a_quiet_day")]
)
def test_each_example_is_the_document_that_a_snapshot_locks(flag: str, snapshot: str) -> None:
    example = re.search(rf"`python -m src\.alerts\.runner --{flag}`[^`]*```json\n(.*?)```", GUIDE, re.DOTALL)
    assert example
    locked = (ROOT / f"tests/integration/__snapshots__/{snapshot}.json").read_text(encoding="utf-8")
    assert _masked(json.loads(example[1])) == json.loads(locked)


def test_links_within_the_guide_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", GUIDE, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert all((ROOT / link).exists() for link in links if not link.startswith("#"))
