"""One exchange with the database: results are written, and what may go out next is claimed, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from src.alerts.phases.contents import NO_TEXTS, Contents, Texts
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.outbound import SOURCES, Claimed, Move, Outbound, Queue, Result, RowId
from src.db.connection import Session
from src.db.exchange import exchange
from src.errors import DatabaseError, Finding, StoppedError, internal

log = logging.getLogger(__name__)

EXCHANGE_SECONDS = 10.0
"""How long the database may take for one."""
MOVE_SECONDS = 2.0
"""How long it may take to store where Telegram groups have gone: everything else waits for it."""
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
        findings = await self._move(outbound) if self.moves else ()
        now, queue = context.clock(), Queue.DELIVERIES
        session = await outbound.session(self.slot)
        held = await self._held(session, outbound) if once_more else []
        steps = list(outbound.recording([result for result in self.results if result not in held], now))
        if self.limit:
            source, queue = SOURCES[self.source]
            oldest = now - context.settings.max_age
            steps.append(outbound.claiming(source, queue, self.limit, self.per_request, now, oldest))
        claimed = await exchange(session, _RECORDS[queue], steps, seconds=EXCHANGE_SECONDS) if steps else []
        try:
            return Claims(queue, claimed, await contents.load(session, claimed), None, held, findings)
        except Exception as error:  # they are put back, as after a stop
            return Claims(queue, claimed, NO_TEXTS, known(error), held, findings)

    async def _move(self, outbound: Outbound) -> Sequence[Finding]:
        """Nobody's result depends on it: a group that could not be moved is refused once more, and learned of again."""
        try:
            session = await outbound.session(self.slot)
            await exchange(session, RowId, list(outbound.moving(self.moves)), seconds=MOVE_SECONDS)
        except DatabaseError as error:
            log.error("telegram: %d chats could not be moved: %s", len(self.moves), error)
            return () if isinstance(error, StoppedError) else error.findings
        return ()

    async def _held(self, session: Session, outbound: Outbound) -> list[Result]:
        """The results that would keep the others from being written."""
        held = []
        for queue in Queue:
            mine = [result for result in self.results if result.queue is queue]
            step = outbound.finding_held(queue, mine)
            ids = (
                {row.id for row in await exchange(session, RowId, [step], seconds=EXCHANGE_SECONDS)} if mine else set()
            )
            held += [result for result in mine if result.id in ids]
        return held


def known(error: Exception) -> DatabaseError:
    """As one of the database's, which ends the channel's run in order."""
    return error if isinstance(error, DatabaseError) else DatabaseError(internal(error))
