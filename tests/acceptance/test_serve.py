"""The real server: where it listens, what it logs, how it ends."""

from __future__ import annotations

import signal
import socket
import threading
import time
from dataclasses import replace

import pytest

from tests.factories import World
from tests.process import Runner
from tests.serving import LINK_SECRET, TOKEN, served


def test_it_serves_on_loopback_and_logs_neither_tokens_nor_addresses(runner: Runner) -> None:
    with served(runner, ALERTS_LOG_LEVEL="debug") as server:
        client = server.client()
        assert client.host == "127.0.0.1"
        assert client.get("health").document["status"] == "warn"
        assert client.get("").status == 200
        assert replace(client, token="pasted-secret").get("runs").status == 401
        assert client.get("runs?token=pasted-secret").status == 200
        assert client.get("/alerts/unsubscribe/pasted-secret").status == 404
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 143
        log = "".join(server.log)
    assert "GET /internal/alerts/engine/runs 401" in log
    assert "GET /alerts/unsubscribe/{token} 404" in log
    assert not [secret for secret in (TOKEN, LINK_SECRET, "pasted-secret", "postgres:") if secret in log]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_requests_end_and_the_exit_code_names_it(
    runner: Runner, world: World, number: signal.Signals, code: int
) -> None:
    """The request under way waits for a lock that this test holds."""
    answers = []
    with served(runner) as server:
        client = server.client()
        with world._session.transaction() as session:
            session.execute("LOCK TABLE alerts_engine_runs IN ACCESS EXCLUSIVE MODE")
            asking = threading.Thread(target=lambda: answers.append(client.get("runs")))
            asking.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while not session.value(waiting):
                time.sleep(0.01)
            server.process.send_signal(number)
            while not _refuses(client.host, client.port):
                time.sleep(0.01)
        asking.join()
        assert server.ended() == code
    assert [answer.status for answer in answers] == [200]


def _refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return True
    return False


def test_a_request_that_does_not_end_is_cut_off_in_time(runner: Runner, world: World) -> None:
    with served(runner) as server:
        client = server.client()
        with socket.create_connection((client.host, client.port)) as slow:
            slow.sendall(b"POST /alerts/unsubscribe/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.ended() == 143
            assert time.monotonic() - began < 10


def test_an_address_in_use_is_said_by_code_and_mend(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finished = runner.run("--port", str(taken.getsockname()[1]), module="src.api.serve")
    assert finished.exit_code == 1
    assert "api.address" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "exit_code", "text"),
    [
        (("--port", "http"), {}, 2, "--port"),
        (("--port", "99999"), {}, 1, "api.address"),
        (("--host", "no such host"), {}, 1, "api.address"),
        ((), {"ALERTS_SEND_ALLOWLIST_USER_IDS": "42,abc"}, 1, "allowlist.malformed"),
    ],
)
def test_what_cannot_be_served_is_refused(
    runner: Runner, arguments: tuple[str, ...], environ: dict[str, str], exit_code: int, text: str
) -> None:
    finished = runner.run(*arguments, module="src.api.serve", **environ)
    assert finished.exit_code == exit_code
    assert text in finished.stderr
    assert "Traceback" not in finished.stderr


def test_it_starts_without_a_database_and_a_token_and_says_so(runner: Runner) -> None:
    with served(runner, DATABASE_URL="", INTERNAL_RUNNER_TOKEN="") as server:
        client = server.client()
        assert "api.no_token" in "".join(server.log)
        assert client.get("runs").document["code"] == "api.no_token"
        assert client.get("").status == 200


def test_it_listens_where_it_is_told(runner: Runner) -> None:
    with served(runner, "--host", "::1") as server:
        assert server.client().get("health").status == 200
