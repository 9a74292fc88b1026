"""The server: `python -m src.api.serve [--host HOST] [--port PORT]`, on loopback unless told otherwise.

Exit codes: 130 and 143 after a clean stop by SIGINT and SIGTERM, 1 if it cannot start, 2 wrong usage.
Requests under way have five seconds to end. Logs go to stderr and hold no tokens.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

from src.errors import ConfigError, Finding
from src.ops.command import concluded
from src.settings import Settings, process_environment, read_settings

log = logging.getLogger("src.api.serve")  # also where this is the main module

GRACE_SECONDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.api.serve", description="Admin API and dashboard.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", default=8000, type=int, help="0 takes a free one (8000)")
    options = parser.parse_args(argv)
    return concluded(lambda: _serve(options.host, options.port))


def _serve(host: str, port: int) -> int:
    settings, errors, warnings = read_settings(process_environment())
    if errors:
        raise ConfigError(*errors)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("src").setLevel(settings.log_level.upper())
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with _listen(host, port) as listener:
            _run(settings, warnings, listener)  # hands a signal on when it has stopped
    except KeyboardInterrupt:
        return 128 + received[0]
    return 1


def _run(settings: Settings, warnings: list[Finding], listener: socket.socket) -> None:
    try:
        import uvicorn

        from src.api.app import create_app
        from src.api.engine import PREFIX
    except ImportError:
        mend = "install requirements-api.txt, or requirements-dev.txt"
        raise ConfigError(Finding("api.not_installed", f"the server's packages are missing: {mend}")) from None
    config = uvicorn.Config(
        create_app(settings, warnings), loop="asyncio", http="h11", ws="none", lifespan="off",
        log_config=None, access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    host, port = listener.getsockname()[:2]
    if "INTERNAL_RUNNER_TOKEN" not in settings.secrets:
        log.warning("api.no_token: set INTERNAL_RUNNER_TOKEN: the admin API answers 503 until then")
    log.info("serving http://%s:%d%s/", f"[{host}]" if ":" in host else host, port, PREFIX)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError):
        mend = "choose another with --host and --port, or stop what listens there"
        raise ConfigError(Finding("api.address", f"cannot listen at that address: {mend}")) from None


if __name__ == "__main__":
    sys.exit(main())
