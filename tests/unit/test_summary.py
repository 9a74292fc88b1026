"""The job summary: what it says of every kind of run, and what no document can make it do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from src.alerts.documents import MAX_BYTES, Document, parse_document
from src.alerts.summary import MAX_ANNOTATIONS, Report, Summary, main, summarize

PREFLIGHT = {
    "schema_version": 1,
    "db_ok": True,
    "migrations_ok": True,
    "channels_configured": {"email": True, "telegram": False, "sms": False},
    "rollout": {
        "phase": "all",
        "dry_run": False,
        "allowlist_active": False,
        "users_eligible": 8412,
        "users_total": 8412,
        "max_send_per_run": 1000,
    },
    "warnings": ["telegram.not_configured: set TELEGRAM_BOT_TOKEN to send Telegram messages"],
    "errors": [],
}
RUN = {
    "schema_version": 1,
    "run_id": "5d0c2b6e-0000-4000-8000-000000000001",
    "status": "success",
    "phase": "all",
    "dry_run": False,
    "started_at": "2026-01-16T12:31:10Z",
    "duration_ms": 2210,
    "rollout": {"allowlist_active": False, "max_send_per_run": 1000},
    "recipients": None,
    "phases": [
        {"phase": "a", "status": "success", "duration_ms": 40, "counts": {"events_created": {"HIGH_IMPACT_EVENT": 1}}},
        {
            "phase": "b",
            "status": "success",
            "duration_ms": 90,
            "counts": {"events_processed": 1, "users_considered": 8412},
        },
        {"phase": "d", "status": "success", "duration_ms": 30, "counts": {"digests_created": 3}},
        {
            "phase": "c",
            "status": "success",
            "duration_ms": 2040,
            "counts": {
                "deliveries": {"queued_selected": 10, "sent": 9, "failed": 0, "retried": 1, "skipped_expired": 1},
                "digests": {"queued_selected": 3, "sent": 3, "failed": 0, "retried": 0, "skipped_expired": 0},
                "by_channel": {"email": {"sent": 12, "failed": 0}},
                "halted_channels": [],
                "stopped_early": False,
                "stop_reason": None,
            },
        },
    ],
    "totals": {"sent": 12, "failed": 0, "retried": 1, "skipped": 1},
    "stopped_early": False,
    "stop_reason": None,
    "warnings": [],
    "errors": [],
}
HEALTH = {
    "schema_version": 1,
    "generated_at": "2026-01-16T12:31:12Z",
    "status": "pass",
    "deliveries_24h": {
        "email": {
            "instant": {"queued": 0, "sending": 0, "sent": 12, "failed": 0, "skipped": 1},
            "digest": {"queued": 3, "batched": 9},
        }
    },
    "digests_7d": {"email": {"queued": 1, "sending": 0, "sent": 31, "failed": 0, "skipped": 0}},
    "oldest_queued_minutes": {"deliveries": None, "digests": 12},
    "held": 0,
    "stuck_sending": 0,
    "last_run": {"run_id": "5d0c2b6e-0000-4000-8000-000000000001", "status": "success"},
    "last_success_at": "2026-01-16T12:31:12Z",
    "warnings": [],
    "errors": [],
}
GOOD = {"install": "success", "preflight": "success", "engine": "success", "health": "success"}
MISSING = parse_document(None)


class MarkdownExtension(SingleFileSnapshotExtension):
    """One `.md` file for each snapshot, so that a review sees it rendered."""

    file_extension = "md"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def snapshot_md(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(MarkdownExtension)


def changed(document: Mapping[str, Any], **changes: Any) -> Document:
    return Document({**deepcopy(dict(document)), **changes})


def made(documents: Mapping[str, Document] | None = None, steps: Mapping[str, str] | None = None) -> Summary:
    """The summary of a good run, but for what is given."""
    given = {"preflight": Document(PREFLIGHT), "run": Document(RUN), "health": Document(HEALTH), **(documents or {})}
    return summarize(Report(given["preflight"], given["run"], given["health"], {**GOOD, **(steps or {})}))


def headline(summary: Summary) -> str:
    return summary.markdown.splitlines()[0]


RECIPIENTS = [{"user_id": 4211, "channel": "email", "instants": 3, "digests": 1}]
FAILED = ["email.credentials: the provider refused the key: renew BREVO_API_KEY"]
CASES: dict[str, tuple[dict[str, Document], dict[str, str]]] = {
    "good": ({}, {}),
    "capped": ({"run": changed(RUN, stopped_early=True, stop_reason="max_send")}, {}),
    "dry": ({"run": changed(RUN, dry_run=True)}, {}),
    "allowlist": (
        {
            "preflight": changed(
                PREFLIGHT, rollout={**PREFLIGHT["rollout"], "allowlist_active": True, "users_eligible": 1}
            ),
            "run": changed(RUN, recipients=RECIPIENTS, rollout={"allowlist_active": True, "max_send_per_run": 10}),
        },
        {},
    ),
    "halted": (
        {"run": changed(RUN, status="failed", stop_reason="channel_halted", errors=FAILED)},
        {"engine": "failure"},
    ),
    "interrupted": (
        {"run": changed(RUN, status="interrupted", stopped_early=True, stop_reason="signal")},
        {"engine": "cancelled"},
    ),
    "switched_off": ({"run": changed(RUN, status="disabled", phases=[], totals={})}, {}),
    "lock_held": ({"run": changed(RUN, status="skipped", phases=[], totals={})}, {}),
    "unwell": (
        {"health": changed(HEALTH, status="fail", stuck_sending=4, errors=["health.stuck: wait for the next run"])},
        {},
    ),
    "preflight_failed": (
        {
            "preflight": changed(PREFLIGHT, db_ok=False, errors=["database.unreachable: check DATABASE_URL"]),
            "run": MISSING,
        },
        {"preflight": "failure", "engine": "skipped"},
    ),
    "no_report": ({"run": parse_document(b'{"schema_version":1,"run_id"')}, {"engine": "failure"}),
    "nothing_installed": (
        {"preflight": MISSING, "run": MISSING, "health": MISSING},
        {"install": "failure", "preflight": "skipped", "engine": "skipped", "health": "skipped"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_run_reads_as_reviewed(case: str, snapshot_md: SnapshotAssertion) -> None:
    summary = made(*CASES[case])
    annotations = "\n".join(summary.annotations)
    assert snapshot_md == f"{summary.markdown}\n<!-- annotations\n{annotations}\n-->\n"


@pytest.mark.parametrize("case", CASES)
def test_the_first_line_fits_on_a_phone(case: str) -> None:
    assert len(headline(made(*CASES[case]))) <= 72


def test_a_failed_run_without_findings_is_annotated_by_its_first_line() -> None:
    summary = made({"run": MISSING}, {"engine": "failure"})
    assert summary.annotations[0] == (
        "::error title=Alerts engine::No report from the engine: it may have sent messages"
    )


def test_a_step_that_failed_after_a_good_run_is_named_in_the_first_line() -> None:
    assert headline(made(steps={"health": "failure"})) == "## ❌ 12 sent · health step failed"


def test_a_run_that_never_ended_is_no_report() -> None:
    assert "No report" in headline(made({"run": changed(RUN, status="running")}))


HOSTILE = (
    "x.y: a | b <script>alert(1)</script>\n::error::pwned\r\n##[add-mask]x"
    " [l](javascript:0) ![i](//h) `c` $x$ \\| </details>"
    "\u2028\u202e\x1b[31m"
)


def test_data_cannot_build_structure_or_commands() -> None:
    """Pipes, tags, line ends, links, code, mathematics, bidirectional marks and workflow commands show as text."""
    hostile = changed(
        PREFLIGHT, warnings=[HOSTILE], errors=[HOSTILE + "2"], rollout={"users_total": "| <b>", "max_send_per_run": [1]}
    )
    run = changed(RUN, run_id=HOSTILE, started_at=HOSTILE, recipients=[{"user_id": HOSTILE, "channel": HOSTILE}])
    health = changed(HEALTH, status=HOSTILE, deliveries_24h={HOSTILE: HOSTILE})
    summary = made({"preflight": hostile, "run": run, "health": health})
    outside = re.sub(r"</?(details|summary)>", "", summary.markdown)
    assert "<" not in outside
    assert "\u202e" not in outside
    assert "\x1b" not in outside
    assert "[l]" not in outside
    assert not [line for line in outside.splitlines() if line.startswith(("::", "##["))]
    assert len(summary.annotations) == 2
    for line in summary.annotations:
        assert re.fullmatch(r"::(error|warning) title=Alerts engine::[^\r\n\x1b\u2028\u202e]+", line)


def test_a_percent_sign_cannot_smuggle_a_line_end_into_an_annotation() -> None:
    summary = made({"preflight": changed(PREFLIGHT, warnings=["a.b: %0A::error::x"])})
    assert summary.annotations == ("::warning title=Alerts engine::a.b: %250A::error::x",)


@pytest.mark.parametrize(
    "private",
    [
        "anna@example.com",
        "postgresql://app:hunter2@db:5432/alerts",
        "+31 6 1234 5678",
        "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    ],
)
def test_what_looks_private_is_masked_wherever_text_is_shown(private: str) -> None:
    preflight = changed(PREFLIGHT, warnings=[f"a.b: about {private}"], note=private)
    run = changed(RUN, run_id=private, errors=[f"no code, {private} alone"])
    summary = made({"preflight": preflight, "run": run})
    assert private not in summary.markdown + "".join(summary.annotations)


def test_the_mend_of_a_bad_connection_string_stays_readable() -> None:
    mend = "database.url_invalid: use postgresql://user@host:5432/name"
    assert "postgresql://user@host:5432/name" in made({"preflight": changed(PREFLIGHT, errors=[mend])}).markdown


def test_giant_documents_make_a_small_summary() -> None:
    wide = {f"key{n}": {f"deep{m}": m for m in range(100)} for n in range(1000)}
    text = "a.b: " + "<|&" * 100_000
    giant = {
        **RUN,
        "warnings": [f"{n}{text}" for n in range(50)],
        "errors": [f"{text}{n}" for n in range(5000)],
        "recipients": [{"user_id": n, "channel": "email", "note": "x" * 100} for n in range(100_000)],
        "phases": [{"phase": letter, "status": text, "counts": wide} for letter in "abcd"] * 100,
    }
    health = Document({**HEALTH, **wide, "status": text})
    summary = made({"preflight": Document(giant), "run": Document(giant), "health": health})
    assert len(summary.markdown.encode()) < 200_000
    assert len(summary.annotations) == 2 * MAX_ANNOTATIONS
    assert max(map(len, summary.annotations)) < 600


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.data())
def test_no_shape_of_document_breaks_it(data: st.DataObject) -> None:
    """Any value may stand anywhere: at a known key of a real document, or instead of the document."""
    documents = {}
    for name, template in (("preflight", PREFLIGHT), ("run", RUN), ("health", HEALTH)):
        document: dict[str, Any] = deepcopy(template)
        for key in data.draw(st.lists(st.sampled_from(sorted(document)), max_size=4)):
            inner = document[key]
            if isinstance(inner, dict) and inner and data.draw(st.booleans()):
                inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
            else:
                document[key] = data.draw(JSON)
        documents[name] = Document(document)
    summary = made(documents)
    assert headline(summary).startswith("## ")


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, "missing"),
        (b"", "missing"),
        (b" \n", "missing"),
        (b'{"a":', "broken"),
        (b"[]", "broken"),
        (b"\xff\xfe", "broken"),
        (b"[" * 200_000, "broken"),
        (b'{"a":' + b"9" * 5000 + b"}", "broken"),
        (b'{"a":"' + b"x" * MAX_BYTES + b'"}', "broken"),
        (b"Traceback (most recent call last):", "broken"),
        (b'{"a":1}\n', "present"),
    ],
)
def test_a_file_reads_as_present_missing_or_broken(content: bytes | None, state: str) -> None:
    assert parse_document(content).state == state


@pytest.mark.parametrize("value", [True, "7", None, [], {}, float("nan"), float("inf"), 10**400, -(10**400)])
def test_only_numbers_count_as_numbers(value: Any) -> None:
    assert Document({"n": value}).number("n") is None


def test_the_command_appends_markdown_and_prints_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "preflight.json").write_text(json.dumps(PREFLIGHT))
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    target = tmp_path / "summary.md"
    target.write_text("before\n")
    assert main([str(tmp_path), "--markdown", str(target), "--step", "engine=success", "--step", "health=failure"]) == 0
    assert target.read_text().startswith("before\n## ❌ 12 sent · health step failed\n")
    assert "health missing" in target.read_text()
    assert capsys.readouterr().out == (
        "::error title=Alerts engine::12 sent · health step failed\n"
        "::warning title=Alerts engine::telegram.not_configured: set TELEGRAM_BOT_TOKEN to send Telegram messages\n"
    )
