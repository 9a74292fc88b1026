"""Walking a big table by user id: short transactions, one after the other, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from src.alerts.phases.context import PhaseContext
from src.db.connection import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The users with `after` < id ≤ `last`; `final` if nobody comes after them."""

    after: int
    last: int
    final: bool


TUNE = """
SELECT set_config(name, value, true)
FROM (VALUES ('enable_nestloop', 'off'), ('jit', 'off'), ('work_mem', '64MB')) AS wish (name, value)
"""
"""For the transaction of a chunk. The planner cannot know how many rows a CTE has, and a nested loop over
them would be quadratic."""


def walk(
    context: PhaseContext,
    session: Session,
    next_chunk: Callable[[Session, int], Chunk],
    work: Callable[[Session, Chunk], T],
) -> Iterator[tuple[Chunk, T]]:
    """Each chunk and what `work` made of it, until the final one or until the run is asked to stop.

    `next_chunk` is given the id after which to look. Two connections work side by side, as the users of
    two chunks are apart; a dry run has only one, and the final chunk comes alone, after all others.
    """
    after = 0
    with context.database.session() as second, ThreadPoolExecutor(1) as helper:
        while context.proceed():
            chunk = next_chunk(session, after)
            if chunk.final or second is session:
                yield chunk, work(session, chunk)
                if chunk.final:
                    return
                after = chunk.last
                continue
            beside = helper.submit(work, second, chunk)
            following = next_chunk(session, chunk.last)
            if not following.final:
                yield following, work(session, following)
            yield chunk, beside.result()
            after = chunk.last if following.final else following.last
