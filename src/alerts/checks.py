"""Checks are data: a severity and a question about facts. Each answer carries its mend; rendering is elsewhere.

Facts are gathered before; a check does no I/O, and one whose facts are missing finds nothing. Records here,
in the checks' facts and in the schema's contract are NamedTuples: a dataclass takes four times as long to
make, and preflight and health start every few minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from src.errors import Finding

Facts = TypeVar("Facts")


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Check(NamedTuple, Generic[Facts]):
    """`find` yields what is wrong, nothing if all is well."""

    severity: Severity
    find: Callable[[Facts], Iterable[Finding]]


class Report(NamedTuple):
    errors: list[Finding]
    warnings: list[Finding]


def run_checks(checks: Sequence[Check[Facts]], facts: Facts) -> Report:
    """All of them, in order; the same finding is reported once."""
    report = Report([], [])
    for check in checks:
        findings = report.errors if check.severity is Severity.ERROR else report.warnings
        for finding in check.find(facts):
            if finding not in findings:
                findings.append(finding)
    return report
