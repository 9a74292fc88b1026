"""`python -m benchmarks [NAME …]`: every benchmark, limit, peer and ours in one run, as ratios.

Prints one table and writes it to `benchmarks/RESULTS.md` (only when all of them ran), with the machine.
"""

from __future__ import annotations

import compileall
import importlib
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Row
from tests.database import Server, start_server

NAMES = ("send", "fanout", "digest", "growth", "commands", "api")
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(names: list[str]) -> int:
    """Run these, or all; 1 if a limit was not kept."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for tree in ("src", "benchmarks"):  # as after a first run
        compileall.compile_dir(RESULTS.parents[1] / tree, quiet=1)
    server = start_server()
    sections = {name: _run(name, server) for name in names or NAMES}
    text = _markdown(sections, server)
    print(text)
    if not names:
        RESULTS.write_text(text, encoding="utf-8")
    return int(any(row.verdict == "NOT KEPT" for rows in sections.values() for row in rows))


def _run(name: str, server: Server) -> list[Row]:
    print(f"{name} …", file=sys.stderr, flush=True)
    rows: list[Row] = importlib.import_module(f"benchmarks.{name}").rows(server)
    return rows


def _markdown(sections: dict[str, list[Row]], server: Server) -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {server.label}"
    lines = [
        "# Benchmarks",
        "",
        f"`nox -s bench` on {datetime.now(UTC):%Y-%m-%d}: {machine}.",
        "Peer and ours ran in the same run on the same server; only the ratios carry over to other machines.",
        "",
        "| what | peer | ours | ratio | limit | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.what} | {row.peer} | {row.ours} | {row.ratio:.2f} | {row.bound} | {row.verdict} |"
        for rows in sections.values()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
