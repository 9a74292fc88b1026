"""A tolerant reader of the engine's JSON documents, for whoever finds them in files.

A document may be missing, cut off, of another shape, huge or hostile: reading never raises, and what
is not as promised reads as absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 4 * 1024 * 1024
_MAX_NUMBER = 10**15


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object, or a part of one, and typed ways into it. `state`: present, missing or broken."""

    data: Mapping[str, Any] = field(default_factory=dict)
    state: str = "present"

    @property
    def present(self) -> bool:
        return self.state == "present"

    def at(self, *path: str) -> Any:
        """The value at a path of keys; None if there is none."""
        value: Any = self.data
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def below(self, *path: str) -> Document:
        """The object at a path; an empty one if there is none."""
        value = self.at(*path)
        return Document(value) if isinstance(value, Mapping) else Document(state="missing")

    def each(self, *path: str) -> list[Document]:
        """The objects of the list at a path."""
        value = self.at(*path)
        return [Document(item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

    def text(self, *path: str) -> str:
        value = self.at(*path)
        return value if isinstance(value, str) else ""

    def texts(self, *path: str) -> list[str]:
        value = self.at(*path)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def flag(self, *path: str) -> bool | None:
        value = self.at(*path)
        return value if isinstance(value, bool) else None

    def number(self, *path: str) -> int | float | None:
        """A number of a size that means something (so neither infinite nor NaN)."""
        value = self.at(*path)
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER
        return value if usable else None

    def count(self, *path: str) -> int:
        """A whole number; 0 where there is none."""
        return int(self.number(*path) or 0)


def parse_document(content: bytes | None) -> Document:
    """The document in a file's content. No file (None) and an empty one are both `missing`."""
    if content is None or not content.strip():
        return Document(state="missing")
    try:
        data = json.loads(content) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        data = None
    return Document(data) if isinstance(data, dict) else Document(state="broken")
