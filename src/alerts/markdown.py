"""Data from outside as GitHub Markdown and as workflow annotations: escaped, cut, nothing private.

The engine's documents hold nothing private; masking here is a second net, because everybody who sees
the repository can read a job summary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MAX_TEXT = 400
# An entity never builds structure in CommonMark, wherever it stands; `$` begins mathematics on GitHub.
_ENTITIES = {ord(character): f"&#{ord(character)};" for character in "&<>|`*[]\\$"}
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]+")
_PRIVATE = re.compile(
    r"\S+@\S+\.\S+"  # addresses
    r"|\S+://\S*:\S*@\S+"  # URLs that carry a password
    r"|\+\d[\d ().-]{6,}\d"  # phone numbers
    r"|\d{6,}:[\w-]{20,}"  # Telegram tokens
)


def one_line(text: str) -> str:
    """Printable text on one line of at most `MAX_TEXT` characters, masked."""
    line = _PRIVATE.sub("***", _UNPRINTABLE.sub(" ", text[: 2 * MAX_TEXT]).strip())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def escaped(text: str) -> str:
    """Text that shows as it is, anywhere in a paragraph, a list or a table cell."""
    return one_line(text).translate(_ENTITIES)


def amount(value: float | None, absent: str = "–") -> str:
    """Thousands apart; a fraction with one decimal."""
    if value is None:
        return absent
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; cells are escaped already."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Lines that a click unfolds; nothing for no lines."""
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"] if lines else []


def annotation(level: str, text: str) -> str:
    """A workflow command on a line of its own (escapes as in actions/toolkit, packages/core/src/command.ts)."""
    return f"::{level} title=Alerts engine::{one_line(text).replace('%', '%25')}"
