"""One channel's share of phase C: claim, send side by side, record, until nothing is due.

Only what may be in flight is ever claimed. An exchange with the database writes the results that have
come in and claims as many rows as there is room for, in one transaction, while requests and further
answers go on. Half of the room is claimed at a time, so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from src.alerts.messages import Message, Outcome, Rendered, Verdict
from src.alerts.models import FailureReason
from src.alerts.phases.contents import Contents
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.judge import Batch, Judge, Outgoing
from src.alerts.phases.outbound import SOURCES, Claimed, Outbound, Queue, Result, Source
from src.alerts.retry import OUTAGES
from src.db.exchange import exchange
from src.errors import DatabaseError, internal

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may still answer after a signal or the deadline (GitHub gives 7.5 s)."""
RECORD_SECONDS = 15.0
"""How long results are kept and offered again to a database that went away."""
LAST_RECORD_SECONDS = 0.75
"""The same after a signal, from the end of the grace on."""
LINGER_SECONDS = 0.002
"""How long after an exchange the next one waits for answers, unless half of the places are free already."""
LOOK_SECONDS = 0.25
"""How long anything waits before it looks whether the run should stop."""
EXCHANGE_SECONDS = 10.0
"""How long the database may take for one exchange."""
BLANK = Message("", 0, "", Rendered("", ""))
"""What is sent to nobody: the message of a row that is to be put back."""
NOT_STARTED = Outcome(Verdict.WAIT, asked=False)
"""A request that was claimed, and never made because the channel stopped before its turn."""


@dataclass(slots=True)
class Pump:
    """Sends one channel's queues. After `run`: `error` tells of the database, `judge.breaker` of the channel."""

    outbound: Outbound
    contents: Contents
    context: PhaseContext
    judge: Judge
    error: DatabaseError | None = None
    _emptied: int = 0
    _requeuing: bool = False
    _outstanding: int = 0
    _reserved: int = 0
    _exchange: asyncio.Task[list[Claimed]] | None = None
    _ready: deque[Batch] = field(default_factory=deque)
    _lanes: set[asyncio.Task[None]] = field(default_factory=set)
    _opening: bool = False
    _finished: list[Batch] = field(default_factory=list)
    _unwritten: list[Result] = field(default_factory=list)
    _next_try: float = 0.0
    _linger: float = 0.0
    _give_up: float = float("inf")
    _cut_off: float = float("inf")
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send what is due. Raises nothing that a provider or the database does."""
        while self._busy():
            self._take_answers()
            self._start_exchange()
            await self._rest()
            self._finish_exchange()
            self._enforce_limits()
        self.judge.breaker.finish()
        if self.judge.breaker.halted in OUTAGES and self.error is None:
            await asyncio.to_thread(self._give_back)

    def _busy(self) -> bool:
        under_way = self._lanes or self._finished or self._unwritten or self._exchange
        return bool(under_way) or (self._may_claim() and not self._dry and not self.judge.budget.spent)

    @property
    def _dry(self) -> bool:
        return self._emptied == len(SOURCES)

    def _may_claim(self) -> bool:
        judge = self.judge
        stopped = self.context.stop.reason is not None or self.error is not None
        return not (stopped or judge.breaker.halted or judge.out_of_patience)

    def _room(self) -> int:
        """How many rows may be claimed now: requests that may be in flight and have their turn soon."""
        if not self._may_claim() or self._dry:
            return 0
        concurrency = self.context.settings.send_concurrency
        requests = min(concurrency - self._outstanding, -(-concurrency // 2))
        permits = self.judge.pacer.permits(time.monotonic())
        if permits is not None:
            requests = min(requests, permits)
        if requests <= 0:
            return 0
        if SOURCES[self._emptied][0] is Source.UNKNOWN:
            return self.judge.channel.limits.max_batch
        return min(requests * self.judge.per_request, self.context.batch_size)

    def _half_free(self) -> bool:
        """Whether half of the requests that may be in flight are not, or are answered."""
        return self._outstanding - len(self._finished) <= self.context.settings.send_concurrency // 2

    def _start_exchange(self) -> None:
        """Offer the database what there is to write and to claim."""
        now = time.monotonic()
        if self._exchange is not None or now < self._next_try:
            return
        if self._lanes and now < self._linger and not self._half_free():
            return
        self._reserved = self.judge.budget.reserve(self._room())
        if self._reserved or self._unwritten:
            self._requeuing, self.judge.requeued = self.judge.requeued, False
            self._exchange = asyncio.create_task(self._record_and_claim(self._reserved))
            self._exchange.add_done_callback(lambda _: self._wake.set())

    async def _record_and_claim(self, limit: int) -> list[Claimed]:
        """One transaction: what came in, and up to `limit` rows to send next; then, what these say."""
        now = self.context.clock()
        results, moves = list(self._unwritten), list(self.judge.moves)
        session = await asyncio.to_thread(self.outbound.open) if self.outbound.lost else self.outbound.open()
        steps, queue = list(self.outbound.recording(results, moves, now)), Queue.DELIVERIES
        if limit:
            source, queue = SOURCES[self._emptied]
            oldest = now - self.context.settings.max_age
            steps.append(self.outbound.claiming(source, queue, limit, self.judge.per_request, now, oldest))
        claimed = await exchange(session, partial(Claimed, queue), steps, seconds=EXCHANGE_SECONDS)
        del self._unwritten[: len(results)], self.judge.moves[: len(moves)]
        try:
            await self.contents.load(session, claimed)
        except DatabaseError as error:  # they are put back, as after a stop
            self._fail(error)
        return claimed

    def _fail(self, error: DatabaseError) -> None:
        """Nothing more is claimed or sent; what came in is offered to the database for a while."""
        self.error = self.error or error
        self._next_try = time.monotonic() + 0.5
        self._give_up = min(self._give_up, time.monotonic() + RECORD_SECONDS)

    def _finish_exchange(self) -> None:
        if self._exchange is None or not self._exchange.done():
            return
        done, reserved = self._exchange, self._reserved
        self._exchange = None
        self._linger = time.monotonic() + LINGER_SECONDS
        try:
            claimed = done.result()
        except DatabaseError as error:
            self.judge.budget.settle(reserved, 0)
            self._fail(error)
            return
        if reserved:
            repeating = SOURCES[self._emptied][0] is Source.UNKNOWN
            self._emptied += not claimed if repeating else len(claimed) < reserved
        if self._requeuing:  # what this exchange put back was not there, or not due, when it claimed
            self._emptied = 0
        keys = [row.key for row in claimed if row.key is not None]
        self.judge.budget.settle(reserved - len(keys), 0)
        requests = len(set(keys))
        self._outstanding += requests
        self._take_answers()
        self._start_exchange()  # the database works on the next while these start
        self._outstanding -= requests
        self._start(self._compose(claimed))

    def _compose(self, rows: list[Claimed]) -> list[Outgoing]:
        """Messages for the rows that are to be sent; the others are counted."""
        outgoing = []
        for claimed in rows:
            self.judge.tally.add(claimed.queue, "queued_selected")
            if claimed.key is None:
                reason = FailureReason(claimed.refusal or FailureReason.NO_LONGER_WANTED)
                self.judge.tally.refused(claimed.queue, self.judge.channel.name, reason)
                continue
            try:
                message = self.contents.message(claimed) if self._may_claim() else BLANK
            except Exception as error:  # nobody's content may hold up what others are to get
                blank = Outgoing(claimed, BLANK)
                self._finished.append(Batch([blank], claimed.key, 0.0, [self._defect(error, 1)]))
                self._outstanding += 1
            else:
                outgoing.append(Outgoing(claimed, message))
        return outgoing

    def _start(self, outgoing: list[Outgoing]) -> None:
        """One batch a key, for the next free lane."""
        for key, rows in itertools.groupby(outgoing, key=lambda item: item.claimed.key):
            assert key is not None  # noqa: S101 - `_compose` leaves out the others
            members = list(rows)
            start = self.judge.pacer.take(time.monotonic(), members[0].message.to)
            self._ready.append(Batch(members, key, start))
            self._outstanding += 1
        self._open_lane()

    def _open_lane(self) -> None:
        """Send side by side: a lane that has to wait for an answer leaves what is ready to the next one."""
        if self._ready and not self._opening and len(self._lanes) < self.context.settings.send_concurrency:
            self._opening = True
            lane = asyncio.create_task(self._send_ready())
            self._lanes.add(lane)
            lane.add_done_callback(self._lane_done)

    async def _send_ready(self) -> None:
        self._opening = False
        while self._ready:
            batch = self._ready.popleft()
            self._open_lane()
            delay = batch.start - time.monotonic()
            if delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), delay)
            if self._may_claim():
                batch.outcomes = await self._send(batch)
            else:
                batch.outcomes = [NOT_STARTED] * len(batch.rows)
            self._finished.append(batch)
            self._tell(batch)

    def _tell(self, batch: Batch) -> None:
        """Wake the pump for an answer, unless that can wait for the exchange or for more answers."""
        plain = all(outcome.verdict is Verdict.SENT for outcome in batch.outcomes)
        can_wait = self._exchange is not None or (time.monotonic() < self._linger and not self._half_free())
        if not (plain and can_wait):
            self._wake.set()

    async def _send(self, batch: Batch) -> Sequence[Outcome]:
        try:
            return await self.judge.channel.send([item.message for item in batch.rows], batch.key)
        except Exception as error:
            return [self._defect(error, len(batch.rows))] * len(batch.rows)

    def _defect(self, error: Exception, members: int) -> Outcome:
        """A defect of ours costs one message, not the run: a batch is sent again in smaller ones."""
        log.error("%s: %s", self.judge.channel.name, internal(error))
        verdict = Verdict.FAILED if members == 1 else Verdict.SPLIT
        return Outcome(verdict, FailureReason.CONTENT_REJECTED, detail=f"internal {type(error).__name__}")

    def _lane_done(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        if not self._lanes:
            self._wake.set()

    def _take_answers(self) -> None:
        """Judge what came in; its place is free when the exchange that writes it is over."""
        finished, self._finished = self._finished, []
        if finished:
            now, seconds_left = self.context.clock(), self.context.stop.seconds_left()
            for batch in finished:
                self._unwritten += self.judge.results(batch, now, seconds_left)
            self._outstanding -= len(finished)

    async def _rest(self) -> None:
        """Until an answer or an exchange is in, the pacer lets another start, or it is time to look again."""
        if not self._finished and self._busy():
            now = time.monotonic()
            wait = LOOK_SECONDS if self._exchange else max(self.judge.pacer.wait(now), 0.02)
            if now < self._linger and not self._exchange:
                wait = self._linger - now
            look = asyncio.get_running_loop().call_later(min(wait, LOOK_SECONDS), self._wake.set)
            await self._wake.wait()
            look.cancel()
        self._wake.clear()

    def _enforce_limits(self) -> None:
        """After a stop, requests that take too long are cut off: recovery decides about their rows."""
        now = time.monotonic()
        if not self._may_claim():
            self._ended.set()
        if self.context.stop.reason is not None:
            self._cut_off = min(self._cut_off, now + GRACE_SECONDS)
        if self.context.stop.signal is not None:
            self._give_up = min(self._give_up, self._cut_off + LAST_RECORD_SECONDS)
        if now > self._cut_off:
            for lane in self._lanes:
                lane.cancel()
        if now > self._give_up and self._unwritten and self._exchange is None:
            log.error("%s: %d results are left to recovery", self.judge.channel.name, len(self._unwritten))
            self._unwritten.clear()

    def _give_back(self) -> None:
        with self.outbound.open().transaction():
            for queue in Queue:
                self.judge.forget(queue, self.outbound.give_back(queue, self.judge.outages_of(queue)))
