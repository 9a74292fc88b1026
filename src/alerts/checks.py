"""Checks are data: a severity and a question about facts. Each answer carries its mend; rendering is elsewhere.

Facts are gathered before; a check does no I/O, and one whose facts are missing finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from src.errors import Finding

Facts = TypeVar("Facts")


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Check(Generic[Facts]):
    """`find` yields what is wrong, nothing if all is well."""

    severity: Severity
    find: Callable[[Facts], Iterable[Finding]]


@dataclass(slots=True)
class Report:
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def run_checks(checks: Sequence[Check[Facts]], facts: Facts) -> Report:
    """All of them, in order; the same finding is reported once."""
    report = Report()
    for check in checks:
        findings = report.errors if check.severity is Severity.ERROR else report.warnings
        for finding in check.find(facts):
            if finding not in findings:
                findings.append(finding)
    return report
