"""Walking a big table by user id, one short transaction after the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """The users with `after` < id ≤ `last`; `final` if nobody comes after them."""

    after: int
    last: int
    final: bool


START = Chunk(after=0, last=0, final=False)

TUNE = """
SELECT set_config(name, value, true)
FROM (VALUES ('enable_nestloop', 'off'), ('jit', 'off'), ('work_mem', '64MB')) AS wish (name, value)
"""
"""For the transaction of a chunk. The planner cannot know how many rows a CTE has, and a nested loop over
them would be quadratic."""
