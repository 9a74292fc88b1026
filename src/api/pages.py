"""The dashboard and the unsubscribe pages: static files, the same for everybody, without any data in them.

The dashboard asks for the token and fetches its numbers from the API. Unsubscribing takes a POST: a GET
only shows a button, because scanners of mail follow links.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from src.alerts.unsubscribe import PATH, Subscription, read_token, switch_off
from src.api.engine import PREFIX
from src.api.problems import ProblemError, responses
from src.api.service import Service, TheService
from src.errors import Finding

_DIRECTORY = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_DASHBOARD = ("dashboard.css", "dashboard.js", "sections.js", "charts.js", "elements.js", "icon.svg")
_FILES = {
    f"{PREFIX}/": "dashboard.html",
    **{f"{PREFIX}/{name}": name for name in _DASHBOARD},
    f"{PATH}/page.css": "page.css",
}

router = APIRouter(prefix=PATH, tags=["unsubscribing"], default_response_class=HTMLResponse)


def install(app: FastAPI) -> None:
    """Add the files, then the routes that would take their names for tokens."""
    for address, name in _FILES.items():
        _add_file(app, address, name)

    @app.get(PREFIX, include_in_schema=False)
    async def to_dashboard() -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/")

    app.include_router(router)


def _add_file(app: FastAPI, address: str, name: str) -> None:
    file = _file(name)

    @app.get(address, include_in_schema=False)
    async def serve() -> Response:
        return file


def _file(name: str, status: int = 200) -> Response:
    path = _DIRECTORY / name
    return Response(path.read_bytes(), status, media_type=_MEDIA_TYPES[path.suffix])


@router.get(
    "/{token}", responses=responses(422) | {404: {"description": "Not a link of ours", "content": {"text/html": {}}}}
)
async def show_button(service: TheService, token: str) -> Response:
    """A page with a button; changes nothing."""
    return _file("unsubscribe.html") if _subscription(service, token) else _file("unknown_link.html", 404)


@router.post("/{token}", responses=responses(404, 422, 503))
def unsubscribe(service: TheService, token: str) -> Response:
    """Switch the channel of the link off (RFC 8058, one click; any number of times)."""
    subscription = _subscription(service, token)
    if subscription is None:
        raise ProblemError(
            404, Finding("unsubscribe.unknown_link", "this is not a link of ours: use the one in the mail")
        )
    with service.connected.session() as session:
        switch_off(session, subscription)
    return _file("unsubscribed.html")


def _subscription(service: Service, token: str) -> Subscription | None:
    secret = service.settings.secrets.get("ALERTS_LINK_SECRET")
    return None if secret is None else read_token(secret, token)
