"""A channel's traffic with the database: what came in is written, and what may go out is claimed.

An exchange does both in one transaction, while requests and further answers go on. It claims half of what
may be in flight at most, so that neither waits for the other; where the database takes longer than the
requests, a second exchange runs beside the first, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from src.alerts.phases.contents import Contents
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.exchanges import Claims, Exchange, known
from src.alerts.phases.judge import Judge
from src.alerts.phases.outbound import CONNECTIONS, SOURCES, Outbound, Result, Source
from src.errors import DatabaseError, Finding

log = logging.getLogger(__name__)

MOST = CONNECTIONS
"""How many exchanges may be under way."""
LINGER_SECONDS = 0.0005
"""How long after an exchange the next one waits for answers, unless half of the places are free already."""
RECORD_SECONDS = 15.0
"""How long results are kept and offered again to a database that went away, or while somebody holds their rows."""
RETRY_SECONDS = 0.5
"""How long after a failure they are offered again."""

FIRST_DUE = next(place for place, (source, _) in enumerate(SOURCES) if source is Source.DUE)


@dataclass(slots=True)
class Traffic:
    """The exchanges of one channel. `error` tells of a database that failed: nothing more is claimed then;
    `findings` of what failed and concerned nobody else."""

    outbound: Outbound
    contents: Contents
    context: PhaseContext
    judge: Judge
    wake: Callable[[], None]
    error: DatabaseError | None = None
    findings: list[Finding] = field(default_factory=list)
    give_up: float = float("inf")
    in_flight: int = 0
    _unwritten: list[Result] = field(default_factory=list)
    _answered: int = 0
    _under_way: dict[asyncio.Task[Claims], Exchange] = field(default_factory=dict)
    _emptied: int = 0
    _round: int = 0
    _next_try: float = 0.0
    _linger_until: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether something is under way or still to be written."""
        return bool(self._under_way or self._unwritten)

    @property
    def dry(self) -> bool:
        """Whether nothing is left to claim."""
        return self._emptied == len(SOURCES)

    def fail(self, error: DatabaseError) -> None:
        """Nothing more is claimed or sent; what came in is offered to the database for a while."""
        self.error = self.error or error
        self._next_try = time.monotonic() + RETRY_SECONDS
        self.give_up = min(self.give_up, time.monotonic() + RECORD_SECONDS)

    def may_go_on(self) -> bool:
        """Whether to claim and to start requests. Once it may not, it never may again."""
        judge = self.judge
        stopped = self.context.stop.reason is not None or self.error is not None
        return not (stopped or judge.breaker.halted or judge.out_of_patience)

    def answered(self, results: Sequence[Result], requests: int) -> None:
        """So many requests are answered; their places are free once the exchange that writes that is over."""
        self._unwritten += results
        if self.error is not None:  # what has just come in is offered once at least
            self.give_up = max(self.give_up, time.monotonic() + 2 * RETRY_SECONDS)
        self._answered += requests
        self.in_flight -= requests

    def drop(self) -> None:
        """Leave what a database that does not come back could not be told to recovery."""
        if self._unwritten and not self._under_way and time.monotonic() > self.give_up:
            log.error("%s: %d results are left to recovery", self.judge.channel.name, len(self._unwritten))
            self._unwritten, self._answered = [], 0

    def wait(self, now: float) -> float:
        """Seconds until an exchange may start that may not now; whatever it waits for wakes the pump besides."""
        if self._under_way:
            return float("inf")
        return self._linger_until - now if now < self._linger_until else max(self.judge.pacer.wait(now), 0.02)

    def can_wait(self, unjudged: int, sending: bool) -> bool:
        """Whether an exchange that could start now had better wait for more answers; `unjudged` are in."""
        if self._under_way:
            single = self.dry or SOURCES[self._emptied][0] is Source.UNKNOWN
            return sending or single or len(self._under_way) == MOST
        half_free = self.in_flight - unjudged <= self.context.settings.send_concurrency // 2
        return sending and time.monotonic() < self._linger_until and not half_free

    def start(self, sending: bool) -> None:
        """Offer the database what there is to write and to claim; `sending`: requests are under way."""
        if self.can_wait(0, sending) or time.monotonic() < self._next_try:
            return
        limit = self.judge.budget.reserve(self._room())
        if limit or self._unwritten:
            judge, results = self.judge, self._unwritten
            one = Exchange(
                results,
                judge.moves,
                answered=self._answered,
                requeues=judge.requeued,
                round=self._round,
                source=self._emptied,
                limit=limit,
                per_request=judge.per_request,
                slot=min({*range(MOST)} - {other.slot for other in self._under_way.values()}),
            )
            self._unwritten, judge.moves, judge.requeued, self._answered = [], [], False, 0
            task = asyncio.create_task(
                one.run(self.outbound, self.contents, self.context, once_more=self.error is not None)
            )
            self._under_way[task] = one
            task.add_done_callback(lambda _: self.wake())

    def _room(self) -> int:
        """How many rows may be claimed now: requests that may be in flight and have their turn soon."""
        if not self.may_go_on() or self.dry:
            return 0
        concurrency = self.context.settings.send_concurrency
        free = concurrency - self.in_flight - sum(one.places for one in self._under_way.values())
        requests = min(free, -(-concurrency // 2))
        permits = self.judge.pacer.permits(time.monotonic())
        if permits is not None:
            requests = min(requests, permits - sum(one.requests for one in self._under_way.values()))
        if requests <= 0:
            return 0
        if SOURCES[self._emptied][0] is Source.UNKNOWN:
            return self.judge.channel.limits.max_batch
        return min(requests * self.judge.per_request, self.context.batch_size)

    def collect(self) -> list[Claims]:
        """What exchanges have claimed; the requests count as in flight from now on."""
        collected: list[Claims] = []
        for task in [task for task in self._under_way if task.done()]:
            one = self._under_way.pop(task)
            self._linger_until = time.monotonic() + LINGER_SECONDS
            try:
                claims = task.result()
            except Exception as error:  # whatever it is, other channels wait for these places
                self._take_back(one)
                self.fail(known(error))
                continue
            self.findings += claims.findings
            if claims.error:
                self.fail(claims.error)
            if claims.held:
                self._unwritten[:0] = claims.held
                self._next_try = time.monotonic() + RETRY_SECONDS
                self.give_up = min(self.give_up, time.monotonic() + RECORD_SECONDS)
            else:
                self.give_up = float("inf")
            self._advance(one, len(claims.rows))
            keys = [row.key for row in claims.rows if row.key is not None]
            self.judge.budget.settle(one.limit - len(keys), 0)
            self.in_flight += len(set(keys))
            collected.append(claims)
        return collected

    def _advance(self, one: Exchange, claimed: int) -> None:
        """Go on to the next source when one gave less than it might; to the first that may have got rows back."""
        if one.requeues:
            kept = any(result.decision.keep_key for result in one.results)
            self._round, self._emptied = self._round + 1, 0 if kept else min(self._emptied, FIRST_DUE)
        elif one.limit and (one.round, one.source) == (self._round, self._emptied):
            repeating = SOURCES[one.source][0] is Source.UNKNOWN
            self._emptied += not claimed if repeating else claimed < one.limit

    def _take_back(self, one: Exchange) -> None:
        """What could not be written is offered again."""
        self._unwritten[:0] = one.results
        self._answered += one.answered
        self.judge.requeued = self.judge.requeued or one.requeues
        self.judge.budget.settle(one.limit, 0)
