"""The admin API on loopback: in this process, with a clock of the test's own, or as the real server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection
from typing import Any

import uvicorn

from src.api.app import create_app
from src.errors import Finding
from src.settings import Secret, Settings
from tests.factories import NOW
from tests.process import Runner

TOKEN = "a-token-for-tests"
LINK_SECRET = "a-link-secret-for-tests"
ENGINE = "/internal/alerts/engine"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Client:
    """One request at a time, each on a connection of its own; `ENGINE` stands before paths without a slash."""

    host: str
    port: int
    token: str | None = TOKEN

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        given = {"x-internal-token": self.token} if self.token is not None else {}
        connection = HTTPConnection(self.host, self.port, timeout=30)
        try:
            target = path if path.startswith("/") else f"{ENGINE}/{path}"
            connection.request(method, target, headers=given | dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("GET", path, headers)

    def post(self, path: str) -> Answer:
        return self.ask("POST", path)


def api_settings(database_url: str | None, **changes: Any) -> Settings:
    """Settings of a server that has a token and makes links; messages go to files."""
    values = {
        "database_url": Secret(database_url) if database_url else None,
        "transport": "outbox",
        "public_url": "https://alerts.example.com",
        "secrets": {"INTERNAL_RUNNER_TOKEN": Secret(TOKEN), "ALERTS_LINK_SECRET": Secret(LINK_SECRET)},
    }
    return Settings(**{**values, **changes})


@contextmanager
def serving(settings: Settings, *, warnings: tuple[Finding, ...] = (), now: datetime = NOW) -> Iterator[Client]:
    """The app in a thread of this process, at the time `now`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings, warnings, lambda: now)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Client(*listener.getsockname()[:2])
        finally:
            server.should_exit = True
            thread.join(10)


@dataclass(slots=True)
class Served:
    """The real server. `log` grows with what it writes to stderr."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def client(self, token: str | None = TOKEN) -> Client:
        """Wait for the server to say where it listens."""
        for line in self.process.stderr or ():
            self.log.append(line)
            if found := re.search(r"serving http://(\[.*\]|[^:]*):(\d+)/", line):
                self._reader = threading.Thread(target=self.log.extend, args=(self.process.stderr,))
                self._reader.start()
                return Client(found[1].strip("[]"), int(found[2]), token)
        raise AssertionError(f"it ended: {''.join(self.log)}")

    def ended(self, timeout: float = 20) -> int:
        """Wait for the end: the exit code."""
        code = self.process.wait(timeout)
        if self._reader:
            self._reader.join()
        return code


@contextmanager
def served(runner: Runner, *arguments: str, **environ: str) -> Iterator[Served]:
    """`python -m src.api.serve` on a free port, killed at the end of the block if it still runs."""
    variables = {"INTERNAL_RUNNER_TOKEN": TOKEN, "ALERTS_LINK_SECRET": LINK_SECRET, **environ}
    process = runner.start("--port", "0", *arguments, module="src.api.serve", **variables)
    server = Served(process)
    try:
        yield server
    finally:
        process.kill()
        server.ended()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
