"""Retry decisions as pure functions: what to do with a message after an outcome, and when."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason, MessageStatus
from src.settings import Settings

JITTER = 0.2
KEY_SHARE = 6
"""A request of unknown outcome waits at most for this part of its key's window to be repeated, whatever its members
have been through: it waits for the last of them."""

OUTAGES = frozenset({FailureReason.PROVIDER_UNAVAILABLE, FailureReason.TIMEOUT, FailureReason.CONNECTION})


class Decision(NamedTuple):
    """A row's next state. `keep_key`: the outcome is unknown and the idempotency key still protects it."""

    status: MessageStatus
    reason: FailureReason | None = None
    attempts: int = 0
    next_retry_at: datetime | None = None
    keep_key: bool = False


def backoff(attempts: int, base: timedelta, longest: timedelta, jitter: float) -> timedelta:
    """`min(longest, base·2^(attempts-1))` plus `jitter` (0 to 1) times 20 %."""
    exponent = min(attempts - 1, 32)
    wait: timedelta = min(longest, base * 2**exponent)
    return wait * (1 + JITTER * jitter)


def decide(
    outcome: Outcome,
    attempts: int,
    settings: Settings,
    now: datetime,
    *,
    key_window: timedelta | None,
    repeated: bool = False,
    jitter: float | None = None,
) -> Decision:
    """The next state of a message that was tried, `attempts` times before.

    `key_window`: how long the provider's idempotency keys protect (None: it takes none). An unknown outcome without
    that protection is decided by ALERTS_UNKNOWN_OUTCOME. `repeated`: the message was in a request of unknown outcome
    before, and only an answer about the message itself settles that. While a key protects, the members of such a
    request stay together: none is given up, whatever the number of attempts, and none is sent otherwise.
    """
    if outcome.verdict is Verdict.SENT:
        return Decision(MessageStatus.SENT, attempts=attempts + 1)
    keep_key = key_window is not None and (outcome.unknown or repeated)
    longest = key_window / KEY_SHARE if key_window and keep_key else timedelta.max
    if outcome.verdict is Verdict.FAILED:
        return Decision(MessageStatus.FAILED, outcome.reason, attempts + 1)
    if outcome.verdict is Verdict.WAIT:
        due = None if outcome.wait_seconds is None else now + min(timedelta(seconds=outcome.wait_seconds), longest)
        return Decision(MessageStatus.QUEUED, outcome.reason, attempts, due, keep_key)
    if outcome.verdict is Verdict.HALT:
        return Decision(MessageStatus.QUEUED, outcome.reason, attempts, keep_key=keep_key)
    spread = random.random() if jitter is None else jitter  # noqa: S311 - jitter is no secret
    wait = backoff(1 if keep_key else attempts + 1, settings.retry_base, settings.retry_max, spread)
    retry_at = now + min(wait, longest)
    if outcome.verdict is Verdict.SPLIT:
        return Decision(MessageStatus.QUEUED, outcome.reason, attempts, retry_at if keep_key else None, keep_key)
    if outcome.unknown and not keep_key and not settings.resend_unknown:
        return Decision(MessageStatus.FAILED, FailureReason.OUTCOME_UNKNOWN, attempts + 1)
    if outcome.moved_to and attempts < settings.max_attempts:  # the last attempt, too, is made where the group is now
        return Decision(MessageStatus.QUEUED, attempts=attempts + 1)
    if attempts + 1 >= settings.max_attempts and not keep_key:
        return Decision(MessageStatus.FAILED, outcome.reason, attempts + 1)
    return Decision(MessageStatus.QUEUED, outcome.reason, attempts + 1, retry_at, keep_key)
