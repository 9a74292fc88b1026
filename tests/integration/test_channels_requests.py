"""What goes over the wire: requests field by field, keys, batches, and what is never sent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import pytest

from src.alerts.channels.lengths import sms_segments, telegram_units
from src.alerts.channels.registry import open_channels
from src.alerts.messages import Message, Outcome, Rendered, Verdict
from src.alerts.models import ChannelName, FailureReason
from tests.integration.channel_calls import BODY, CHANNELS, SECRETS, messages, send, settings_for
from tests.providers.process import Provider, running_provider

KEY = "11111111-2222-4333-8444-555555555555"
UNSUBSCRIBE = "https://alerts.example.org/alerts/unsubscribe/abc.def"
UNSUBSCRIBE_HEADERS = {
    "List-Unsubscribe": f"<{UNSUBSCRIBE}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}
SENDER = {"email": "alerts@example.org", "name": "EnergyRiskIQ"}
CONTENT = {"subject": "Private subject", "htmlContent": "<p>Private html</p>", "textContent": "Private text"}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.reset()
    return running


def test_brevo_single(provider: Provider) -> None:
    (outcome,) = send("brevo", provider.url, [messages("brevo")[0]._replace(unsubscribe_url=UNSUBSCRIBE)], KEY)
    (request,) = provider.requests
    assert request["path"] == "/v3/smtp/email"
    assert request["headers"]["api-key"] == SECRETS["BREVO_API_KEY"]
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["content"] == {
        "sender": SENDER,
        "to": [{"email": "jane.0@example.com"}],
        **CONTENT,
        "headers": {"idempotencyKey": KEY, **UNSUBSCRIBE_HEADERS},
    }
    assert (outcome.provider_message_id or "").endswith("@smtp-relay.example.com>")


def test_brevo_sender_name_is_as_long_as_brevo_takes(provider: Provider) -> None:
    send("brevo", provider.url, messages("brevo"), EMAIL_FROM=f"{'Energy ' * 20}<alerts@example.org>")
    assert len(provider.requests[0]["content"]["sender"]["name"]) <= 70


def test_brevo_has_no_variables_to_fill_in(provider: Provider) -> None:
    text = "{{ contact.EMAIL }} {% if %} {{{ { {a} 100 %}"
    send("brevo", provider.url, messages("brevo", 2, Rendered(text, text, text)))
    content = provider.requests[0]["content"]
    for name in CONTENT:
        assert "{{" not in content[name]
        assert "{%" not in content[name]
        assert content[name].replace("\u200b", "") == text


def test_brevo_versions_hold_only_what_differs(provider: Provider) -> None:
    first, second, third = messages("brevo", 3)
    second = second._replace(body=Rendered("Other subject", BODY.text, BODY.html), unsubscribe_url=UNSUBSCRIBE)
    outcomes = send("brevo", provider.url, [first, second, third], KEY)
    (request,) = provider.requests
    assert request["content"] == {
        "sender": SENDER,
        **CONTENT,
        "headers": {"idempotencyKey": KEY},
        "messageVersions": [
            {"to": [{"email": "jane.0@example.com"}]},
            {"to": [{"email": "jane.1@example.com"}], "subject": "Other subject", "headers": UNSUBSCRIBE_HEADERS},
            {"to": [{"email": "jane.2@example.com"}]},
        ],
    }
    assert len({outcome.provider_message_id for outcome in outcomes} - {None}) == 3
    assert [mail["subject"] for mail in provider.accepted] == ["Private subject", "Other subject", "Private subject"]


def test_resend_single(provider: Provider) -> None:
    (outcome,) = send("resend", provider.url, [messages("resend")[0]._replace(unsubscribe_url=UNSUBSCRIBE)], KEY)
    (request,) = provider.requests
    assert request["path"] == "/emails"
    assert request["headers"]["Authorization"] == f"Bearer {SECRETS['RESEND_API_KEY']}"
    assert request["headers"]["Idempotency-Key"] == KEY
    assert request["content"] == {
        "from": "EnergyRiskIQ <alerts@example.org>",
        "to": ["jane.0@example.com"],
        "subject": "Private subject",
        "html": "<p>Private html</p>",
        "text": "Private text",
        "headers": UNSUBSCRIBE_HEADERS,
    }
    assert len(outcome.provider_message_id or "") == 32


def test_resend_batch_maps_each_answer_to_its_message(provider: Provider) -> None:
    provider.script("resend", refuse=["jane.1@example.com", "jane.3@example.com"])
    outcomes = send("resend", provider.url, messages("resend", 5), KEY)
    (request,) = provider.requests
    assert request["path"] == "/emails/batch"
    assert request["headers"]["x-batch-validation"] == "permissive"
    assert request["headers"]["Idempotency-Key"] == KEY
    assert [email["to"] for email in request["content"]] == [[f"jane.{number}@example.com"] for number in range(5)]
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.SENT, Verdict.FAILED, Verdict.SENT, Verdict.FAILED, Verdict.SENT,
    ]  # fmt: skip
    assert outcomes[1].reason is FailureReason.CONTENT_REJECTED
    assert len({outcome.provider_message_id for outcome in outcomes} - {None}) == 3


def test_telegram(provider: Provider) -> None:
    send("telegram", provider.url, messages("telegram"))
    (request,) = provider.requests
    assert request["path"] == f"/bot{SECRETS['TELEGRAM_BOT_TOKEN']}/sendMessage"
    assert request["content"] == {
        "chat_id": 42424240,
        "text": "Private text",
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }


def test_twilio(provider: Provider) -> None:
    send("twilio", provider.url, messages("twilio"))
    (request,) = provider.requests
    credentials = base64.b64encode(f"{SECRETS['TWILIO_ACCOUNT_SID']}:{SECRETS['TWILIO_AUTH_TOKEN']}".encode())
    assert request["path"] == f"/2010-04-01/Accounts/{SECRETS['TWILIO_ACCOUNT_SID']}/Messages.json"
    assert request["headers"]["Authorization"] == f"Basic {credentials.decode()}"
    assert request["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert request["content"] == {"To": "+31612345670", "From": "+15005550006", "Body": "Private text"}


@pytest.mark.parametrize("name", ["brevo", "resend"])
@pytest.mark.parametrize("count", [1, 40])
def test_unanswered_request_repeated_under_its_key_is_accepted_once(provider: Provider, name: str, count: int) -> None:
    provider.script(name, "drop_accepted")
    first = send(name, provider.url, messages(name, count), KEY)
    again = send(name, provider.url, messages(name, count), KEY)
    assert all(outcome.unknown for outcome in first)
    assert [outcome.verdict for outcome in again] == [Verdict.SENT] * count
    assert len(provider.accepted) == count
    first_request, second_request = provider.requests
    assert first_request["content"] == second_request["content"]
    assert first_request["key"] == second_request["key"] == KEY


def test_request_under_way_elsewhere_is_of_unknown_outcome(provider: Provider) -> None:
    async def both() -> list[list[Outcome]]:
        channels = open_channels(settings_for("resend", provider.url))
        email = channels[ChannelName.EMAIL]
        calls = await asyncio.gather(*(email.send(messages("resend"), KEY) for _ in range(2)))
        await asyncio.gather(*(channel.close() for channel in channels.values()))
        return calls

    provider.script("resend", "slow")
    outcomes = [outcome for call in asyncio.run(both()) for outcome in call]
    assert sorted((outcome.verdict, outcome.unknown) for outcome in outcomes) == [("retry", True), ("sent", False)]
    assert len(provider.accepted) == 1


def test_other_content_under_a_known_key_counts_as_sent(provider: Provider) -> None:
    send("resend", provider.url, messages("resend", 2), KEY)
    other = Rendered("Other", "other", "<p>other</p>")
    assert send("resend", provider.url, messages("resend", 2, other), KEY) == [Outcome(Verdict.SENT)] * 2
    assert len(provider.accepted) == 2


def test_batch_of_megabytes_goes_out_whole(provider: Provider) -> None:
    large = messages("resend", 100, Rendered("Subject", "x" * 5000, "<p>" + "y" * 30_000 + "</p>"))
    assert {outcome.verdict for outcome in send("resend", provider.url, large)} == {Verdict.SENT}
    assert len(provider.accepted) == 100


HOSTILE = {
    ChannelName.EMAIL: [
        "", "nobody", "@example.com", "a@", "a@b@example.com", "a b@example.com", "a@exa mple.com",
        "a@example.com\r\nBcc: b@example.com", "a@example.com\n", "\ta@example.com", "a@example.com\x00",
        "a@example.com,b@example.com", "Jane <jane@example.com>", "a@-example.com", "a..b@example.com",
        "jané@example.com", "a@example..com", f"{'a' * 65}@example.com", f"a@{'b' * 250}.com", "a@example.com\u2028",
    ],
    ChannelName.TELEGRAM: [
        "", "0", "abc", "42 ", "4.2", "--42", "+42", "@", "@ab", "@a b c d", "٤٢", "42\n", "9" * 17, "@x\r\ny",
    ],
    ChannelName.SMS: [
        "", "0612345678", "31612345678", "+0612345678", "+31 6 12345678", "+3161234567890123", "+31612\n345",
        "+٣١٦١٢٣٤٥٦٧", "+3161234567x", "+31612345678,+31612345679",
    ],
}  # fmt: skip
HOSTILE_CASES = [(name, to) for name, channel in CHANNELS.items() for to in HOSTILE[channel]]


@pytest.mark.parametrize(("name", "to"), HOSTILE_CASES)
def test_impossible_destination_fails_without_a_request(provider: Provider, name: str, to: str) -> None:
    (outcome,) = send(name, provider.url, [Message("delivery-1", 1, to, BODY)])
    detail = f"{name} not_sent"
    assert outcome == Outcome(Verdict.FAILED, FailureReason.INVALID_DESTINATION, detail=detail, asked=False)
    assert provider.requests == []


@pytest.mark.parametrize("name", ["brevo", "resend"])
def test_impossible_destination_leaves_the_rest_of_its_batch_alone(provider: Provider, name: str) -> None:
    good = messages(name, 3)
    outcomes = send(name, provider.url, [good[0], good[1]._replace(to="nobody"), good[2]])
    assert [outcome.verdict for outcome in outcomes] == [Verdict.SENT, Verdict.FAILED, Verdict.SENT]
    assert [mail["to"] for mail in provider.accepted] == ["jane.0@example.com", "jane.2@example.com"]


@pytest.mark.parametrize("name", ["brevo", "resend"])
def test_subject_is_one_line_and_international_domains_are_ascii(provider: Provider, name: str) -> None:
    body = Rendered("One\r\nBcc: x@example.com", "text", "<p>html</p>")
    send(name, provider.url, [Message("delivery-1", 1, "jane@münchen.example", body)])
    (mail,) = provider.accepted
    assert mail["subject"] == "One Bcc: x@example.com"
    assert mail["to"] == "jane@xn--mnchen-3ya.example"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a>\r\nBcc: x", "https://a b", "https://é.example/"])
def test_unusable_unsubscribe_url_makes_no_header(provider: Provider, url: str) -> None:
    send("resend", provider.url, [messages("resend")[0]._replace(unsubscribe_url=url)])
    assert "headers" not in provider.requests[0]["content"]


def test_telegram_goes_once_more_as_plain_text_when_entities_do_not_parse(provider: Provider) -> None:
    provider.script("telegram", "unparsable")
    body = Rendered("", '<b>Gas &amp; oil</b> <a href="https://example.com">link</a>')
    (outcome,) = send("telegram", provider.url, messages("telegram", body=body))
    assert outcome.verdict is Verdict.SENT
    assert [request["content"].get("parse_mode") for request in provider.requests] == ["HTML", None]
    assert provider.requests[1]["content"]["text"] == "Gas & oil link"
    assert len(provider.accepted) == 1


def test_telegram_that_was_accepted_is_not_sent_again_whatever_its_body_says(provider: Provider) -> None:
    provider.script("telegram", "accepted_unparsable")
    (outcome,) = send("telegram", provider.url, messages("telegram"))
    assert (outcome.verdict, len(provider.requests)) == (Verdict.SENT, 1)


def test_telegram_that_does_not_parse_twice_fails_for_good(provider: Provider) -> None:
    provider.script("telegram", "unparsable", "unparsable")
    (outcome,) = send("telegram", provider.url, messages("telegram"))
    assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, FailureReason.CONTENT_REJECTED)
    assert len(provider.requests) == 2


def test_moved_telegram_group_names_its_new_chat(provider: Provider) -> None:
    provider.script("telegram", "migrated")
    (outcome,) = send("telegram", provider.url, messages("telegram"))
    assert outcome.moved_to == "-1001234567890"


def test_telegram_text_is_cut_to_what_a_message_holds(provider: Provider) -> None:
    send("telegram", provider.url, messages("telegram", body=Rendered("", "<b>" + "🔥&amp;" * 4000 + "</b>")))
    text = provider.accepted[0]["text"]
    assert 4090 <= telegram_units(text) <= 4096
    assert text.endswith("…</b>")


def test_telegram_public_name_goes_as_text(provider: Provider) -> None:
    send("telegram", provider.url, [Message("delivery-1", 1, "@energyriskiq", BODY)])
    assert provider.requests[0]["content"]["chat_id"] == "@energyriskiq"


def test_sms_is_cut_to_two_segments(provider: Provider) -> None:
    send("twilio", provider.url, messages("twilio", body=Rendered("", "Ω€é" * 400)))
    assert sms_segments(provider.accepted[0]["text"]) == 2
