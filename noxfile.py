"""Test sessions: `nox` runs the default ones, `nox -l` lists all, `nox -s NAME -- ARGUMENTS` runs one.

Each session installs its pinned requirements into an environment of its own, on the Python that runs
nox; `--force-python 3.14` takes another one.
"""

from __future__ import annotations

import signal
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True

COMPILE = ("uv", "pip", "compile", "--universal", "--python-version=3.11", "--generate-hashes", "--quiet")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-r", "requirements-dev.txt")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Rules without any I/O."""
    session.install("-r", "requirements-dev.txt")
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
def contracts(session: nox.Session) -> None:
    """Our requests against servers and official SDKs that nobody here wrote, from the registries."""
    if not Path("tests/contracts").is_dir():
        session.skip("there are no contract tests")
    session.install("-r", "requirements-dev.txt")
    session.install("-r", "requirements-contracts.txt")
    session.run("pytest", "tests/contracts", *session.posargs)


@nox.session
def workflow(session: nox.Session) -> None:
    """The GitHub workflows: linted, and the engine's really run."""
    session.install("-r", "requirements-dev.txt")
    session.install("-r", "requirements-workflow.txt")
    session.run("pytest", "tests/workflow", *session.posargs)


@nox.session
def admin(session: nox.Session) -> None:
    """The admin API against its OpenAPI description, and the dashboard in a browser (chromium)."""
    session.install("-r", "requirements-dev.txt")
    session.install("-r", "requirements-admin.txt")
    session.run("pytest", "-p", "no:schemathesis", "tests/admin", *session.posargs)


@nox.session
def integration(session: nox.Session) -> None:
    """Database, HTTP and the real process: TEST_DATABASE_URL, else Docker, else the embedded server.

    `-- --db compose|embedded|url` forces one; further arguments go to pytest.
    """
    session.install("-r", "requirements-dev.txt")
    # A terminated nox ends as after Ctrl-C, so that the container is removed in both cases.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session.run("python", "-m", "tests.on_database", *session.posargs, terminate_timeout=60)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Speed as ratios in one run, written to benchmarks/RESULTS.md."""
    # pip compiles what it installs, uv does not unless it is told to.
    compiled = {"UV_COMPILE_BYTECODE": "1"}
    session.install("-r", "requirements-dev.txt", "-r", "requirements-bench.txt", env=compiled)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def requirements(session: nox.Session) -> None:
    """Compile the pinned requirements from pyproject.toml; `-- --upgrade` looks for newer versions."""
    session.install("nox[uv]")
    session.run(*COMPILE, "pyproject.toml", "--output-file=requirements.txt", *session.posargs)
    api = ("--extra=api", "--constraint=requirements.txt", "--output-file=requirements-api.txt")
    session.run(*COMPILE, "pyproject.toml", *api, *session.posargs)
    dev = ("--extra=api", "--extra=dev", "--constraint=requirements-api.txt", "--output-file=requirements-dev.txt")
    session.run(*COMPILE, "pyproject.toml", *dev, *session.posargs)
    admin = ("--constraint=requirements-dev.txt", "--output-file=requirements-admin.txt")
    session.run(*COMPILE, "requirements-admin.in", *admin, *session.posargs)
    workflow = ("--constraint=requirements-dev.txt", "--output-file=requirements-workflow.txt")
    session.run(*COMPILE, "requirements-workflow.in", *workflow, *session.posargs)
    bench = ("--constraint=requirements-dev.txt", "--output-file=requirements-bench.txt")
    session.run(*COMPILE, "requirements-bench.in", *bench, *session.posargs)
    contracts = ("--constraint=requirements-dev.txt", "--output-file=requirements-contracts.txt")
    session.run(*COMPILE, "requirements-contracts.in", *contracts, *session.posargs)
