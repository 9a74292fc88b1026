"""Retry decisions, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason as Why
from src.alerts.models import MessageStatus
from src.alerts.retry import Decision, backoff, decide
from src.settings import Settings

NOW = datetime(2026, 1, 16, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)
SENT, FAILED, QUEUED = MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.QUEUED


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


TABLE = [
    # outcome, attempts before, key protects, decision
    (Outcome(Verdict.SENT), 0, False, Decision(SENT, None, 1)),
    (Outcome(Verdict.FAILED, Why.BLOCKED_BY_USER), 2, False, Decision(FAILED, Why.BLOCKED_BY_USER, 3)),
    (
        Outcome(Verdict.WAIT, Why.RATE_LIMITED, wait_seconds=9),
        3,
        False,
        Decision(QUEUED, Why.RATE_LIMITED, 3, after(9)),
    ),
    (Outcome(Verdict.HALT, Why.CREDENTIALS), 3, False, Decision(QUEUED, Why.CREDENTIALS, 3)),
    (Outcome(Verdict.SPLIT, Why.CONTENT_REJECTED), 0, True, Decision(QUEUED, Why.CONTENT_REJECTED, 0)),
    (Outcome(Verdict.RETRY, Why.CONNECTION), 0, False, Decision(QUEUED, Why.CONNECTION, 1, after(60))),
    (Outcome(Verdict.RETRY, Why.CONNECTION), 3, False, Decision(QUEUED, Why.CONNECTION, 4, after(480))),
    (Outcome(Verdict.RETRY, Why.CONNECTION), 4, False, Decision(FAILED, Why.CONNECTION, 5)),
    (Outcome(Verdict.RETRY, moved_to="-100"), 0, False, Decision(QUEUED, None, 1)),
    (Outcome(Verdict.RETRY, moved_to="-100"), 4, False, Decision(QUEUED, None, 5)),
    (Outcome(Verdict.RETRY, moved_to="-100"), 5, False, Decision(FAILED, None, 6)),
    (
        Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True),
        0,
        True,
        Decision(QUEUED, Why.TIMEOUT, 1, after(60), keep_key=True),
    ),
    (Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True), 0, False, Decision(QUEUED, Why.TIMEOUT, 1, after(60))),
    (
        Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True),
        4,
        True,
        Decision(QUEUED, Why.TIMEOUT, 5, after(60), keep_key=True),
    ),
    (Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True), 4, False, Decision(FAILED, Why.TIMEOUT, 5)),
]


@pytest.mark.parametrize(("outcome", "attempts", "key_protects", "decision"), TABLE)
def test_decisions(outcome: Outcome, attempts: int, key_protects: bool, decision: Decision) -> None:
    key_window = HALF_AN_HOUR if key_protects else None
    assert decide(outcome, attempts, Settings(), NOW, key_window=key_window, jitter=0) == decision


def test_a_repeated_request_that_is_refused_as_a_whole_stays_whole() -> None:
    outcome = Outcome(Verdict.SPLIT, Why.CONTENT_REJECTED)
    decision = decide(outcome, 1, Settings(), NOW, key_window=HALF_AN_HOUR, repeated=True, jitter=0)
    assert decision == Decision(QUEUED, Why.CONTENT_REJECTED, 1, after(60), keep_key=True)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True),
        Outcome(Verdict.WAIT, Why.RATE_LIMITED, wait_seconds=1800),
        Outcome(Verdict.SPLIT, Why.CONTENT_REJECTED),
    ],
)
def test_a_request_of_unknown_outcome_is_repeated_long_before_its_key_ends(outcome: Outcome) -> None:
    settings = Settings(retry_base=timedelta(hours=1))
    decision = decide(outcome, 6, settings, NOW, key_window=HALF_AN_HOUR, repeated=True, jitter=1)
    assert (decision.next_retry_at, decision.keep_key) == (after(300), True)


def test_a_wait_that_a_long_key_outlasts_is_waited_as_told() -> None:
    outcome, day = Outcome(Verdict.WAIT, Why.RATE_LIMITED, wait_seconds=3600), timedelta(days=1)
    decision = decide(outcome, 0, Settings(), NOW, key_window=day, repeated=True)
    assert decision == Decision(QUEUED, Why.RATE_LIMITED, 0, after(3600), keep_key=True)


def test_an_unknown_outcome_that_nothing_protects_fails_if_the_owner_says_so() -> None:
    outcome = Outcome(Verdict.RETRY, Why.TIMEOUT, unknown=True)
    decision = decide(outcome, 0, Settings(resend_unknown=False), NOW, key_window=None, jitter=0)
    assert decision == Decision(FAILED, Why.OUTCOME_UNKNOWN, 1)


def test_backoff_doubles_up_to_its_longest_and_jitters_by_a_fifth() -> None:
    base, longest = timedelta(seconds=60), timedelta(hours=1)
    assert [backoff(n, base, longest, 0).total_seconds() for n in (1, 2, 3, 7, 100)] == [60, 120, 240, 3600, 3600]
    assert backoff(1, base, longest, 1) == timedelta(seconds=72)
