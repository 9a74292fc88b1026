"""Walking a big table by user id: short transactions, one after the other, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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


# The planner cannot know how many rows a CTE has, and a nested loop over them would be quadratic.
_TUNE = "SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"
_UNTUNE = "SET LOCAL enable_nestloop TO DEFAULT; SET LOCAL jit TO DEFAULT; SET LOCAL work_mem TO DEFAULT"


@contextmanager
def tuned_transaction(session: Session) -> Iterator[None]:
    """For the statement of a chunk. In a dry run the transaction goes on, as it was before."""
    with session.transaction():
        session.execute(_TUNE)
        yield
        session.execute(_UNTUNE)


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
