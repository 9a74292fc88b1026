"""The fault server as a process of its own, and a handle to steer it: a crash of the tested process leaves it be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from tests.process import ROOT
from tests.providers.answers import Answer

Wanted = str | Answer


@dataclass(frozen=True, slots=True)
class Provider:
    """A running fault server. `url` serves all four APIs."""

    url: str

    @property
    def environ(self) -> dict[str, str]:
        """What leads the real runner here."""
        return {f"{name}_BASE_URL": self.url for name in ("BREVO", "RESEND", "TELEGRAM", "TWILIO")}

    def script(
        self,
        provider: str,
        *following: Wanted,
        default: Wanted = "ok",
        to: Mapping[str, Wanted] | None = None,
        refuse: Sequence[str] = (),
    ) -> None:
        """Answer the next requests with `following`, then all with `default`; see the server's docstring."""
        script = {
            "next": [_json(answer) for answer in following],
            "default": _json(default),
            "to": {destination: _json(answer) for destination, answer in (to or {}).items()},
            "refuse": list(refuse),
        }
        self._call("/control/script", {provider: script})

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """Messages that were taken: `provider`, `key`, `to`, `subject`, `text`, `html`."""
        accepted: list[dict[str, Any]] = self._call("/control/record")["accepted"]
        return accepted

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request: `provider`, `path`, `headers`, `content`, `key`, `at` (monotonic seconds)."""
        requests: list[dict[str, Any]] = self._call("/control/record")["requests"]
        return requests

    def reset(self) -> None:
        """Forget scripts, records and keys."""
        self._call("/control/reset", {})

    def _call(self, path: str, content: object = None) -> Any:
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with closing(connection):
            connection.request("GET" if content is None else "POST", path, json.dumps(content).encode())
            text = connection.getresponse().read()
        return json.loads(text) if text else None


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A fault server on a free port; ended, by its id, at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.providers.server", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            yield Provider(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


def _json(answer: Wanted) -> str | dict[str, Any]:
    return answer if isinstance(answer, str) else answer.to_json()
