"""Our channels against servers that nobody here wrote: emulate, maildev, and prism on the official descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest

from src.alerts.channels.http import Http, NoReply, Reply
from src.alerts.messages import Message, Outcome, Rendered, Verdict
from src.alerts.models import ChannelName, FailureReason
from src.alerts.rendering import Renderer
from src.settings import Settings
from tests.contracts.conftest import MailServer
from tests.contracts.servers import free_ports, running
from tests.integration.channel_calls import BODY, CHANNELS, messages, send
from tests.unit.test_rendering import DIGEST, EVENT

UNSUBSCRIBE = "https://alerts.example.org/alerts/unsubscribe/abc"
TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC00000000000000000000000000000000",
    "TWILIO_AUTH_TOKEN": "twilio_test_auth_token",
    "TWILIO_PHONE_NUMBER": "+15551234567",
}
RENDERER = Renderer(Settings(app_base_url="https://app.example.com"))


def verdicts(outcomes: list[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


# Resend, by emulate: real idempotency.


@pytest.mark.parametrize("count", [1, 100])
def test_resend_replays_the_first_answer_under_a_key(emulated_resend: str, count: int) -> None:
    key = str(uuid4())
    first = send("resend", emulated_resend, messages("resend", count), key)
    assert verdicts(first) == [Verdict.SENT] * count
    assert len({outcome.provider_message_id for outcome in first} - {None}) == count
    assert send("resend", emulated_resend, messages("resend", count), key) == first
    assert send("resend", emulated_resend, messages("resend", count)) != first


def test_resend_refuses_another_body_under_a_key_which_counts_as_sent(emulated_resend: str) -> None:
    key = str(uuid4())
    send("resend", emulated_resend, messages("resend", 2), key)
    other = messages("resend", 2, Rendered("Other", "other", "<p>other</p>"))
    assert send("resend", emulated_resend, other, key) == [Outcome(Verdict.SENT)] * 2


def test_resend_takes_no_more_than_a_hundred(emulated_resend: str) -> None:
    outcomes = send("resend", emulated_resend, messages("resend", 101))
    assert {(outcome.verdict, outcome.reason) for outcome in outcomes} == {
        (Verdict.SPLIT, FailureReason.CONTENT_REJECTED)
    }


# Twilio, by emulate: its own error codes.


def test_twilio_takes_a_message(emulated_twilio: str) -> None:
    (outcome,) = send("twilio", emulated_twilio, messages("twilio"), **TWILIO)
    assert outcome.verdict is Verdict.SENT
    assert re.fullmatch("SM[0-9a-f]{32}", outcome.provider_message_id or "")


def test_twilio_halts_on_wrong_credentials(emulated_twilio: str) -> None:
    (outcome,) = send("twilio", emulated_twilio, messages("twilio"), **TWILIO | {"TWILIO_AUTH_TOKEN": "wrong"})
    assert outcome == Outcome(Verdict.HALT, FailureReason.CREDENTIALS, detail="twilio 401 20003")


def test_twilio_halts_on_a_number_that_is_not_ours(emulated_twilio: str) -> None:
    other = TWILIO | {"TWILIO_PHONE_NUMBER": "+15550009999"}
    (outcome,) = send("twilio", emulated_twilio, messages("twilio"), **other)
    assert outcome == Outcome(Verdict.HALT, FailureReason.CREDENTIALS, detail="twilio 400 21606")


# SMTP, by maildev.


def test_smtp_mail_arrives_as_it_was_written(maildev: MailServer) -> None:
    rendered = RENDERER.digest(DIGEST, ChannelName.EMAIL)
    message = Message("digest-3", 1, "jane.digest@example.com", rendered, UNSUBSCRIBE)
    (outcome,) = send_by_smtp(maildev, [message])
    assert outcome.verdict is Verdict.SENT
    (mail,) = [mail for mail in _mails(maildev) if mail["to"][0]["address"] == message.to]
    assert mail["subject"] == rendered.subject
    assert mail["from"][0] == {"address": "alerts@example.org", "name": "EnergyRiskIQ"}
    assert _same(mail["text"], rendered.text)
    assert _same(mail["html"], rendered.html)
    with urlopen(f"{maildev.url}/api/email/{mail['id']}/source", timeout=10) as reply:  # noqa: S310 - loopback
        source = message_from_bytes(reply.read())
    assert source["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert source["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert source["Message-ID"] == outcome.provider_message_id


def test_smtp_sends_many_over_few_connections(maildev: MailServer) -> None:
    many = [message._replace(to=f"many.{number}@example.com") for number, message in enumerate(messages("smtp", 30))]
    assert verdicts(send_by_smtp(maildev, many)) == [Verdict.SENT] * 30
    arrived = {mail["to"][0]["address"] for mail in _mails(maildev)}
    assert {message.to for message in many} <= arrived


def test_smtp_halts_on_a_wrong_password(maildev: MailServer) -> None:
    (outcome,) = send_by_smtp(maildev, messages("smtp"), "jane:wrong")
    assert (outcome.verdict, outcome.reason) == (Verdict.HALT, FailureReason.CREDENTIALS)


# All HTTP providers, by prism on their official descriptions with unknown fields forbidden.

SPECS = {
    "brevo": "brevo_smtp.json",
    "resend": "resend_emails.json",
    "telegram": "telegram_send.json",
    "twilio": "twilio_messages.json",
}


@contextmanager
def _described(name: str, workplace: Path) -> Iterator[str]:
    ports = free_ports(1)
    spec = Path(__file__).parent / "specs" / SPECS[name]
    arguments = ("mock", "--host", "127.0.0.1", "--port", str(ports[0]), "--errors", str(spec))
    with running("prism", *arguments, ports=ports, directory=workplace):
        yield f"http://127.0.0.1:{ports[0]}"


@pytest.mark.parametrize("name", CHANNELS)
def test_requests_are_as_the_provider_describes_them(name: str, workplace: Path) -> None:
    """Instants and digests, with and without unsubscribing, alone and in batches."""
    channel = CHANNELS[name]
    bodies = [BODY, RENDERER.instant(EVENT, channel)]
    if channel is not ChannelName.SMS:
        bodies.append(RENDERER.digest(DIGEST, channel))
    email = channel is ChannelName.EMAIL
    secrets = {"TWILIO_ACCOUNT_SID": TWILIO["TWILIO_ACCOUNT_SID"]}
    with _described(name, workplace) as url:
        for body in bodies:
            single = [messages(name, 1, body)[0]._replace(unsubscribe_url=UNSUBSCRIBE if email else None)]
            assert verdicts(send(name, url, single, **secrets)) == [Verdict.SENT]
        if email:
            batch = [message._replace(body=body) for message, body in zip(messages(name, 3), bodies, strict=True)]
            outcomes = send(name, url, batch)
            # Prism answers Resend's with one id, whatever their number: taken, but who was is not told.
            taken = {"brevo": (Verdict.SENT, ""), "resend": (Verdict.RETRY, "resend 200 unreadable")}[name]
            assert [(outcome.verdict, outcome.detail) for outcome in outcomes] == [taken] * 3
        if name == "telegram":
            public = [messages(name)[0]._replace(to="@energyriskiq")]
            assert verdicts(send(name, url, public)) == [Verdict.SENT]


@pytest.mark.parametrize("name", ["brevo", "resend"])
def test_description_catches_a_mistyped_field(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prism would say so: a subject that is no text."""
    post = Http.post_json

    async def mistyped(
        http: Http, path: str, content: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Reply | NoReply:
        return await post(http, path, {**content, "subject": 7}, headers)

    monkeypatch.setattr(Http, "post_json", mistyped)
    with _described(name, workplace) as url:
        (outcome,) = send(name, url, messages(name))
    assert outcome.verdict is not Verdict.SENT


def send_by_smtp(server: MailServer, what: list[Message], login: str = "jane:pa55word") -> list[Outcome]:
    url = f"smtp://{login}@127.0.0.1:{server.smtp_port}"
    return send("smtp", "http://127.0.0.1:9", what, SMTP_URL=url)


def _mails(server: MailServer) -> list[dict[str, Any]]:
    with urlopen(f"{server.url}/api/email", timeout=10) as reply:  # noqa: S310 - loopback
        mails: list[dict[str, Any]] = json.load(reply)
    return mails


def _same(received: str, sent: str) -> bool:
    return received.replace("\r\n", "\n").strip() == sent.strip()
