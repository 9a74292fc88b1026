"""Errors as `application/problem+json` (RFC 9457), each with the code by which the guide knows it.

Texts say what is wrong and how to mend it; what the client sent is never repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from src.errors import AlertsError, Finding

MEDIA_TYPE = "application/problem+json"
_SHOWN = 10
_TEXTS = {
    404: Finding("http.not_found", "there is nothing at this address"),
    405: Finding("http.method", "this address does not take that method"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """The body of every error. `type` is `about:blank`: `code` says what kind of problem it is."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class ProblemError(HTTPException):
    """Ends a request with this status and finding."""

    def __init__(self, status: int, finding: Finding, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, finding.text, headers)
        self.finding = finding


def problem(status: int, finding: Finding, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = Problem("about:blank", HTTPStatus(status).phrase, status, finding.text, finding.code)
    return JSONResponse(asdict(body), status, headers, MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an operation's errors stand in the OpenAPI document."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
        },
    }
    content = {MEDIA_TYPE: {"schema": schema}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make every error of the app a problem. `routes`: those that may share an address."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        known = error.finding if isinstance(error, ProblemError) else _TEXTS.get(error.status_code)
        allowed = _allowed(request, routes) if error.status_code == 405 else None
        headers = {"Allow": allowed} if allowed else error.headers
        return problem(error.status_code, known or Finding("http.error", error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()[:_SHOWN]]
        return problem(422, Finding("http.invalid", "; ".join(wrong)))

    @app.exception_handler(AlertsError)
    async def unavailable(_: Request, error: AlertsError) -> JSONResponse:
        return problem(503, error.findings[0])


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """The methods of an address; the framework names only those of the first route that leads there."""
    same = [route for route in routes if route.matches(request.scope)[0] is Match.PARTIAL]
    return ", ".join(sorted({method for route in same if isinstance(route, Route) for method in route.methods or ()}))
