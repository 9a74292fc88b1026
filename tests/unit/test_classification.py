"""How replies are read: status and the body's own code, waits, ids, batches."""

from __future__ import annotations

from typing import Any

import pytest

from src.alerts.channels.classification import CONTENT, SETUP, Codes, classify, for_each, sent_as, wait_seconds
from src.alerts.channels.http import NoReply, Reply
from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason

CODES: Codes = {"known": CONTENT, (403, "known"): SETUP}


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("status", "code", "verdict", "reason"),
    [
        (200, "known", Verdict.SENT, None),
        (299, None, Verdict.SENT, None),
        (301, None, Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE),
        (400, "known", Verdict.FAILED, FailureReason.CONTENT_REJECTED),
        (403, "known", Verdict.HALT, FailureReason.CREDENTIALS),
        (400, "other", Verdict.FAILED, FailureReason.CONTENT_REJECTED),
        (400, None, Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE),
        (401, None, Verdict.HALT, FailureReason.CREDENTIALS),
        (402, "other", Verdict.HALT, FailureReason.ACCOUNT),
        (404, None, Verdict.HALT, FailureReason.CREDENTIALS),
        (408, None, Verdict.RETRY, FailureReason.TIMEOUT),
        (413, None, Verdict.FAILED, FailureReason.CONTENT_REJECTED),
        (429, "other", Verdict.WAIT, FailureReason.RATE_LIMITED),
        (500, "known", Verdict.FAILED, FailureReason.CONTENT_REJECTED),
        (500, "other", Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE),
        (599, None, Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE),
    ],
)
def test_code_with_status_then_code_then_status(
    status: int, code: str | None, verdict: Verdict, reason: FailureReason | None
) -> None:
    outcome = classify("brevo", reply(status), code, CODES)
    assert (outcome.verdict, outcome.reason) == (verdict, reason)


@pytest.mark.parametrize(
    "code", ["jane@example.com", "+31612345678", "123456", "A", "a" * 41, "", ["known"], {"a": 1}, 1.5, None]
)
def test_detail_never_repeats_what_is_no_code(code: object) -> None:
    assert classify("brevo", reply(500), code, CODES).detail == "brevo 500"


@pytest.mark.parametrize("code", ["too_many_requests", 20429, "20429"])
def test_detail_names_the_providers_code(code: object) -> None:
    assert classify("brevo", reply(500), code, CODES).detail == f"brevo 500 {code}"


def test_no_reply_says_whether_the_request_may_have_been_written() -> None:
    outcome = classify("brevo", NoReply(FailureReason.CONNECTION, unknown=True, detail="cut_off"), None, CODES)
    assert outcome == Outcome(Verdict.RETRY, FailureReason.CONNECTION, unknown=True, detail="brevo cut_off")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (reply(429), 5),
        (reply(429, retry_after="30"), 30),
        (reply(429, retry_after="0"), 1),
        (reply(429, retry_after="-3"), 1),
        (reply(429, retry_after="1e9"), 3600),
        (reply(429, retry_after="inf"), 5),
        (reply(429, retry_after="nan", ratelimit_reset="4"), 4),
        (reply(429, retry_after="soon"), 5),
        (reply(429, retry_after="Fri, 16 Jan 2026 12:00:20 GMT", date="Fri, 16 Jan 2026 12:00:00 GMT"), 20),
        (reply(429, retry_after="Fri, 16 Jan 2026 12:00:20 GMT"), 5),
        (reply(429, retry_after="Fri, 99 Jan 2026", date="Fri, 16 Jan 2026 12:00:00 GMT"), 5),
        (reply(429, retry_after=f"Fri, 16 Jan 2026 12:00:20 +{'9' * 24}", date="Fri, 16 Jan 2026 12:00:00 GMT"), 5),
        (reply(429, ratelimit_reset="2.5"), 2.5),
        (reply(429, x_sib_ratelimit_reset="17"), 17),
        (reply(429, {"parameters": {"retry_after": 9}}, retry_after="30"), 9),
        (reply(429, {"parameters": {"retry_after": True}}), 5),
        (reply(429, {"parameters": {"retry_after": 10**400}}), 5),
        (reply(429, {"parameters": []}), 5),
        (reply(429, [1]), 5),
    ],
)
def test_wait_is_what_the_provider_asks_within_bounds(given: Reply, seconds: float) -> None:
    assert wait_seconds(given) == seconds


def test_refused_batch_is_split_and_a_refused_message_is_not() -> None:
    refused = Outcome(Verdict.FAILED, FailureReason.CONTENT_REJECTED)
    assert for_each(refused, 1) == [refused]
    assert for_each(refused, 2) == [Outcome(Verdict.SPLIT, FailureReason.CONTENT_REJECTED)] * 2


@pytest.mark.parametrize("ids", [None, [], ["a"], "ab", {"a": 1}])
def test_ids_that_do_not_match_the_messages_are_left_out(ids: object) -> None:
    assert sent_as(ids, 2) == [Outcome(Verdict.SENT)] * 2


def test_ids_are_kept_in_order() -> None:
    assert [outcome.provider_message_id for outcome in sent_as(["a", 7, None], 3)] == ["a", "7", None]
