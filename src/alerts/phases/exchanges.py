"""One exchange with the database: results are written, and what may go out next is claimed, in one transaction.

Before it, and apart from it, goes what must not undo it: where Telegram groups have moved.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from src.alerts.models import MessageStatus
from src.alerts.phases.contents import NO_TEXTS, Contents, Texts
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.outbound import SOURCES, Claimed, Move, Outbound, Queue, Result, RowId
from src.alerts.retry import Decision
from src.db.connection import Session
from src.db.exchange import exchange
from src.errors import DatabaseError, Finding, StoppedError, internal

log = logging.getLogger(__name__)

EXCHANGE_SECONDS = 10.0
"""How long the database may take for one."""
MOVE_SECONDS = 2.0
"""How long it may take to store where Telegram groups have gone: everything else waits for it."""
UNMOVED = timedelta(minutes=1)
"""When a message is tried again whose chat could not be moved."""
_RECORDS = {queue: partial(Claimed, queue) for queue in Queue}


@dataclass(frozen=True, slots=True)
class Claims:
    """Rows of a queue that one exchange has claimed, with what they say, or the `error` that kept that from being
    loaded. `held`: results that it could not write, because somebody else holds their rows; `findings` tell of what
    failed and concerned nobody else."""

    queue: Queue
    rows: list[Claimed]
    texts: Texts
    error: DatabaseError | None
    held: list[Result]
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What it writes, how many requests that answers, and how much it may claim from where, for requests of how many
    messages.
    `round`: how often rows had been put back when it began; `requeues`: it puts some back itself; `slot`:
    which connection it has."""

    results: list[Result]
    moves: list[Move]
    answered: int
    requeues: bool
    round: int
    source: int
    limit: int
    per_request: int
    slot: int

    @property
    def requests(self) -> int:
        """How many it may claim."""
        return -(-self.limit // self.per_request)

    @property
    def places(self) -> int:
        """What it takes of the requests that may be in flight, until it is known whether it was committed."""
        return max(self.answered, self.requests)

    async def run(self, outbound: Outbound, contents: Contents, context: PhaseContext, *, once_more: bool) -> Claims:
        """`once_more`: writing has failed, so that rows which somebody holds must not keep the others from it.
        Raises DatabaseError: nothing is known to be written or claimed."""
        unmoved = await self._move(outbound) if self.moves else None
        now, queue = context.clock(), Queue.DELIVERIES
        session = await outbound.session(self.slot)
        held = await self._held(session, outbound) if once_more else set()
        results = self._without_moves(now) if unmoved else self.results
        steps = list(outbound.recording([result for result in results if (result.queue, result.id) not in held], now))
        if self.limit:
            source, queue = SOURCES[self.source]
            oldest = now - context.settings.max_age
            steps.append(outbound.claiming(source, queue, self.limit, self.per_request, now, oldest))
        claimed = await exchange(session, _RECORDS[queue], steps, seconds=EXCHANGE_SECONDS) if steps else []
        texts, error = NO_TEXTS, None
        try:
            texts = await contents.load(session, claimed)
        except Exception as failure:  # the rows are put back, as after a stop
            error = known(failure)
        left = [result for result in results if (result.queue, result.id) in held]
        findings = () if unmoved is None or isinstance(unmoved, StoppedError) else unmoved.findings
        return Claims(queue, claimed, texts, error, left, findings)

    async def _move(self, outbound: Outbound) -> DatabaseError | None:
        """What kept the moves from being stored; nobody else's result depends on it."""
        try:
            session = await outbound.session(self.slot)
            await exchange(session, RowId, outbound.moving(self.moves), seconds=MOVE_SECONDS)
        except DatabaseError as error:
            log.error("telegram: %d chats could not be moved: %s", len(self.moves), error)
            return error
        return None

    def _without_moves(self, now: datetime) -> list[Result]:
        """Whoever could not be moved is learned of again a moment later, and has its attempt back."""
        unmoved = {move.key for move in self.moves}

        def put_back(decision: Decision) -> Decision:
            return decision._replace(attempts=decision.attempts - 1, next_retry_at=now + UNMOVED)

        return [
            result._replace(decision=put_back(result.decision))
            if result.key in unmoved and result.decision.status is MessageStatus.QUEUED
            else result
            for result in self.results
        ]

    async def _held(self, session: Session, outbound: Outbound) -> set[tuple[Queue, int]]:
        """The rows that would keep the others from being written."""
        held = set()
        for queue in Queue:
            if ids := [result.id for result in self.results if result.queue is queue]:
                rows = await exchange(session, RowId, [outbound.finding_held(queue, ids)], seconds=EXCHANGE_SECONDS)
                held |= {(queue, row.id) for row in rows}
        return held


def known(error: Exception) -> DatabaseError:
    """As one of the database's, which ends the channel's run in order."""
    return error if isinstance(error, DatabaseError) else DatabaseError(internal(error))
