"""One line of the result: a ratio, the limit that it has to keep, and the two numbers that it is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is at least `limit`, or at most where `at_most`; without a limit it is only told."""

    what: str
    peer: str
    ours: str
    ratio: float
    limit: float | None = None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        kept = self.ratio <= self.limit if self.at_most else self.ratio >= self.limit
        return "kept" if kept else "NOT KEPT"

    @property
    def bound(self) -> str:
        return "" if self.limit is None else f"{'≤' if self.at_most else '≥'} {self.limit:g}"


def rate(rows: int, seconds: float) -> str:
    return f"{rows / seconds:,.0f}/s"
