"""`--preflight` and `--health` as whole processes, against a bare Python that connects and selects 1."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.table import Row
from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
from tests.database import Server

ROUNDS = 15
_BARE = """
import os, psycopg2
cursor = psycopg2.connect(os.environ["DATABASE_URL"]).cursor()
cursor.execute("SELECT 1")
cursor.fetchone()
"""


def rows(server: Server) -> list[Row]:
    """Medians of processes that take turns."""
    with server.new_database() as name:
        url = server.url_of(name)
        migrate.apply(Database(Secret(url)))
        environ = {**os.environ, "DATABASE_URL": url, "ALERTS_TRANSPORT": "outbox"}
        commands = {
            "bare": ["-c", _BARE],
            "--preflight": ["-m", "src.alerts.runner", "--preflight"],
            "--health": ["-m", "src.alerts.runner", "--health"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, arguments in commands.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *arguments], env=environ, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        Row(
            f"`{name}` to a bare Python that connects and selects 1",
            f"{medians['bare'] * 1000:.0f} ms",
            f"{medians[name] * 1000:.0f} ms",
            medians[name] / medians["bare"],
            2.5,
            at_most=True,
        )
        for name in ("--preflight", "--health")
    ]
