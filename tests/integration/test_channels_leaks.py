"""Nothing private leaves a channel: every fault, logging at debug level, asyncio in debug mode."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from uuid import uuid4

import pytest

from src.alerts.channels import http, smtp
from src.alerts.channels.endpoints import Sender, SmtpServer
from src.alerts.messages import Outcome
from tests.integration.channel_calls import BODY, CHANNELS, SECRETS, messages, send_async
from tests.integration.test_channels_smtp import CASES as SMTP_CASES
from tests.providers.answers import ANSWERS, Answer
from tests.providers.process import Provider, running_provider
from tests.providers.smtp import smtp_server

ECHO = "jane.0@example.com 42424240 +31612345670 Private 5ecret"
ECHOES = {
    "echo_400": Answer(400, {"code": ECHO, "name": ECHO, "message": ECHO, "ok": False, "description": ECHO}),
    "echo_401": Answer(401, {"code": ECHO, "name": ECHO, "message": ECHO}, {"Set-Cookie": "a=5ecret; b\x7f=5ecret"}),
    "echo_500": Answer(500, ECHO, {"X-Echo": ECHO}),
    "echo_in_long_header": Answer(200, ECHO, {"X-Echo": ECHO * 300}),
    "echo_in_redirect": Answer(302, ECHO, {"Location": f"http://127.0.0.1:9/{ECHO.replace(' ', '/')}"}),
}
CASES = [(name, answer) for name in CHANNELS for answer in {**ANSWERS[name], **ECHOES}]
PRIVATE = ("5ecret", "jane", "example.com", "4242424", "31612345", "Private", "pa55word")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (http, smtp):
        monkeypatch.setattr(module, "TOTAL_SECONDS", 0.6)
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(http, "SWEEP_SECONDS", 0.05)


def assert_private(
    outcomes: list[Outcome], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing in the outcomes but the chat id that a group moved to, nothing logged, nothing printed."""
    seen = [repr([outcome._replace(provider_message_id=None, moved_to=None) for outcome in outcomes])]
    seen += [f"{record.getMessage()} {record.exc_info}" for record in caplog.records]
    seen += capfd.readouterr()
    assert [text for text in seen if any(word in text for word in PRIVATE)] == []


@pytest.mark.parametrize(("name", "answer"), CASES)
def test_fault_shows_nothing_private(
    provider: Provider, name: str, answer: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    provider.script(name, ECHOES.get(answer, answer))
    with caplog.at_level(logging.DEBUG):
        outcomes = asyncio.run(send_async(name, provider.url, messages(name)), debug=True)
    assert_private(outcomes, caplog, capfd)


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_unreachable_provider_shows_nothing_private(
    name: str, scheme: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused, caplog.at_level(logging.DEBUG):
        unused.bind(("127.0.0.1", 0))
        url = f"{scheme}://localhost:{unused.getsockname()[1]}"
        outcomes = asyncio.run(send_async(name, url, messages(name)), debug=True)
    assert_private(outcomes, caplog, capfd)


@pytest.mark.parametrize("replies", [case[0] for case in SMTP_CASES])
def test_smtp_fault_shows_nothing_private(
    replies: dict[str, str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def run() -> list[Outcome]:
        echoing = {command: f"{reply} {ECHO}" if " " in reply else reply for command, reply in replies.items()}
        async with smtp_server(echoing) as server:
            login = SmtpServer("127.0.0.1", server.port, False, "jane", "pa55word")
            channel = smtp.SmtpChannel(login, Sender("", "alerts@example.com"))
            outcomes = await channel.send(messages("smtp"), str(uuid4()))
            await channel.close()
            return outcomes

    with caplog.at_level(logging.DEBUG):
        outcomes = asyncio.run(run(), debug=True)
    assert_private(outcomes, caplog, capfd)


def test_what_holds_secrets_does_not_print_them() -> None:
    shown = repr(SmtpServer("mail.example.org", 587, False, "jane", "pa55word"))
    assert "jane" not in shown
    assert "pa55word" not in shown


def test_the_words_looked_for_are_those_that_were_sent() -> None:
    sent = [*SECRETS.values(), BODY.subject, BODY.text, *(messages(name)[0].to for name in CHANNELS)]
    assert [text for text in sent if not any(word in text for word in PRIVATE)] == []
