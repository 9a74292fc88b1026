"""The engine works on every PostgreSQL that is installed here: migrate, preflight, run, health."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server, new_directory, start_embedded
from tests.factories import World
from tests.integration.busy import BusyRun
from tests.process import Runner
from tests.providers.process import Provider

DEBIAN = {
    place.parent.name: place for place in Path("/usr/lib/postgresql").glob("*/bin") if (place / "initdb").exists()
}


@contextmanager
def debian_server(programs: Path) -> Iterator[Server]:
    """A server of Debian's package, as somebody else where we are root, on a socket of its own."""
    directory = Path(new_directory())
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(directory, user)

    def execute(*command: object) -> None:
        with (directory / "out").open("ab") as out:  # no pipes: the server would keep them open
            subprocess.run(list(map(str, command)), check=True, user=user, cwd=directory, stdout=out, stderr=out)

    data = directory / "data"
    execute(programs / "initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres", "--no-sync", data)
    options = f"-c listen_addresses='' -c fsync=off -k {directory}"
    execute(programs / "pg_ctl", "--wait", "-D", data, "-o", options, "-l", directory / "log", "start")
    try:
        yield Server(f"postgresql://postgres@/postgres?host={directory}", "Debian's")
    finally:
        execute(programs / "pg_ctl", "--wait", "-D", data, "--mode=immediate", "stop")


def assert_engine_works(server: Server, provider: Provider, directory: Path) -> None:
    with server.new_database() as name:
        database = Database(Secret(server.url_of(name)))
        migrate.apply(database)
        with database.session() as session:
            busy = BusyRun(World(session), Runner(directory, {"DATABASE_URL": server.url_of(name)}), provider)
            busy.populate()
            preflight = busy.runner.run("--preflight", ALERTS_TRANSPORT="outbox")
            assert (preflight.exit_code, preflight.document["errors"]) == (0, [])
            busy.assert_rerun_completes()
            assert busy.runner.run("--health", ALERTS_TRANSPORT="outbox").document["status"] == "pass"


@pytest.mark.parametrize("version", sorted(DEBIAN))
def test_debians_server(version: str, provider: Provider, tmp_path: Path) -> None:
    with debian_server(DEBIAN[version]) as server:
        assert_engine_works(server, provider, tmp_path)


def test_the_embedded_servers_older_version(provider: Provider, tmp_path: Path) -> None:
    assert_engine_works(start_embedded(16), provider, tmp_path)
