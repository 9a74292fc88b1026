"""The admin API: what the engine did, how it is, and another chance for what failed. Every route needs the token."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import JSONResponse, PlainTextResponse

from src.alerts import activity as recent
from src.alerts import engine_observability as history
from src.alerts.health import computed, health
from src.alerts.phases.outbound import Queue
from src.alerts.retry_failed import RetryReport, retry_failed
from src.alerts.rollout import Rollout
from src.api import metrics, schemas
from src.api.problems import ProblemError, responses
from src.api.service import Service, TheService, require_token
from src.errors import DatabaseError, Finding

log = logging.getLogger(__name__)

PREFIX = "/internal/alerts/engine"
WEEK_HOURS = 168

router = APIRouter(
    prefix=PREFIX, dependencies=[Depends(require_token)], responses=responses(401, 503), tags=["alerts engine"]
)
SinceHours = Annotated[int, Query(ge=1, le=WEEK_HOURS, description="How many hours to look back")]


@router.get("/runs", responses=responses(422))
def list_runs(service: TheService, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> schemas.Runs:
    """The newest runs."""
    with service.connected.session() as session:
        return schemas.Runs(history.list_runs(session, limit))


@router.get("/runs/{run_id}", responses=responses(404, 422))
def get_run(service: TheService, run_id: Annotated[str, Path(pattern="^[A-Za-z0-9_.:-]{1,100}$")]) -> history.RunDetail:
    """One run with its phases."""
    with service.connected.session() as session:
        detail = history.run_detail(session, run_id)
    if detail is None:
        raise ProblemError(404, Finding("run.unknown", "there is no such run on record"))
    return detail


@router.get("/health", response_model=schemas.Health)
def get_health(service: TheService) -> JSONResponse:
    """The health document."""
    return JSONResponse(_health(service))


@router.get("/activity", responses=responses(422))
def get_activity(service: TheService, hours: SinceHours = 24) -> recent.Activity:
    """What was sent and failed hour by hour, and why what failed did."""
    with service.connected.session() as session:
        return recent.activity(session, service.clock(), hours)


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(service: TheService) -> PlainTextResponse:
    """The same for Prometheus."""
    document = _health(service)
    detail = None
    if document["last_run"]:
        with service.connected.session() as session:
            detail = history.run_detail(session, document["last_run"]["run_id"])
    text = metrics.prometheus_text(document, detail.phases if detail else ())
    return PlainTextResponse(text, media_type=metrics.MEDIA_TYPE)


@router.post("/retry_failed", responses=responses(422))
def post_retry_failed(
    service: TheService, kind: Queue, since_hours: SinceHours = 24, execute: bool = False
) -> RetryReport:
    """Count what failed for transient reasons; with `execute`, queue it again."""
    since = timedelta(hours=since_hours)
    with service.connected.session() as session:
        report = retry_failed(session, service.settings, kind, since, service.clock(), execute=execute)
    if execute:
        log.info("%d %s queued again", report.requeued, kind)
    return report


def _health(service: Service) -> dict[str, Any]:
    """The document; DatabaseError if it could not be computed."""
    settings = service.settings
    rollout = Rollout.combine(settings.allowlist, settings.max_send_per_run)
    document = health(settings, [], list(service.warnings), rollout, service.clock(), service.connected)
    if not computed(document):
        code, _, text = document["errors"][0].partition(": ")
        raise DatabaseError(Finding(code, text))
    return document
