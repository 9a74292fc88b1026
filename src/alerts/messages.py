"""What is said, to whom, and what became of it: the records that phase C, rendering and channels share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from src.alerts.models import FailureReason, Period


@dataclass(frozen=True, slots=True)
class Driver:
    """A news event behind an alert."""

    title: str
    source_name: str
    source_url: str


@dataclass(frozen=True, slots=True)
class EventContent:
    """What an alert says. `score` is 0-100, `severity` 1-5."""

    id: int
    alert_type: str
    region: str | None
    assets: tuple[str, ...]
    severity: int
    score: float | None
    headline: str
    body: str
    created_at: datetime
    drivers: tuple[Driver, ...] = ()


@dataclass(frozen=True, slots=True)
class DigestContent:
    """What a digest says: its severest events (at most 20) and how many there are in all."""

    period: Period
    window_start: datetime
    window_end: datetime
    events: tuple[EventContent, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message before it has a recipient. Telegram and SMS use `text` only (Telegram as HTML)."""

    subject: str
    text: str
    html: str = ""


class Message(NamedTuple):
    """One message to one destination. `ref` (`delivery-7`, `digest-3`) is stable over retries."""

    ref: str
    user_id: int
    to: str
    body: Rendered
    unsubscribe_url: str | None = None


class Verdict(StrEnum):
    """What the engine does with a provider's answer."""

    SENT = "sent"
    RETRY = "retry"  # transient: one attempt used, backoff
    FAILED = "failed"  # this message, for good
    WAIT = "wait"  # the channel pauses; no attempt used
    HALT = "halt"  # the channel stops for this run; no attempt used
    SPLIT = "split"  # a batch refused as a whole for one of its members: again in smaller ones


class Outcome(NamedTuple):
    """What became of one message.

    `unknown`: the request was written and nobody knows whether the provider took it.
    `wait_seconds`: how long the provider asks the channel to pause (`Verdict.WAIT`; None: it was not asked).
    `detail`: provider, status and the body's own code ("brevo 401 unauthorized"); never its text.
    `moved_to`: the destination's new id (Telegram group migration); the message is retried there.
    `asked`: the provider was asked at all, so the outcome tells something about it.
    """

    verdict: Verdict
    reason: FailureReason | None = None
    provider_message_id: str | None = None
    wait_seconds: float | None = None
    unknown: bool = False
    detail: str = ""
    moved_to: str | None = None
    asked: bool = True


NOT_STARTED = Outcome(Verdict.WAIT, asked=False)
"""A request that was claimed and never made: the channel paused or stopped before its turn."""
