"""Every answer of every provider over real HTTP, and what the engine makes of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from src.alerts.channels import http, telegram
from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason as Reason
from tests.integration.channel_calls import CHANNELS, messages, send
from tests.providers.answers import ANSWERS, Answer, Ending
from tests.providers.process import Provider, running_provider

Expected = tuple[Verdict, Reason | None]

SENT: Expected = (Verdict.SENT, None)
TRANSIENT: Expected = (Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE)
CUT: Expected = (Verdict.RETRY, Reason.CONNECTION)
LATE: Expected = (Verdict.RETRY, Reason.TIMEOUT)
WAIT: Expected = (Verdict.WAIT, Reason.RATE_LIMITED)
QUOTA: Expected = (Verdict.HALT, Reason.ACCOUNT)
SETUP: Expected = (Verdict.HALT, Reason.CREDENTIALS)
CONTENT: Expected = (Verdict.FAILED, Reason.CONTENT_REJECTED)
DEAD: Expected = (Verdict.FAILED, Reason.INVALID_DESTINATION)
BUSY: Expected = (Verdict.RETRY, Reason.RATE_LIMITED)
BLOCKED: Expected = (Verdict.FAILED, Reason.BLOCKED_BY_USER)

ANY = {
    "ok": SENT, "slow": SENT, "half": SENT, "stall": SENT, "garbage": SENT, "empty": SENT, "huge": SENT, "nested": SENT,
    "hang": LATE, "hang_accepted": LATE, "drop": CUT, "drop_accepted": CUT,
    "redirect": TRANSIENT, "redirect_permanent": TRANSIENT, "proxy_400": TRANSIENT, "proxy_403_huge": SETUP,
    "bare_500": TRANSIENT, "bad_gateway": TRANSIENT, "unavailable": TRANSIENT, "gateway_timeout": TRANSIENT,
    "bare_429": WAIT, "retry_after": WAIT,
}  # fmt: skip
OWN = {
    "brevo": {
        "rate_limited": WAIT, "not_enough_credits": QUOTA, "unauthorized": SETUP, "permission_denied": SETUP,
        "account_under_validation": SETUP, "reseller_permission_denied": SETUP, "invalid_parameter": CONTENT,
        "missing_parameter": CONTENT, "out_of_range": CONTENT, "duplicate": SENT, "scheduled": SENT,
    },
    "resend": {
        "rate_limited": WAIT, "window": WAIT, "daily_quota": QUOTA, "monthly_quota": QUOTA, "missing_key": SETUP,
        "restricted_key": SETUP, "invalid_key": SETUP, "domain_not_verified": SETUP, "validation_error": CONTENT,
        "validation_error_400": CONTENT, "missing_field": CONTENT, "missing_field_400": CONTENT,
        "invalid_from": SETUP, "other_body": SENT, "concurrent": BUSY, "application_error": TRANSIENT,
        "internal": TRANSIENT,
    },
    "telegram": {
        "rate_limited": WAIT, "unauthorized": SETUP, "wrong_token": SETUP, "blocked": BLOCKED, "deactivated": DEAD,
        "kicked": BLOCKED, "never_started": BLOCKED, "no_chat": DEAD,
        "migrated": (Verdict.RETRY, Reason.INVALID_DESTINATION), "unparsable": SENT,
        "accepted_unparsable": SENT, "too_long": CONTENT, "empty_text": CONTENT, "no_rights": BLOCKED,
        "other_400": CONTENT, "internal": TRANSIENT, "bad_gateway_own": TRANSIENT, "proxy_403_huge": TRANSIENT,
    },
    "twilio": {
        "rate_limited": WAIT, "queue_full": WAIT, "internal": TRANSIENT, "unavailable_own": TRANSIENT,
        "day_limit": QUOTA, "inactive": QUOTA, "credentials": SETUP, "no_account": SETUP, "sender_not_ours": SETUP,
        "sender_invalid": SETUP, "sender_missing": SETUP, "geography": SETUP, "trial": SETUP, "no_number": DEAD,
        "no_mobile": DEAD, "opted_out": BLOCKED, "no_route": DEAD, "too_long": CONTENT, "empty_text": CONTENT,
        "other_400": CONTENT,
    },
}  # fmt: skip
EXPECTED = {provider: {**ANY, **own} for provider, own in OWN.items()}
UNKNOWN = {
    "hang", "hang_accepted", "drop", "drop_accepted", "gateway_timeout", "concurrent", "bare_500", "bad_gateway",
    "bad_gateway_own", "application_error", "internal",
}  # fmt: skip
UNREADABLE = {"half", "stall", "garbage", "empty", "huge", "nested"}
"""Answers with status 200 that do not tell which members of a batch were refused."""
WAITS = {
    "bare_429": 5, "retry_after": 7, ("brevo", "rate_limited"): 12, ("resend", "rate_limited"): 1,
    ("resend", "window"): 3, ("telegram", "rate_limited"): 9, ("twilio", "rate_limited"): 5, "queue_full": 5,
}  # fmt: skip
CASES = [(provider, name) for provider, answers in ANSWERS.items() for name in answers]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.6)
    monkeypatch.setattr(http, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.3)


def test_no_answer_is_left_out() -> None:
    assert {name: set(answers) for name, answers in ANSWERS.items()} == {
        name: set(answers) for name, answers in EXPECTED.items()
    }


@pytest.mark.parametrize(("name", "answer"), CASES)
def test_answer_becomes_the_outcome_of_the_table(provider: Provider, name: str, answer: str) -> None:
    provider.reset()
    provider.script(name, answer)
    (outcome,) = send(name, provider.url, messages(name))
    assert (outcome.verdict, outcome.reason) == EXPECTED[name][answer]
    assert outcome.unknown == (answer in UNKNOWN or (name, answer) in UNKNOWN)
    assert outcome.wait_seconds == WAITS.get((name, answer), WAITS.get(answer))
    assert outcome.verdict is Verdict.SENT or outcome.detail.startswith(f"{name} ")
    assert not [request for request in provider.requests if request["provider"] == "trap"]
    if answer == "huge":
        assert outcome.provider_message_id is None, "read no further than the bound"


@pytest.mark.parametrize(("name", "answer"), [case for case in CASES if case[0] in ("brevo", "resend")])
def test_batch_shares_the_outcome_or_is_split(provider: Provider, name: str, answer: str) -> None:
    """A refusal for content or address is not known to be about all members; everything else is. Resend's answer
    says who was refused: one that cannot be read is asked for again."""
    provider.reset()
    provider.script(name, answer)
    outcomes = send(name, provider.url, messages(name, 3))
    verdict, reason = EXPECTED[name][answer]
    assert len(outcomes) == 3
    expected = Verdict.SPLIT if verdict is Verdict.FAILED else verdict
    if name == "resend" and answer in UNREADABLE:
        expected, reason = BUSY
        assert all(outcome.unknown for outcome in outcomes)
    assert {(outcome.verdict, outcome.reason) for outcome in outcomes} == {(expected, reason)}


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ([{"id": "a"}, {"id": "b"}], []),
        ([{"id": "a"}, {"id": "b"}, None], []),
        ([{"id": "a"}] * 4, []),
        ([{"id": "a"}] * 3, [{"index": 1}]),
        ([{"id": "a"}, {"id": "b"}], 7),
        ([{"id": "a"}, {"id": "b"}], ["no"]),
        ([{"id": "a"}, {"id": "b"}], [{"message": "no"}]),
        ([{"id": "a"}, {"id": "b"}], [{"index": 1}, {"index": True}]),
        *([([{"id": "a"}, {"id": "b"}], [{"index": index}]) for index in ("1", True, 1.0, -1, 3, [1])]),
    ],
)
def test_batch_answer_that_does_not_add_up_is_asked_for_again(provider: Provider, data: Any, errors: Any) -> None:
    provider.reset()
    provider.script("resend", Answer(200, {"data": data, "errors": errors}, accepts=True))
    outcome = Outcome(*BUSY, unknown=True, detail="resend 200 unreadable")
    assert send("resend", provider.url, messages("resend", 3)) == [outcome] * 3


def test_member_of_a_batch_with_two_errors_is_refused_once(provider: Provider) -> None:
    provider.reset()
    errors = [{"index": 0, "message": "no"}, {"index": 0, "message": "nor this"}]
    provider.script("resend", Answer(200, {"data": [{"id": "a"}, {"id": "b"}], "errors": errors}, accepts=True))
    outcomes = send("resend", provider.url, messages("resend", 3))
    assert [outcome.provider_message_id for outcome in outcomes] == [None, "a", "b"]
    assert (outcomes[0].verdict, outcomes[0].reason) == CONTENT


PHRASES = [
    (400, "Bad Request: can't parse entities: unclosed tag", CONTENT, "unparsable_entities"),
    (400, "Bad Request: message is too long", CONTENT, "too_long"),
    (400, "Bad Request: message text is empty", CONTENT, "empty_text"),
    (400, "Bad Request: text must be non-empty", CONTENT, "empty_text"),
    (400, "Bad Request: chat not found", DEAD, "chat_not_found"),
    (400, "Bad Request: user not found", DEAD, "chat_not_found"),
    (400, "Bad Request: PEER_ID_INVALID", DEAD, "chat_not_found"),
    (400, "Bad Request: not enough rights to send text messages", BLOCKED, "no_rights"),
    (400, "Bad Request: have no rights to send a message", BLOCKED, "no_rights"),
    (400, "Bad Request: need administrator rights in the channel chat", BLOCKED, "no_rights"),
    (400, "Bad Request: CHAT_WRITE_FORBIDDEN", BLOCKED, "no_rights"),
    (403, "Forbidden: user is deactivated", DEAD, "user_deactivated"),
    (403, "Forbidden: the group chat was deleted", DEAD, "chat_deleted"),
]


@pytest.mark.parametrize(("status", "description", "expected", "word"), PHRASES)
def test_phrase_of_telegram_becomes_its_outcome(
    provider: Provider, status: int, description: str, expected: Expected, word: str
) -> None:
    provider.reset()
    provider.script("telegram", default=Answer(status, {"ok": False, "description": description}))
    assert send("telegram", provider.url, messages("telegram")) == [
        Outcome(*expected, detail=f"telegram {status} {word}")
    ]


def test_no_phrase_of_telegram_is_left_out() -> None:
    said = [description for _, description, _, _ in PHRASES]
    assert [phrase for phrase in telegram.PHRASES if not any(text.startswith(phrase) for text in said)] == []


@pytest.mark.parametrize("ending", [Ending.HALF, Ending.STALL])
def test_dead_chat_whose_answer_is_cut_off_halts_nothing(provider: Provider, ending: Ending) -> None:
    provider.reset()
    provider.script("telegram", replace(ANSWERS["telegram"]["blocked"], ending=ending))
    assert send("telegram", provider.url, messages("telegram")) == [Outcome(*TRANSIENT, detail="telegram 403")]


@pytest.mark.parametrize("name", CHANNELS)
def test_refused_connection_is_certain(name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (outcome,) = send(name, f"http://127.0.0.1:{unused.getsockname()[1]}", messages(name))
    assert outcome == Outcome(Verdict.RETRY, Reason.CONNECTION, detail=f"{name} connect_failed")


@pytest.mark.parametrize("name", CHANNELS)
def test_connection_that_is_never_taken_is_certain(name: str) -> None:
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())  # fills the queue, so that the next one waits
        (outcome,) = send(name, f"http://127.0.0.1:{listening.getsockname()[1]}", messages(name))
    assert outcome == Outcome(Verdict.RETRY, Reason.TIMEOUT, detail=f"{name} connect_timeout")


@pytest.mark.parametrize("name", CHANNELS)
def test_failed_tls_handshake_is_certain(provider: Provider, name: str) -> None:
    (outcome,) = send(name, provider.url.replace("http:", "https:"), messages(name))
    assert outcome == Outcome(Verdict.RETRY, Reason.CONNECTION, detail=f"{name} connect_failed")


@pytest.mark.parametrize("name", ["brevo", "resend"])
def test_key_that_cannot_be_a_header_halts_without_a_request(provider: Provider, name: str) -> None:
    provider.reset()
    (outcome,) = send(name, provider.url, messages(name), **{f"{name.upper()}_API_KEY": "se\r\ncret"})
    assert outcome == Outcome(Verdict.HALT, Reason.CREDENTIALS, detail=f"{name} unusable_key_or_url")
    assert provider.requests == []


def test_pasted_line_break_after_a_key_does_no_harm(provider: Provider) -> None:
    provider.reset()
    send("brevo", provider.url, messages("brevo"), BREVO_API_KEY="key\n")
    assert provider.requests[0]["headers"]["api-key"] == "key"
