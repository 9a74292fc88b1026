"""What outcomes mean for a channel's run: results to write, and what to do differently from now on."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from src.alerts.channels.base import Channel
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import MessageStatus
from src.alerts.phases.breaker import Breaker, Pacer
from src.alerts.phases.outbound import Claimed, Move, Queue, Result
from src.alerts.phases.tally import Tally
from src.alerts.retry import OUTAGES, decide
from src.alerts.rollout import SendBudget
from src.settings import Settings

LONGEST_PAUSE = 60.0
"""A provider that asks for a longer pause (seconds), in one answer or in a row, is left for the next run."""


class Outgoing(NamedTuple):
    """A claimed row with its message."""

    claimed: Claimed
    message: Message


@dataclass(slots=True)
class Batch:
    """One request: its rows, its idempotency key, when it may start (monotonic seconds), and in the end
    the outcomes."""

    rows: list[Outgoing]
    key: str
    start: float
    outcomes: Sequence[Outcome] = ()


@dataclass(slots=True)
class Judge:
    """Turns outcomes into results. `per_request` is how many messages the next requests may hold: halved
    when a provider refuses a batch for one of its members, doubled when it accepts one."""

    channel: Channel
    settings: Settings
    budget: SendBudget
    tally: Tally
    pacer: Pacer
    largest: int
    breaker: Breaker = field(default_factory=Breaker)
    per_request: int = 0
    requeued: bool = False
    out_of_patience: bool = False
    _waiting_since: float = float("inf")
    moves: list[Move] = field(default_factory=list)
    _outages: list[tuple[Claimed, MessageStatus]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.per_request = self.largest

    def results(self, batch: Batch, now: datetime, seconds_left: float) -> list[Result]:
        """What to write about a request's rows; `seconds_left` is how long the run may go on."""
        self._learn(batch, seconds_left)
        key_window = self.channel.limits.key_window
        results = []
        for (row, message), outcome in zip(batch.rows, batch.outcomes, strict=True):
            queue = row.queue
            decision = decide(outcome, row.attempts, self.settings, now, key_window=key_window, repeated=row.repeated)
            results.append(
                Result(queue, row.id, row.key, decision, outcome.detail or None, outcome.provider_message_id)
            )
            self.tally.tried(queue, self.channel.name, row.user_id, outcome, decision.status)
            if outcome.verdict is Verdict.RETRY and outcome.reason in OUTAGES:
                self._outages.append((row, decision.status))
            if outcome.moved_to:
                self.moves.append(Move(row.key, row.user_id, message.to, outcome.moved_to))
                self.requeued = True
        return results

    def outages_of(self, queue: Queue) -> list[int]:
        """The ids of a queue's rows whose requests ended in an outage, as often as they did."""
        return [claimed.id for claimed, _ in self._outages if claimed.queue is queue]

    def forget(self, queue: Queue, ids: Collection[int]) -> None:
        """Take the outages of these rows out of the counts: they have their attempts back."""
        for claimed, status in self._outages:
            if claimed.queue is queue and claimed.id in ids:
                self.tally.untried(queue, self.channel.name, status)

    def _learn(self, batch: Batch, seconds_left: float) -> None:
        accepted = [outcome for outcome in batch.outcomes if outcome.verdict is Verdict.SENT or outcome.unknown]
        self.budget.settle(len(batch.rows), len(accepted))
        if answer := _answer(batch.outcomes):
            self._heed(answer, len(batch.rows), seconds_left)

    def _heed(self, answer: Outcome, members: int, seconds_left: float) -> None:
        self.breaker.tell(answer)
        if answer.verdict is not Verdict.WAIT:
            self._waiting_since = float("inf")
        if answer.verdict is Verdict.SPLIT:
            self.per_request = max(members // 2, 1)
            self.requeued = True
        elif answer.verdict is Verdict.SENT:
            self.per_request = min(self.per_request * 2, self.largest)
        elif answer.verdict is Verdict.WAIT:
            now, wait = time.monotonic(), answer.wait_seconds or 1.0
            self._waiting_since = min(self._waiting_since, now)
            self.pacer.pause(now + wait)
            self.requeued = True
            too_long = wait > seconds_left or now + wait - self._waiting_since > LONGEST_PAUSE
            self.out_of_patience = self.out_of_patience or too_long


def _answer(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What the provider said to the request: it is the same for all members but those refused one by one."""
    if len(outcomes) == 1:
        return outcomes[0] if outcomes[0].asked else None
    asked = [outcome for outcome in outcomes if outcome.asked]
    return next((outcome for outcome in asked if outcome.verdict is not Verdict.FAILED), asked[0] if asked else None)
