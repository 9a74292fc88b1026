"""Snapshots of the engine's JSON documents: one `.json` file each, times and ids matched by regular expression."""

from __future__ import annotations

import re
from typing import Any

from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

VARIABLE = {
    r"generated_at|last_success_at|(.*\.)?(started_at|finished_at)": ("<time>", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    r"(.*\.)?run_id": ("<run id>", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    r"(.*\.)?duration_ms": ("<milliseconds>", r"\d{1,6}"),
}


def masked(data: Any, path: tuple[tuple[Any, Any], ...]) -> Any:
    """syrupy's matcher: a value that differs from run to run, if it looks as it should, by its name."""
    place = ".".join(str(part) for part, _ in path)
    for pattern, (name, form) in VARIABLE.items():
        if data is not None and re.fullmatch(pattern, place) and re.fullmatch(form, str(data)):
            return name
    return data


def document_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Compare with `assert document == document_snapshot(snapshot)`."""
    return snapshot.with_defaults(extension_class=JSONSnapshotExtension, matcher=masked)
