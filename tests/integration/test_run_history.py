"""Every run leaves its rows; a run that was killed is marked by the next one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from src.alerts import engine_observability as history
from src.alerts.models import Phase, PhaseResult, RunStatus
from src.db.connection import Database, Session
from src.db.locks import RunLocks
from tests.factories import NOW, World
from tests.process import Runner

RUN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as session:
        yield session


def start(session: Session, run_id: str = RUN, minutes: int = 0) -> None:
    history.start_run(
        session,
        run_id=run_id,
        phase="all",
        triggered_by="manual",
        started_at=NOW + timedelta(minutes=minutes),
        git_sha="abc",
        actor="ada",
        rollout={"allowlist_active": False, "max_send_per_run": 10},
    )


def finish(session: Session, run_id: str = RUN, error_summary: str | None = None) -> None:
    history.finish_run(
        session,
        run_id=run_id,
        finished_at=NOW + timedelta(seconds=2),
        duration_ms=2000,
        status=RunStatus.FAILED if error_summary else RunStatus.SUCCESS,
        counts={"sent": 1},
        error_summary=error_summary,
    )


def test_a_run_is_on_record_from_its_start_to_its_end(session: Session) -> None:
    start(session)
    (running,) = history.list_runs(session, 10)
    assert (running.status, running.finished_at, running.counts) == ("running", None, None)
    result = PhaseResult(Phase.SEND, RunStatus.FAILED, NOW, 1500, {"deliveries": {"sent": 1}}, "channel.halted: mend")
    history.finish_phase(session, RUN, PhaseResult(Phase.DIGEST, started_at=NOW), NOW)
    history.finish_phase(session, RUN, result, NOW + timedelta(seconds=1))
    finish(session)
    detail = history.run_detail(session, RUN)
    assert detail is not None
    assert detail.run == history.RunRecord(
        run_id=RUN,
        phase="all",
        dry_run=False,
        triggered_by="manual",
        actor="ada",
        git_sha="abc",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        duration_ms=2000,
        status="success",
        counts={"sent": 1},
        error_summary=None,
        rollout={"allowlist_active": False, "max_send_per_run": 10},
    )
    assert [(phase.phase, phase.status) for phase in detail.phases] == [("d", "success"), ("c", "failed")]
    assert detail.phases[1] == history.PhaseRecord(
        phase="c",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1),
        duration_ms=1500,
        status="failed",
        counts={"deliveries": {"sent": 1}},
        error_summary="channel.halted: mend",
    )


def test_a_run_that_is_not_there_has_no_details(session: Session) -> None:
    assert history.run_detail(session, RUN) is None


def test_the_newest_runs_come_first_and_no_more_than_asked_for(session: Session) -> None:
    for number in range(5):
        start(session, f"run-{number}", minutes=number)
    assert [run.run_id for run in history.list_runs(session, 3)] == ["run-4", "run-3", "run-2"]


@pytest.mark.parametrize("length", [2000, 2001, 100_000])
def test_a_long_error_is_cut_and_says_so(session: Session, length: int) -> None:
    text = "é" * length
    start(session)
    history.finish_phase(session, RUN, PhaseResult(Phase.SEND, started_at=NOW, error=text), NOW)
    finish(session, error_summary=text)
    detail = history.run_detail(session, RUN)
    assert detail is not None
    for summary in (detail.run.error_summary, detail.phases[0].error_summary):
        assert summary is not None
        assert len(summary) == 2000
        assert (summary == text) == (length == 2000)
        assert summary.endswith(" … (cut)") == (length > 2000)


def test_a_run_whose_lock_is_gone_is_marked_failed_and_a_live_one_is_not(
    session: Session, database: Database, world: World
) -> None:
    """Its own record is left alone, and so are those that have ended."""
    for run_id in ("gone", "alive", "own", "ended"):
        start(session, run_id)
    finish(session, "ended")
    with RunLocks(database, "alive"), RunLocks(database, "own") as locks:
        assert history.close_dead_runs(session, locks, NOW + timedelta(hours=1), "own") == 1
        assert history.close_dead_runs(session, locks, NOW + timedelta(hours=2), "own") == 0
    statuses = {row["run_id"]: row["status"] for row in world.rows("SELECT run_id, status FROM alerts_engine_runs")}
    assert statuses == {"gone": "failed", "alive": "running", "own": "running", "ended": "success"}
    (gone,) = [run for run in history.list_runs(session, 10) if run.run_id == "gone"]
    assert gone.finished_at == NOW + timedelta(hours=1)
    assert str(gone.error_summary).startswith("run.gone: ")


def test_a_real_run_leaves_its_rows_and_a_dry_run_none(runner: Runner, world: World) -> None:
    world.news()
    world.user()
    at = ("--phase", "all", "--log-json", "--now", NOW.isoformat())
    runner.run(*at, "--dry-run")
    assert world.count("alerts_engine_runs") == world.count("alerts_engine_run_items") == 0
    environ = {"GITHUB_SHA": "f00", "GITHUB_ACTOR": "ada", "GITHUB_EVENT_NAME": "schedule"}
    document = runner.run(*at, "--max-send", "5", **environ).document
    (run,) = world.rows("SELECT * FROM alerts_engine_runs")
    assert (run["run_id"], run["status"], run["phase"]) == (document["run_id"], "success", "all")
    assert (run["git_sha"], run["actor"], run["triggered_by"]) == ("f00", "ada", "github_actions_schedule")
    assert run["rollout"] == {"allowlist_active": False, "max_send_per_run": 5}
    assert {**document["totals"], **run["counts"]} == run["counts"]
    items = world.rows("SELECT phase, status, counts FROM alerts_engine_run_items ORDER BY id")
    assert [item["phase"] for item in items] == ["a", "b", "d", "c"]
    assert [item["counts"] for item in items] == [phase["counts"] for phase in document["phases"]]


def test_a_run_that_fails_is_on_record_with_its_reason(runner: Runner, world: World) -> None:
    world.execute("DROP TABLE asset_risk")
    document = runner.run("--phase", "a", "--log-json").document
    assert document["status"] == "failed"
    (run,) = world.rows("SELECT status, error_summary FROM alerts_engine_runs")
    assert run == {"status": "failed", "error_summary": "; ".join(document["errors"])}


def test_a_history_that_cannot_be_written_does_not_end_the_run(runner: Runner, world: World) -> None:
    world.execute("DROP TABLE alerts_engine_run_items, alerts_engine_runs")
    world.news(at=NOW)
    finished = runner.run("--phase", "all", "--log-json", "--now", NOW.isoformat())
    assert (finished.exit_code, finished.document["status"]) == (0, "success")
    assert [warning.partition(":")[0] for warning in finished.document["warnings"]] == ["history.not_written"]
    assert world.count("alert_events") == 1
