"""SMTP: the mail itself, connections, and every way to be refused."""

from __future__ import annotations

import asyncio
import email.policy
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.parser import BytesParser
from uuid import uuid4

import pytest

from src.alerts.channels import smtp
from src.alerts.channels.endpoints import Sender, SmtpServer
from src.alerts.messages import Message, Outcome, Rendered, Verdict
from src.alerts.models import ChannelName
from src.alerts.models import FailureReason as Reason
from src.alerts.unsubscribe import unsubscribe_url
from src.settings import read_settings
from tests.integration.channel_calls import BODY, messages
from tests.providers.smtp import DROP, HANG, smtp_server
from tests.providers.smtp import SmtpServer as FakeServer

SENDER = Sender("Énergie, Risk", "alerts@example.org")


def with_server(
    replies: dict[str, str], talk: Callable[[smtp.SmtpChannel, FakeServer], Awaitable[None]], user: str = "jane"
) -> FakeServer:
    """Run `talk` with a channel on a server that has these replies."""

    async def run() -> FakeServer:
        async with smtp_server(replies) as server:
            channel = smtp.SmtpChannel(SmtpServer("127.0.0.1", server.port, False, user, "pa55word"), SENDER)
            await talk(channel, server)
            await channel.close()
            return server

    return asyncio.run(run())


def send(replies: dict[str, str], user: str = "jane") -> tuple[Outcome, FakeServer]:
    outcomes: list[Outcome] = []

    async def once(channel: smtp.SmtpChannel, _server: FakeServer) -> None:
        outcomes.extend(await channel.send(messages("smtp"), str(uuid4())))

    server = with_server(replies, once, user)
    return outcomes[0], server


def parsed(content: bytes) -> EmailMessage:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(content)
    assert isinstance(message, EmailMessage)
    return message


def test_mail_has_both_forms_and_all_headers() -> None:
    async def once(channel: smtp.SmtpChannel, _server: FakeServer) -> None:
        message = messages("smtp")[0]._replace(unsubscribe_url="https://example.org/u/1")
        (outcome,) = await channel.send([message], str(uuid4()))
        assert outcome.verdict is Verdict.SENT

    mail = parsed(with_server({}, once).accepted[0])
    assert mail["From"] == '"Énergie, Risk" <alerts@example.org>'
    assert mail["To"] == "jane.0@example.com"
    assert mail["Subject"] == BODY.subject
    assert mail["List-Unsubscribe"] == "<https://example.org/u/1>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Date"]
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert (text.get_content().strip(), html.get_content().strip()) == (BODY.text, BODY.html)


def raw(message: Message) -> bytes:
    """A mail as the server got it."""

    async def once(channel: smtp.SmtpChannel, _server: FakeServer) -> None:
        await channel.send([message], str(uuid4()))

    return with_server({}, once).accepted[0]


def test_an_unsubscribe_url_longer_than_a_line_stays_whole() -> None:
    settings, _, _ = read_settings({"ALERTS_PUBLIC_URL": "https://a.example.org", "ALERTS_LINK_SECRET": "s" * 32})
    url = unsubscribe_url(settings, 1, ChannelName.EMAIL)
    assert url is not None
    assert len(url) > 78
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw(messages("smtp")[0]._replace(unsubscribe_url=url))


def test_an_unsubscribe_url_longer_than_a_line_may_be_is_left_out() -> None:
    url = "https://a.example.org/" + "u" * 1000
    assert b"List-Unsubscribe" not in raw(messages("smtp")[0]._replace(unsubscribe_url=url))


@pytest.mark.parametrize("encoded", ["=?utf-8?q?x=0D=0AReply-To:_e@evil.example?=", "=?utf-8?b?DQoNCkJvZHk=?="])
def test_a_headline_that_looks_encoded_makes_no_header_and_no_body(encoded: str) -> None:
    mail = raw(messages("smtp", body=Rendered(f"High alert: {encoded}", "text", "<p>html</p>"))[0])
    head = mail.partition(b"\r\n\r\n")[0]
    assert b"\r\nReply-To:" not in mail
    assert b"\r\nMIME-Version:" in head


def test_repeat_keeps_its_message_id_and_other_messages_have_another() -> None:
    async def thrice(channel: smtp.SmtpChannel, _server: FakeServer) -> None:
        first, second = messages("smtp", 2)
        for message in (first, first, second):
            await channel.send([message], str(uuid4()))

    ids = [parsed(content)["Message-ID"] for content in with_server({}, thrice).accepted]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("<delivery-0.")
    assert ids[0].endswith("@example.org>")


def test_connections_are_few_and_used_again() -> None:
    async def many(channel: smtp.SmtpChannel, _server: FakeServer) -> None:
        await asyncio.gather(*(channel.send([message], str(uuid4())) for message in messages("smtp", 20)))

    server = with_server({}, many)
    assert len(server.accepted) == 20
    assert server.connections <= smtp.CONNECTIONS


@pytest.mark.parametrize(("command", "reply"), [("RSET", DROP), ("MAIL", DROP), ("MAIL", "421 4.7.0 too many mails")])
def test_connection_that_is_closed_or_takes_no_more_mails_is_replaced(command: str, reply: str) -> None:
    async def twice(channel: smtp.SmtpChannel, server: FakeServer) -> None:
        await channel.send(messages("smtp"), str(uuid4()))
        server.once[command] = reply
        assert (await channel.send(messages("smtp"), str(uuid4())))[0].verdict is Verdict.SENT

    server = with_server({}, twice)
    assert (server.connections, len(server.accepted)) == (2, 2)


def test_a_reply_too_many_does_not_pass_for_the_next_mails_acceptance() -> None:
    async def thrice(channel: smtp.SmtpChannel, server: FakeServer) -> None:
        server.once["END"] = "250 ok\r\n250 ok"  # so that each command gets the one before's answer, DATA RCPT's
        first, second, third = [(await channel.send(messages("smtp"), str(uuid4())))[0] for _ in range(3)]
        assert (first.verdict, third.verdict) == (Verdict.SENT, Verdict.SENT)
        assert second == Outcome(Verdict.RETRY, Reason.CONNECTION, detail="smtp recipient no_answer")

    assert len(with_server({}, thrice).accepted) == 2


@pytest.mark.parametrize(
    ("command", "reply", "connections"),
    [("AUTH", "454 later", 2), ("MAIL", "451 later", 1), ("RCPT", "550 no such user", 1), ("END", "554 spam", 1)],
)
def test_refusal_spoils_the_connection_only_at_login(command: str, reply: str, connections: int) -> None:
    async def twice(channel: smtp.SmtpChannel, server: FakeServer) -> None:
        server.replies[command] = reply
        (refused,) = await channel.send(messages("smtp"), str(uuid4()))
        del server.replies[command]
        (sent,) = await channel.send(messages("smtp"), str(uuid4()))
        assert (refused.detail[-3:], sent.verdict) == (reply[:3], Verdict.SENT)

    assert with_server({}, twice).connections == connections


UPGRADE = {"EHLO": "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN"}
CASES = [
    ({"CONNECT": "554 no service"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp connect 554"),
    ({"CONNECT": "421 too busy"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp connect 421"),
    ({"CONNECT": DROP}, Verdict.RETRY, Reason.CONNECTION, "smtp connect no_answer"),
    ({"CONNECT": HANG}, Verdict.RETRY, Reason.TIMEOUT, "smtp connect no_answer"),
    ({"AUTH": "535 5.7.8 bad credentials"}, Verdict.HALT, Reason.CREDENTIALS, "smtp login 535"),
    ({"AUTH": "454 4.7.0 later"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp login 454"),
    ({**UPGRADE, "STARTTLS": "454 4.7.0 no TLS now"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp connect 454"),
    ({"EHLO": "250 no extensions"}, Verdict.HALT, Reason.CREDENTIALS, "smtp login not_offered"),
    ({"MAIL": "530 5.7.0 authenticate first"}, Verdict.HALT, Reason.CREDENTIALS, "smtp sender 530"),
    ({"MAIL": "553 not your address"}, Verdict.HALT, Reason.CREDENTIALS, "smtp sender 553"),
    ({"MAIL": "451 later"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp sender 451"),
    ({"MAIL": "421 bye"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp sender 421"),
    ({"RCPT": "550 no such user"}, Verdict.FAILED, Reason.INVALID_DESTINATION, "smtp recipient 550"),
    ({"RCPT": "450 mailbox busy"}, Verdict.RETRY, Reason.INVALID_DESTINATION, "smtp recipient 450"),
    ({"RCPT": "552 5.2.2 mailbox full"}, Verdict.FAILED, Reason.INVALID_DESTINATION, "smtp recipient 552"),
    ({"RCPT": "534 5.7.9 stronger login"}, Verdict.HALT, Reason.CREDENTIALS, "smtp recipient 534"),
    ({"RCPT": "538 5.7.11 encrypt first"}, Verdict.HALT, Reason.CREDENTIALS, "smtp recipient 538"),
    ({"RCPT": DROP}, Verdict.RETRY, Reason.CONNECTION, "smtp recipient no_answer"),
    ({"DATA": "250 ok"}, Verdict.RETRY, Reason.CONNECTION, "smtp recipient no_answer"),
    ({"END": "252 will try"}, Verdict.RETRY, Reason.CONNECTION, "smtp content no_answer"),
    ({"DATA": "452 storage"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp content 452"),
    ({"END": "554 spam"}, Verdict.FAILED, Reason.CONTENT_REJECTED, "smtp content 554"),
    ({"END": "552 too large"}, Verdict.FAILED, Reason.CONTENT_REJECTED, "smtp content 552"),
    ({"END": "451 later"}, Verdict.RETRY, Reason.PROVIDER_UNAVAILABLE, "smtp content 451"),
    ({"END": DROP}, Verdict.RETRY, Reason.CONNECTION, "smtp content no_answer"),
    ({"END": HANG}, Verdict.RETRY, Reason.TIMEOUT, "smtp content no_answer"),
    ({"END": "what is this"}, Verdict.RETRY, Reason.CONNECTION, "smtp content no_answer"),
]


@pytest.mark.parametrize(("replies", "verdict", "reason", "detail"), CASES)
def test_refusal_becomes_the_outcome_of_its_stage(
    replies: dict[str, str], verdict: Verdict, reason: Reason, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(smtp, "TOTAL_SECONDS", 0.6)
    outcome, server = send(replies)
    unknown = detail == "smtp content no_answer"
    assert outcome == Outcome(verdict, reason, unknown=unknown, detail=detail)
    assert bool(server.accepted) == unknown


@pytest.mark.parametrize("reply", ["454 4.7.0 no TLS now", "500 what", DROP])
def test_nothing_follows_an_upgrade_that_fails(reply: str) -> None:
    _, server = send({**UPGRADE, "STARTTLS": reply})
    assert [line.split()[0] for line in server.heard] == [b"EHLO", b"STARTTLS"]


def test_server_without_login_is_used_without_one() -> None:
    outcome, server = send({"AUTH": "500 no"}, user="")
    assert outcome.verdict is Verdict.SENT
    assert len(server.accepted) == 1


def test_nobody_listening_is_certain() -> None:
    async def run() -> Outcome:
        async with smtp_server() as server:
            port = server.port
        channel = smtp.SmtpChannel(SmtpServer("127.0.0.1", port, False, "", ""), SENDER)
        return (await channel.send(messages("smtp"), str(uuid4())))[0]

    assert asyncio.run(run()) == Outcome(Verdict.RETRY, Reason.CONNECTION, detail="smtp connect no_answer")


def test_password_does_not_cross_a_network_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "LOOPBACK", ())
    outcome, server = send({})
    assert outcome == Outcome(Verdict.HALT, Reason.CREDENTIALS, detail="smtp login not_offered")
    assert [line.split()[0] for line in server.heard] == [b"EHLO"]


def test_any_success_after_the_content_is_one() -> None:
    outcome, server = send({"END": "200 accepted"})
    assert (outcome.verdict, len(server.accepted)) == (Verdict.SENT, 1)


def test_a_host_name_that_is_none_halts_the_channel() -> None:
    async def run() -> Outcome:
        channel = smtp.SmtpChannel(SmtpServer("mail..example.com", 587, False, "", ""), SENDER)
        (outcome,) = await channel.send(messages("smtp"), str(uuid4()))
        return outcome

    outcome = asyncio.run(run())
    assert (outcome.verdict, outcome.reason) == (Verdict.HALT, Reason.CREDENTIALS)
