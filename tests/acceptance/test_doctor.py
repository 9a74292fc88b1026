"""`invoke doctor` on work places of every kind: what it finds, and the mend under it."""

from __future__ import annotations

import socket
from contextlib import closing

from src.ops.doctor import SERVE_PORT
from tests.process import Finished, Runner

MODULE = "src.ops.doctor"


def doctor(runner: Runner, **environ: str) -> Finished:
    return runner.run(module=MODULE, COLUMNS="120", **environ)


def test_every_finding_has_its_mend(runner: Runner) -> None:
    lines = doctor(runner).stdout.splitlines()
    assert lines[0].startswith("✓ Python 3.")
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        assert line.startswith(("✓ ", "    ")) or below.startswith("    "), line


def test_a_wrong_variable_is_an_error_that_names_it_and_not_its_value(runner: Runner) -> None:
    done = doctor(runner, ALERTS_MAX_SEND_PER_RUN="many-secrets")
    assert done.exit_code == 1
    assert "✗ config.invalid\n    ALERTS_MAX_SEND_PER_RUN" in done.stdout
    assert "many-secrets" not in done.stdout + done.stderr


def test_missing_variables_of_a_channel_are_named(runner: Runner) -> None:
    done = doctor(runner, ALERTS_TRANSPORT="live", EMAIL_PROVIDER="resend", RESEND_API_KEY="re_secret")
    assert "! email is not configured\n    set EMAIL_FROM\n" in done.stdout
    assert "re_secret" not in done.stdout


def test_the_env_file_is_read_and_should_be_private(runner: Runner) -> None:
    file = runner.directory / ".env"
    file.write_text("ALERTS_TIMEZONE=Mars/Olympus\n")
    file.chmod(0o644)
    done = doctor(runner)
    assert "! .env can be read by others\n    chmod 600 .env" in done.stdout
    assert "! config.timezone_unknown" in done.stdout
    file.chmod(0o600)
    assert "✓ .env is there" in doctor(runner).stdout


def test_a_port_that_is_taken_is_told(runner: Runner) -> None:
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", SERVE_PORT))
        except OSError:
            pass  # somebody has it: as good
        else:
            other.listen()
        assert f"! port {SERVE_PORT} is taken\n    invoke serve --port" in doctor(runner).stdout


def test_no_docker_is_no_error(runner: Runner) -> None:
    done = doctor(runner, DOCKER_HOST="tcp://127.0.0.1:1")
    assert "! no Docker engine answers\n    " in done.stdout
