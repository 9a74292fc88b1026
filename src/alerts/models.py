"""The words and records of the engine: closed enums and frozen dataclasses, no behaviour, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Phase(StrEnum):
    """One letter a phase, as on the command line."""

    GENERATE = "a"
    FANOUT = "b"
    SEND = "c"
    DIGEST = "d"


class AlertType(StrEnum):
    HIGH_IMPACT_EVENT = "HIGH_IMPACT_EVENT"
    REGIONAL_RISK_SPIKE = "REGIONAL_RISK_SPIKE"
    ASSET_RISK_SPIKE = "ASSET_RISK_SPIKE"


class ChannelName(StrEnum):
    """Channels that the engine sends through (`account`, the in-app inbox, is not one of them)."""

    EMAIL = "email"
    TELEGRAM = "telegram"
    SMS = "sms"


class Kind(StrEnum):
    """How a delivery reaches its user."""

    INSTANT = "instant"
    DIGEST = "digest"


class Period(StrEnum):
    DAILY = "daily"
    HOURLY = "hourly"


class MessageStatus(StrEnum):
    """Life of a delivery or a digest."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class FailureReason(StrEnum):
    """Why a message was not sent: the same word in the database, the logs and the counts."""

    INVALID_DESTINATION = "invalid_destination"
    MISSING_DESTINATION = "missing_destination"
    BLOCKED_BY_USER = "blocked_by_user"
    CONTENT_REJECTED = "content_rejected"
    RATE_LIMITED = "rate_limited"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    CREDENTIALS = "credentials"
    ACCOUNT = "account"
    OUTCOME_UNKNOWN = "outcome_unknown"
    EXPIRED = "expired"
    NO_LONGER_WANTED = "no_longer_wanted"
    BATCHED_INTO_DIGEST = "batched_into_digest"


class RunStatus(StrEnum):
    """`RUNNING` stands only in the database, while the run is alive."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DISABLED = "disabled"
    SKIPPED = "skipped"


class StopReason(StrEnum):
    """Why a run ended before its work did, in order of precedence."""

    SIGNAL = "signal"
    DEADLINE = "deadline"
    MAX_SEND = "max_send"
    CHANNEL_HALTED = "channel_halted"


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


@dataclass(frozen=True, slots=True)
class Message:
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


@dataclass(frozen=True, slots=True)
class Outcome:
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


@dataclass(slots=True)
class PhaseResult:
    """A phase's line in the run document; `counts` is JSON-ready."""

    phase: Phase
    status: RunStatus = RunStatus.SUCCESS
    started_at: datetime | None = None
    duration_ms: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SendKey:
    """The idempotency key under which a request was first made, and when."""

    key: UUID
    first_used_at: datetime
