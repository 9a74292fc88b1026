"""The web application, put together: admin API, dashboard, unsubscribing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import Depends, FastAPI

from src.api import engine, pages, problems
from src.api.boundary import Boundary
from src.api.service import BoundedDatabase, Service, require_token
from src.db.embedded import resolve
from src.errors import Finding
from src.settings import Settings


def system_clock() -> datetime:
    return datetime.now(UTC)


def create_app(
    settings: Settings, warnings: Sequence[Finding] = (), clock: Callable[[], datetime] = system_clock
) -> FastAPI:
    """The app for these settings, which it keeps. Opens no connection before it is asked for something."""
    url = settings.database_url and resolve(settings.database_url)
    service = Service(
        replace(settings, database_url=url), tuple(warnings), BoundedDatabase(url) if url else None, clock
    )
    app = FastAPI(
        title="EnergyRiskIQ alerts engine", version="1", openapi_url=None, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    problems.install(app, [*engine.router.routes, *pages.router.routes])
    pages.install(app)
    app.include_router(engine.router)
    app.add_middleware(Boundary)

    @app.get(f"{engine.PREFIX}/openapi.json", dependencies=[Depends(require_token)], include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    return app
