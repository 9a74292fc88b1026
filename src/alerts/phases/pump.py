"""One channel's share of phase C: claim, send side by side, record, until nothing is due.

Only what may be in flight is ever claimed (`traffic`). A claimed request is sent by the next free lane;
its answer is judged (`judge`) and waits to be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from src.alerts.messages import NOT_STARTED, Message, Outcome, Rendered, Verdict
from src.alerts.models import FailureReason
from src.alerts.phases.contents import Contents, Texts
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.exchanges import Claims
from src.alerts.phases.judge import Batch, Judge, Outgoing
from src.alerts.phases.outbound import Claimed, Outbound, Queue
from src.alerts.phases.traffic import Traffic
from src.alerts.retry import OUTAGES
from src.errors import DatabaseError, internal

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long requests in flight may still answer after a signal or the deadline (GitHub gives 7.5 s)."""
LAST_RECORD_SECONDS = 0.5
"""How long results are offered to a database that went away, after a signal, from the end of the grace on."""
LOOK_SECONDS = 0.25
"""How long anything waits before it looks whether the run should stop."""
AT_ONCE = 10
"""How many lanes may be about to begin; found by trying, on loopback, with the default of 32 in flight."""
BLANK = Message("", 0, "", Rendered("", ""))
"""What is sent to nobody: the message of a row that is to be put back."""


@dataclass(slots=True)
class Pump:
    """Sends one channel's queues. After `run`: `error` tells of the database, `judge.breaker` of the channel."""

    outbound: Outbound
    contents: Contents
    context: PhaseContext
    judge: Judge
    traffic: Traffic = field(init=False)
    _ready: deque[Batch] = field(default_factory=deque)
    _lanes: set[asyncio.Task[None]] = field(default_factory=set)
    _opening: int = 0
    _finished: list[Batch] = field(default_factory=list)
    _cut_off: float = float("inf")
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.traffic = Traffic(self.outbound, self.contents, self.context, self.judge, self._wake.set)

    @property
    def error(self) -> DatabaseError | None:
        return self.traffic.error

    async def run(self) -> None:
        """Send what is due. Raises nothing that a provider or the database does."""
        while self._busy():
            self._exchange()
            await self._rest()
            collected = self.traffic.collect()
            if collected:
                self._exchange()  # the database works on the next while these start
            for claims in collected:
                self._start(claims)
            self._enforce_limits()
        self.judge.breaker.finish()
        if self.judge.breaker.halted in OUTAGES and self.error is None:
            try:
                await asyncio.to_thread(self._give_back)
            except DatabaseError as error:
                self.traffic.fail(error)

    def _busy(self) -> bool:
        under_way = self._lanes or self._finished or self.traffic.busy
        return bool(under_way) or (self.traffic.may_go_on() and not self.traffic.dry and not self.judge.budget.spent)

    def _exchange(self) -> None:
        """Judge what came in, and offer the database what there is to write and to claim."""
        finished, self._finished = self._finished, []
        if finished:
            now, seconds_left = self.context.clock(), self.context.stop.seconds_left()
            results = [result for batch in finished for result in self.judge.results(batch, now, seconds_left)]
            self.traffic.answered(results, len(finished))
        self.traffic.start(bool(self._lanes))

    def _start(self, claims: Claims) -> None:
        """One batch a key, for the next free lane; rows that nobody should get are only counted."""
        unsent = not self.traffic.may_go_on()
        wanted = [row for row in claims.rows if row.key is not None]
        for key, rows in itertools.groupby(wanted, key=attrgetter("key")):
            self._compose(key, rows, claims.texts, unsent)
        tally = self.judge.tally
        tally.add(claims.queue, "queued_selected", len(claims.rows))
        for row in claims.rows:
            if row.key is None:
                reason = FailureReason(row.refusal or FailureReason.NO_LONGER_WANTED)
                tally.refused(row.queue, self.judge.channel.name, reason)
        self._open_lane()

    def _compose(self, key: str, rows: Iterable[Claimed], texts: Texts, unsent: bool) -> None:
        """The batch of a request. Nobody's content may hold up what others are to get: it fails alone."""
        going, failed, outcomes = [], [], []
        for row in rows:
            try:
                going.append(Outgoing(row, BLANK if unsent else self.contents.message(row, texts)))
            except Exception as error:
                failed.append(Outgoing(row, BLANK))
                outcomes.append(self._defect(error, 1))
        if going:
            start = self.judge.pacer.take(time.monotonic(), going[0].message.to)
            self._ready.append(Batch(going, key, start))
        if failed:
            self._finished.append(Batch(failed, key, 0.0, outcomes))
            self.traffic.in_flight += bool(going)  # one request has become two

    def _open_lane(self) -> None:
        """Send side by side: a lane that has to wait for an answer leaves what is ready to the next ones."""
        free = self.context.settings.send_concurrency - len(self._lanes)
        for _ in range(min(free, AT_ONCE - self._opening, len(self._ready) - self._opening)):
            self._opening += 1
            lane = asyncio.create_task(self._send_ready())
            self._lanes.add(lane)
            lane.add_done_callback(self._lane_done)

    async def _send_ready(self) -> None:
        self._opening -= 1
        while self._ready:
            batch = self._ready.popleft()
            self._open_lane()
            delay = batch.start - time.monotonic()
            if delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), delay)
            paused = self.judge.pacer.paused(time.monotonic())
            if paused or not self.traffic.may_go_on():
                batch.outcomes = [NOT_STARTED] * len(batch.rows)
                self.judge.requeued = self.judge.requeued or paused
            else:
                try:
                    batch.outcomes = await self.judge.channel.send([item.message for item in batch.rows], batch.key)
                except Exception as error:
                    batch.outcomes = [self._defect(error, len(batch.rows))] * len(batch.rows)
            self._finished.append(batch)
            self._tell(batch)

    def _tell(self, batch: Batch) -> None:
        """Wake the pump for an answer, unless that can wait for an exchange or for more answers."""
        plain = all(outcome.verdict is Verdict.SENT for outcome in batch.outcomes)
        if not (plain and self.traffic.can_wait(len(self._finished), sending=True)):
            self._wake.set()

    def _defect(self, error: Exception, members: int) -> Outcome:
        """A defect of ours costs one message, not the run: a batch is sent again in smaller ones. One message's
        is no answer of the provider's."""
        log.error("%s: %s", self.judge.channel.name, internal(error))
        verdict, detail = Verdict.FAILED if members == 1 else Verdict.SPLIT, f"internal {type(error).__name__}"
        return Outcome(verdict, FailureReason.CONTENT_REJECTED, detail=detail, asked=members > 1)

    def _lane_done(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        if not self._lanes:
            self._wake.set()

    async def _rest(self) -> None:
        """Until an answer or an exchange is in, another may start, or it is time to look again."""
        if not self._finished and self._busy():
            wait = min(self.traffic.wait(time.monotonic()), LOOK_SECONDS)
            look = asyncio.get_running_loop().call_later(wait, self._wake.set)
            await self._wake.wait()
            look.cancel()
        self._wake.clear()

    def _enforce_limits(self) -> None:
        """After a stop, requests that take too long are cut off: recovery decides about their rows."""
        now = time.monotonic()
        if not self.traffic.may_go_on():
            self._ended.set()
            for batch in self._ready:  # lanes that were about to take them may be cut off before they do
                batch.outcomes = [NOT_STARTED] * len(batch.rows)
            self._finished += self._ready
            self._ready.clear()
        if self.context.stop.reason is not None:
            self._cut_off = min(self._cut_off, now + GRACE_SECONDS)
        if self.context.stop.signal is not None:
            self.traffic.give_up = min(self.traffic.give_up, self._cut_off + LAST_RECORD_SECONDS)
        if now > self._cut_off:
            for lane in self._lanes:
                lane.cancel()
        self.traffic.drop()

    def _give_back(self) -> None:
        with self.outbound.open().transaction():
            for queue in Queue:
                self.judge.forget(queue, self.outbound.give_back(queue, self.judge.outages_of(queue)))
