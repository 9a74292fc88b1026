"""Preflight and health: for people on a terminal, else the runner's JSON byte for byte."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from src import console
from src.ops import child


def preflight(*flags: str, as_json: bool) -> int:
    """Run it, show it; the runner's exit code."""
    return _show(console.print_preflight, ("--preflight", *flags), as_json).exit_code


def health(*flags: str, as_json: bool, check: bool) -> int:
    """Run it, show it; the runner's exit code, or with `check` 1 if the status is `fail`."""
    finished = _show(console.print_health, ("--health", *flags), as_json)
    failed = check and (finished.document or {}).get("status") == "fail"
    return finished.exit_code or int(failed)


def _show(
    print_document: Callable[[dict[str, Any]], None], arguments: tuple[str, ...], as_json: bool
) -> child.Finished:
    finished = child.run(child.python("src.alerts.runner", *arguments), capture_stdout=True)
    if as_json or finished.document is None or not sys.stdout.isatty():
        sys.stdout.buffer.write(finished.stdout)
        sys.stdout.flush()
    else:
        print_document(finished.document)
    return finished
