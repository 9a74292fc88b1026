"""The dead man's switch against a real monitor on loopback: what it is told, and that it never does harm."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from src.alerts.heartbeat import ping_end, ping_start
from src.settings import Secret
from tests.process import Runner, wait_for

RUN = ("--phase", "all", "--log-json")


@dataclass
class Monitor:
    """Remembers the paths it was asked for. `answer` is the status; `hold` keeps it from answering at all."""

    answer: int = 200
    paths: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    monitor = Monitor()
    monitor.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            monitor.paths.append(self.path)
            monitor.hold.wait()
            self.send_response(monitor.answer)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        monitor.url = f"http://127.0.0.1:{server.server_port}/ping/secret-uuid"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield monitor
        monitor.hold.set()
        server.shutdown()


def test_a_run_says_that_it_begins_and_how_it_ended(runner: Runner, monitor: Monitor) -> None:
    finished = runner.run(*RUN, ALERTS_HEARTBEAT_URL=monitor.url)
    run_id = finished.document["run_id"]
    assert monitor.paths == [f"/ping/secret-uuid/start?rid={run_id}", f"/ping/secret-uuid/0?rid={run_id}"]


def test_a_failed_run_says_its_exit_code(runner: Runner, monitor: Monitor) -> None:
    finished = runner.run(*RUN, ALERTS_HEARTBEAT_URL=monitor.url, DATABASE_URL="postgresql://u@127.0.0.1:1/x")
    assert finished.exit_code == 1
    assert [path.partition("?")[0] for path in monitor.paths] == ["/ping/secret-uuid/start", "/ping/secret-uuid/1"]


def test_a_dry_run_says_nothing(runner: Runner, monitor: Monitor) -> None:
    assert runner.run(*RUN, "--dry-run", ALERTS_HEARTBEAT_URL=monitor.url).exit_code == 0
    assert monitor.paths == []


@pytest.mark.parametrize("answer", [404, 500])
def test_a_monitor_that_refuses_harms_no_run_and_its_address_appears_nowhere(
    runner: Runner, monitor: Monitor, answer: int
) -> None:
    monitor.answer = answer
    finished = runner.run(*RUN, ALERTS_HEARTBEAT_URL=monitor.url, ALERTS_LOG_LEVEL="debug")
    assert (finished.exit_code, finished.document["status"]) == (0, "success")
    assert f"the monitor answered {answer}" in finished.stderr
    assert "secret-uuid" not in finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/secret-uuid", "secret-uuid", "http://secret-uuid.invalid/x", "http://[secret-uuid",
        "http://127.0.0.1:1/secret-uuid", "http://a b/secret-uuid\n",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_asked_is_a_warning_without_it(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ping_start(Secret(url), "7")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "heartbeat.not_sent" in caplog.text
    assert "secret-uuid" not in caplog.text


def test_a_ping_is_given_up_in_time(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are shortened, so that the test need not wait for them."""
    monkeypatch.setattr("src.alerts.heartbeat.PING_SECONDS", 0.3)
    monkeypatch.setattr("src.alerts.heartbeat.HURRIED_SECONDS", 0.1)
    monitor.hold.clear()
    for exit_code, limit in ((0, 0.3), (143, 0.1)):
        began = time.monotonic()
        ping_end(Secret(monitor.url), "7", exit_code)
        assert limit <= time.monotonic() - began < limit + 0.5


def test_a_server_that_accepts_and_sends_a_byte_now_and_then_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("src.alerts.heartbeat.PING_SECONDS", 0.4)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not done.wait(0.1):
                    connection.send(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        ping_start(Secret(f"http://127.0.0.1:{listener.getsockname()[1]}/x"), "7")
        assert time.monotonic() - began < 0.9
        done.set()
        thread.join()


def test_a_terminated_run_still_says_so(runner: Runner, monitor: Monitor) -> None:
    """The run waits in its first ping when the signal comes, which it hears before it does anything."""
    monitor.hold.clear()
    process = runner.start(*RUN, ALERTS_HEARTBEAT_URL=monitor.url)
    while not monitor.paths:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    monitor.hold.set()
    assert wait_for(process).exit_code == 143
    assert [path.partition("?")[0] for path in monitor.paths] == ["/ping/secret-uuid/start", "/ping/secret-uuid/143"]
