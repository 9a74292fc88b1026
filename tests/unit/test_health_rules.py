"""Health's judgement of given facts; what the database says is tested with a database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from src.alerts.checks import run_checks
from src.alerts.health import CHECKS
from src.alerts.health_facts import Facts, LastRun, Schedule, Waiting
from tests.factories import NOW


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


LAST_RUN = LastRun("1", "all", "success", "manual", ago(5), 100, {"sent": 1})
WELL = Facts(
    now=NOW,
    interval=timedelta(minutes=10),
    switched_off=False,
    deliveries=[],
    digests=[],
    waiting={},
    stuck=0,
    last_run=LAST_RUN,
    schedule=Schedule(ago(5), ago(5)),
    stopped=False,
)


def due(minutes: float, queue: str = "deliveries") -> dict[str, Waiting]:
    """A row that has been due for so long."""
    return {queue: Waiting(queue, 0, ago(minutes), ago(minutes))}


def changed(**facts: Any) -> Facts:
    return WELL._replace(**facts)


CASES: dict[str, tuple[Facts, list[str], list[str]]] = {
    "well": (WELL, [], []),
    "stopped": (changed(stopped=True), ["sending.stopped"], []),
    "late": (changed(waiting=due(300)), [], ["sending.late"]),
    "late and stopped": (changed(waiting=due(300), stopped=True), ["sending.stopped"], ["sending.late"]),
    "old digests are not late": (changed(waiting=due(300, "digests")), [], []),
    "15 minutes are not late": (changed(waiting=due(15.5)), [], []),
    "16 minutes are": (changed(waiting=due(16)), [], ["sending.late"]),
    "switched off": (changed(waiting=due(10), switched_off=True), [], ["sending.switched_off"]),
    "switched off for long": (
        changed(waiting=due(300), stopped=True, switched_off=True), [], ["sending.switched_off", "sending.late"],
    ),
    "switched off, nothing due": (changed(switched_off=True), [], []),
    "only held rows": (changed(waiting={"deliveries": Waiting("deliveries", held=3)}), [], []),
    "stuck": (changed(stuck=1), ["sending.stuck"], []),
    "last run failed": (changed(last_run=LAST_RUN._replace(status="failed")), ["run.failed"], []),
    "last run interrupted": (changed(last_run=LAST_RUN._replace(status="interrupted")), [], []),
    "no run for three intervals": (changed(schedule=Schedule(ago(30), None)), [], []),
    "no run for longer": (changed(schedule=Schedule(ago(31), None)), [], ["schedule.no_run"]),
    "no run for longer, by a slower schedule": (
        changed(schedule=Schedule(ago(31), None), interval=timedelta(minutes=60)), [], [],
    ),
    "no run ever": (changed(last_run=None, schedule=Schedule(None, None)), [], ["schedule.no_run"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_state_is_judged_as_promised(case: str) -> None:
    facts, errors, warnings = CASES[case]
    report = run_checks(CHECKS, facts)
    assert [finding.code for finding in report.errors] == errors
    assert [finding.code for finding in report.warnings] == warnings
