"""The shapes of answers that are made as documents, for the OpenAPI description (DESIGN 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from src.alerts.engine_observability import RunRecord


@dataclass(frozen=True)
class Runs:
    """The newest first."""

    runs: list[RunRecord]


@dataclass(frozen=True)
class KindCounts:
    """Deliveries of a channel: kind → status → how many."""

    instant: dict[str, int]
    digest: dict[str, int]


@dataclass(frozen=True)
class OldestQueued:
    """Whole minutes; null if nothing is due."""

    deliveries: int | None
    digests: int | None


@dataclass(frozen=True)
class LastRun:
    run_id: str
    phase: str | None
    status: str
    triggered_by: str | None
    started_at: datetime | None
    duration_ms: int | None
    totals: dict[str, int]
    stopped_early: bool
    stop_reason: str | None


@dataclass(frozen=True)
class Health:
    schema_version: int
    generated_at: datetime
    status: Literal["pass", "warn", "fail"]
    deliveries_24h: dict[str, KindCounts]
    digests_7d: dict[str, dict[str, int]]
    oldest_queued_minutes: OldestQueued
    held: int
    stuck_sending: int
    last_run: LastRun | None
    last_success_at: datetime | None
    warnings: list[str]
    errors: list[str]
