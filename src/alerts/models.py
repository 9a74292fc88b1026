"""The words and records of the engine: closed enums and frozen dataclasses, no behaviour, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


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


SKIPS = frozenset(
    {
        FailureReason.MISSING_DESTINATION,
        FailureReason.EXPIRED,
        FailureReason.NO_LONGER_WANTED,
        FailureReason.BATCHED_INTO_DIGEST,
    }
)
"""Why a message is skipped; for any other reason it has failed."""


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


@dataclass(slots=True)
class PhaseResult:
    """A phase's line in the run document; `counts` is JSON-ready."""

    phase: Phase
    status: RunStatus = RunStatus.SUCCESS
    started_at: datetime | None = None
    duration_ms: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
