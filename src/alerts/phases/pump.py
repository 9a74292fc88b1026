"""One channel's share of phase C: claim, send side by side, record, until nothing is due.

Only what may be in flight is ever claimed. Each turn writes the results that have come in and claims
as many rows as there is room for, in one transaction; requests run meanwhile. The event loop never
waits for the database: transactions run in a thread, on this channel's own session.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from src.alerts.channels.base import Channel
from src.alerts.models import FailureReason, Message, Outcome, Verdict
from src.alerts.phases.breaker import Breaker, Pacer
from src.alerts.phases.contents import Contents
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.outbound import Claimed, Move, Outbound, Queue, Result
from src.alerts.phases.tally import Tally
from src.alerts.retry import OUTAGES, decide
from src.alerts.rollout import SendBudget
from src.errors import DatabaseError

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may still answer after a signal or the deadline (GitHub gives 7.5 s)."""
LONGEST_PAUSE = 60.0
"""A provider that asks for a longer pause is left for the next run."""
RECORD_SECONDS = 15.0
"""How long results are kept and offered again to a database that went away."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A claimed row with its message."""

    queue: Queue
    row: Claimed
    message: Message


@dataclass(slots=True)
class _Batch:
    """One request: its rows, and the outcomes when they are there."""

    rows: list[Outgoing]
    key: UUID
    outcomes: Sequence[Outcome] = ()


@dataclass(slots=True)
class Pump:
    """Sends one channel's queues. After `run`: `error` tells of the database, `breaker` of the channel."""

    channel: Channel
    outbound: Outbound
    contents: Contents
    context: PhaseContext
    budget: SendBudget
    tally: Tally
    pacer: Pacer
    per_request: int
    breaker: Breaker = field(default_factory=Breaker)
    error: DatabaseError | None = None
    _per_request: int = 1
    _more: bool = False
    _gave_up_waiting: bool = False
    _in_flight: dict[asyncio.Task[None], _Batch] = field(default_factory=dict)
    _finished: list[_Batch] = field(default_factory=list)
    _unwritten: list[Result] = field(default_factory=list)
    _moves: list[Move] = field(default_factory=list)
    _outages: list[tuple[Queue, int]] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send what is due. Raises nothing that a provider or the database does."""
        self._per_request = self.per_request
        try:
            while await self._turn():
                await self._rest()
        except DatabaseError as error:
            self.error = self.error or error
        await self._drain()
        self.breaker.finish()
        if self.breaker.halted and self.error is None:
            await asyncio.to_thread(self._give_back)

    async def _turn(self) -> bool:
        """Record, claim and start; False when nothing is under way and nothing more can be claimed."""
        self._judge()
        reserved = self.budget.reserve(self._room())
        outgoing: list[Outgoing] = []
        claimed: list[tuple[Queue, Claimed]] = []
        try:
            if reserved or self._unwritten:
                claimed = await asyncio.to_thread(self._record_and_claim, reserved)
            outgoing = self._compose(claimed)
        finally:
            self.budget.settle(reserved - len(outgoing), 0)
        self._start(outgoing)
        self._more = 0 < reserved == len(claimed)
        if self._in_flight or self._finished or claimed:
            return True
        return not reserved and self._may_claim() and not self.budget.spent

    def _may_claim(self) -> bool:
        stopped = self.context.stop.reason is not None or self.error is not None
        return not (stopped or self.breaker.halted or self._gave_up_waiting)

    def _room(self) -> int:
        """How many rows may be claimed now: requests that may be in flight and have their turn soon."""
        if not self._may_claim():
            return 0
        requests = self.context.settings.send_concurrency - len(self._in_flight)
        permits = self.pacer.permits(time.monotonic())
        if permits is not None:
            requests = min(requests, permits)
        return min(max(requests, 0) * self._per_request, self.context.batch_size)

    async def _rest(self) -> None:
        """Until a request is answered, the pacer lets another start, or it is time to look again."""
        if self._finished or (self._more and self._room()):
            await asyncio.sleep(0)
            return
        self._wake.clear()
        wait = min(max(self.pacer.wait(time.monotonic()), 0.02), 0.25)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)

    def _record_and_claim(self, limit: int) -> list[tuple[Queue, Claimed]]:
        """One transaction: what came in, and up to `limit` rows to send next. Runs in a thread."""
        now = self.context.clock()
        results, moves = list(self._unwritten), list(self._moves)
        claimed: list[tuple[Queue, Claimed]] = []
        session = self.outbound.open()
        with session.transaction(seconds=10):
            self.outbound.record(results, moves, now)
            if limit:
                claimed = self.outbound.claim(limit, self._per_request, now, now - self.context.settings.max_age)
                self.contents.load(session, claimed)
        del self._unwritten[: len(results)], self._moves[: len(moves)]
        return claimed

    def _give_back(self) -> None:
        with self.outbound.open().transaction():
            for queue in Queue:
                self.outbound.give_back(queue, [row for where, row in self._outages if where is queue])

    def _compose(self, claimed: list[tuple[Queue, Claimed]]) -> list[Outgoing]:
        """Messages for the rows that are to be sent; the others are counted."""
        outgoing = []
        for queue, row in claimed:
            self.tally.add(queue, "queued_selected")
            if row.refusal is not None:
                self.tally.refused(queue, self.channel.name, FailureReason(row.refusal))
            else:
                outgoing.append(Outgoing(queue, row, self.contents.message(queue, row)))
        return outgoing

    def _start(self, outgoing: list[Outgoing]) -> None:
        for key, rows in itertools.groupby(outgoing, key=lambda item: item.row.send_key):
            batch = _Batch(list(rows), key)
            task = asyncio.create_task(self._request(batch, self.pacer.take(time.monotonic())))
            self._in_flight[task] = batch
            task.add_done_callback(self._done)

    async def _request(self, batch: _Batch, start: float) -> None:
        delay = start - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        batch.outcomes = await self.channel.send([item.message for item in batch.rows], batch.key)

    def _done(self, task: asyncio.Task[None]) -> None:
        batch = self._in_flight.pop(task)
        if task.cancelled():
            return
        if error := task.exception():
            log.error("%s: %s while sending", self.channel.name, type(error).__name__)
            refused = Outcome(Verdict.FAILED, FailureReason.CONTENT_REJECTED, detail=f"internal {type(error).__name__}")
            batch.outcomes = [refused] * len(batch.rows)
        self._finished.append(batch)
        self._wake.set()

    def _judge(self) -> None:
        """Outcomes that came in become results to write; breaker, pacer, budget and tally are told."""
        finished, self._finished = self._finished, []
        now = self.context.clock()
        key_protects = self.channel.limits.key_window is not None
        for batch in finished:
            self._learn(batch)
            for item, outcome in zip(batch.rows, batch.outcomes, strict=True):
                decision = decide(outcome, item.row.attempts, self.context.settings, now, key_protects=key_protects)
                result = Result(item.queue, item.row.id, decision, outcome.detail or None, outcome.provider_message_id)
                self._unwritten.append(result)
                self.tally.tried(item.queue, self.channel.name, item.row.user_id, outcome, decision.status)
                if outcome.verdict is Verdict.RETRY and outcome.reason in OUTAGES:
                    self._outages.append((item.queue, item.row.id))
                if outcome.moved_to:
                    self._moves.append(Move(item.row.user_id, item.message.to, outcome.moved_to))

    def _learn(self, batch: _Batch) -> None:
        first = batch.outcomes[0]
        self.breaker.tell(first)
        accepted = sum(outcome.verdict is Verdict.SENT or outcome.unknown for outcome in batch.outcomes)
        self.budget.settle(len(batch.rows), accepted)
        if first.verdict is Verdict.SPLIT:
            self._per_request = max(len(batch.rows) // 2, 1)
        elif first.verdict is Verdict.SENT:
            self._per_request = min(self._per_request * 2, self.per_request)
        elif first.verdict is Verdict.WAIT:
            wait = first.wait_seconds or 1.0
            self.pacer.pause(time.monotonic() + wait)
            self._gave_up_waiting = self._gave_up_waiting or wait > min(LONGEST_PAUSE, self.context.stop.seconds_left())

    async def _drain(self) -> None:
        """Let requests in flight answer (for a bounded time after a stop) and record what they said."""
        deadline = float("inf")
        while self._in_flight and time.monotonic() < deadline:
            if self.context.stop.reason is not None:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            await self._rest()
            if self._finished and self.error is None:
                await self._save()
        for task in list(self._in_flight):
            task.cancel()
        await self._save()

    async def _save(self) -> None:
        """Record what has come in, offering it again while the database is away."""
        self._judge()
        give_up = time.monotonic() + RECORD_SECONDS
        while self._unwritten:
            try:
                await asyncio.to_thread(self._record_and_claim, 0)
            except DatabaseError as error:
                self.error = self.error or error
                if time.monotonic() > give_up:
                    lost = len(self._unwritten)
                    log.error(
                        "%s: %d results could not be recorded: the next run's recovery decides", self.channel.name, lost
                    )
                    return
                await asyncio.sleep(0.5)
