"""The three JSON documents of a workflow run → a job summary in Markdown, and annotations. Pure but for `main`.

Each document may be missing, broken or hostile. The first line says what happened, short enough for a
phone; everything is bounded, escaped, and taken from known keys only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.alerts.documents import MAX_BYTES, Document, parse_document
from src.alerts.markdown import annotation
from src.alerts.models import RunStatus
from src.alerts.summary_sections import sections, stop_reason

MAX_ANNOTATIONS = 10  # GitHub shows no more of one level in a step


@dataclass(frozen=True, slots=True)
class Report:
    """What a workflow run left behind. `steps`: the outcome of each step by its id, in GitHub's words."""

    preflight: Document
    run: Document
    health: Document
    steps: Mapping[str, str]

    def findings(self, kind: str) -> list[str]:
        """All `errors` or `warnings`, each once, preflight's first."""
        documents = (self.preflight, self.run, self.health)
        return list(dict.fromkeys(text for document in documents for text in document.texts(kind)))


@dataclass(frozen=True, slots=True)
class Summary:
    markdown: str
    annotations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in a few words; `explains` is the failed step that they speak of."""

    icon: str
    text: str
    explains: str = ""


def summarize(report: Report) -> Summary:
    """A few kilobytes of Markdown, whatever the size of the documents, and workflow commands to match."""
    outcome = _headline(report)
    errors, warnings = report.findings("errors"), report.findings("warnings")
    body = sections(report.preflight, report.run, report.health, errors, warnings)
    if outcome.icon == "❌" and not errors:
        errors = [outcome.text]
    annotations = [annotation("error", text) for text in errors[:MAX_ANNOTATIONS]]
    annotations += [annotation("warning", text) for text in warnings[:MAX_ANNOTATIONS]]
    return Summary("\n\n".join([f"## {outcome.icon} {outcome.text}", *body]) + "\n", tuple(annotations))


def _headline(report: Report) -> Outcome:
    """What happened, and whatever else makes the job red or the service unwell."""
    outcome, health = _outcome(report), report.health.text("status")
    failed = [step for step, result in report.steps.items() if result in ("failure", "cancelled")]
    also = [f"{step} step failed" for step in failed if step != outcome.explains]
    bad = bool(also) or health == "fail"
    also += [f"health: {health}"] if health in ("fail", "warn") else []
    return Outcome("❌" if bad else outcome.icon, " · ".join([outcome.text, *also]))


def _outcome(report: Report) -> Outcome:
    status = report.run.text("status")
    if status in set(RunStatus) - {RunStatus.RUNNING}:
        return _run_outcome(report.run, RunStatus(status))
    if report.steps.get("install") == "failure":
        return Outcome("❌", "Installation failed: nothing was sent", "install")
    if report.steps.get("preflight") in ("failure", "cancelled") or report.preflight.texts("errors"):
        return Outcome("❌", "Preflight failed: nothing was sent", "preflight")
    if report.steps.get("engine") == "skipped":
        return Outcome("❌", "The engine did not start: nothing was sent")
    return Outcome("❌", "No report from the engine: it may have sent messages", "engine")


def _run_outcome(run: Document, status: RunStatus) -> Outcome:
    sent, failed, why = run.count("totals", "sent"), run.count("totals", "failed"), stop_reason(run)
    numbers = f"{sent:,} sent" + (f", {failed:,} failed" if failed else "") + (f", {why}" if why else "")
    match status:
        case RunStatus.DISABLED:
            return Outcome("⏸️", "Switched off: nothing was sent")
        case RunStatus.SKIPPED:
            return Outcome("⏭️", "Skipped: another run is under way")
        case RunStatus.SUCCESS if run.flag("dry_run"):
            return Outcome("🧪", f"Dry run, nothing was sent: {sent:,} would be" + (f", {why}" if why else ""))
        case RunStatus.SUCCESS:
            return Outcome("⚠️" if failed or why else "✅", numbers)
        case _:
            return Outcome("❌", f"Run {status}: {numbers}", "engine")


def _parse_steps(pairs: Sequence[str]) -> dict[str, str]:
    """`["engine=failure"]` as a mapping; anything else is ignored, since a summary has to come out."""
    return {step: outcome for step, _, outcome in (pair.partition("=") for pair in pairs) if step.isalpha()}


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            return parse_document(file.read(MAX_BYTES + 1))
    except OSError:
        return parse_document(None)


def main(arguments: Sequence[str]) -> int:
    """Append the summary of the documents in a directory to a file; annotations go to stdout."""
    parser = argparse.ArgumentParser(prog="python -m src.alerts.summary", description=main.__doc__)
    parser.add_argument("directory", type=Path, help="holds preflight.json, run.json and health.json, or some of them")
    parser.add_argument("--markdown", type=Path, required=True, metavar="FILE", help="such as $GITHUB_STEP_SUMMARY")
    parser.add_argument("--step", action="append", default=[], metavar="ID=OUTCOME", help="such as engine=failure")
    options = parser.parse_args(arguments)
    preflight, run, health = (_read(options.directory / f"{name}.json") for name in ("preflight", "run", "health"))
    summary = summarize(Report(preflight, run, health, _parse_steps(options.step)))
    with options.markdown.open("a", encoding="utf-8") as file:
        file.write(summary.markdown)
    for line in summary.annotations:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
