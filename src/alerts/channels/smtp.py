"""Email through any SMTP server: submission with STARTTLS where it is offered, or TLS from the start.

A few connections are kept and used again. Everything before DATA is certain; once the content may have
been written, only the server's answer tells, and without one the outcome is unknown. The Message-ID
stays the same over attempts, so that mailboxes can recognise a repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from enum import StrEnum

import aiosmtplib

from src.alerts.channels.base import Limits, SingleChannel
from src.alerts.channels.classification import CONTENT, DEAD, SETUP, TRANSIENT, Rule
from src.alerts.channels.endpoints import Sender, SmtpServer
from src.alerts.channels.mail import mime
from src.alerts.messages import NOT_STARTED, Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason

CONNECT_SECONDS = 10
TOTAL_SECONDS = 30
CONNECTIONS = 4
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Stage(StrEnum):
    """How far an SMTP dialogue (RFC 5321) has come."""

    CONNECT = "connect"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


# A mailbox that is full or greylisted is no outage: it is retried without counting as one.
NOT_NOW = Rule(Verdict.RETRY, FailureReason.INVALID_DESTINATION)
STAGES: Mapping[Stage, tuple[Rule, Rule]] = {  # what a 4xx and a 5xx mean there
    Stage.CONNECT: (TRANSIENT, TRANSIENT),
    Stage.LOGIN: (TRANSIENT, SETUP),
    Stage.SENDER: (TRANSIENT, SETUP),
    Stage.RECIPIENT: (NOT_NOW, DEAD),
    Stage.CONTENT: (TRANSIENT, CONTENT),
}
CODES: Mapping[int, Rule] = {  # which mean the same everywhere (RFC 4954, RFC 5321)
    421: TRANSIENT,
    454: TRANSIENT,
    530: SETUP,
    534: SETUP,
    535: SETUP,
    538: SETUP,
}
# As an error of DATA, this is RCPT's answer, or MAIL's, that came late, and nothing was written: RFC 5321 4.3.2 has
# 354 for DATA, and 250 after the content is no error. The others may be RCPT's, too, or the server's own way.
LATE, DOUBTFUL = 250, (251, 252)


class InsecureLoginError(Exception):
    """The server offers no TLS, and the password would cross a network in the clear."""


class SmtpChannel(SingleChannel):
    name = ChannelName.EMAIL
    provider = "smtp"
    limits = Limits(requests_per_second=None)

    def __init__(self, server: SmtpServer, sender: Sender) -> None:
        self._server = server
        self._sender = sender
        self._idle: list[aiosmtplib.SMTP] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def close(self) -> None:
        for client in self._idle:
            client.close()
        self._idle.clear()

    async def deliver_one(self, message: Message) -> Outcome:
        mail = mime(message, self._sender)
        mail["Date"] = formatdate()
        dialogue = _Dialogue(self._server, self._idle)
        try:
            async with self._slots, asyncio.timeout(TOTAL_SECONDS):
                await dialogue.send(self._sender.address, message.to, mail.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            return _answered(dialogue.stage, error.code)
        except TimeoutError:
            return _unanswered(dialogue.stage, FailureReason.TIMEOUT)
        except OSError:
            return _unanswered(dialogue.stage, FailureReason.CONNECTION)
        except (aiosmtplib.SMTPException, InsecureLoginError, UnicodeError):  # no safe login, or no host name
            return _outcome(SETUP, dialogue.stage, "not_offered")
        except asyncio.CancelledError:  # the run is cut off: what was not written can wait for the next
            if dialogue.stage is Stage.CONTENT:
                raise
            return NOT_STARTED
        finally:
            dialogue.finish()
        return Outcome(Verdict.SENT, provider_message_id=mail["Message-ID"])


class _Dialogue:
    """One message over one connection, new or used before; `stage` is how far it came."""

    def __init__(self, server: SmtpServer, idle: list[aiosmtplib.SMTP]) -> None:
        self.stage = Stage.CONNECT
        self._server = server
        self._idle = idle
        self._client: aiosmtplib.SMTP | None = None
        self._reusable = False

    async def send(self, sender: str, recipient: str, content: bytes) -> None:
        client = await self._reuse(sender)
        try:
            if client is None:
                client = await self._connect()
                self.stage = Stage.SENDER
                await client.mail(sender)
            self.stage = Stage.RECIPIENT
            await client.rcpt(recipient)
            self.stage = Stage.CONTENT
            await client.data(content, timeout=TOTAL_SECONDS)
        except aiosmtplib.SMTPResponseException as error:
            if self.stage is Stage.CONTENT and error.code == LATE:
                self.stage = Stage.RECIPIENT
            self._reusable = 400 <= error.code < 600 and self.stage not in (Stage.CONNECT, Stage.LOGIN)
            raise
        self._reusable = True  # by default it is not: the dialogue is somewhere in its middle

    def finish(self) -> None:
        """Keep the connection if its dialogue is at a known point, else drop it."""
        if self._client is not None and self._reusable:
            self._idle.append(self._client)
        elif self._client is not None:
            self._client.close()

    async def _reuse(self, sender: str) -> aiosmtplib.SMTP | None:
        """A connection that is still there and takes another mail: servers may end one after so many, by 421 to MAIL
        (RFC 5321 3.8). RSET also ends what a refusal left open."""
        while self._idle:
            self._client = self._idle.pop()
            try:
                await self._client.rset(timeout=CONNECT_SECONDS)
                await self._client.mail(sender)
            except (aiosmtplib.SMTPException, OSError):
                self._client.close()
            else:
                return self._client
        return None

    async def _connect(self) -> aiosmtplib.SMTP:
        server = self._server
        self._client = client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.use_tls,
            timeout=CONNECT_SECONDS,
            local_hostname="[127.0.0.1]",  # RFC 5321 4.1.3; looking up our own name can take longer than sending
        )
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect()
        if server.user:
            self.stage = Stage.LOGIN
            if client.get_transport_info("sslcontext") is None and server.host not in LOOPBACK:
                raise InsecureLoginError
            await client.login(server.user, server.password)
        return client


def _answered(stage: Stage, code: int) -> Outcome:
    if (
        stage is Stage.CONTENT and 200 <= code < 300 and code not in DOUBTFUL
    ):  # the first digit says it (RFC 5321 4.2.1)
        return Outcome(Verdict.SENT)
    if not 400 <= code < 600:
        return _unanswered(stage, FailureReason.CONNECTION)  # no SMTP answer at all
    transient, permanent = STAGES[stage]
    return _outcome(CODES.get(code) or (transient if code < 500 else permanent), stage, str(code))


def _unanswered(stage: Stage, reason: FailureReason) -> Outcome:
    return _outcome(Rule(Verdict.RETRY, reason, unknown=stage is Stage.CONTENT), stage, "no_answer")


def _outcome(rule: Rule, stage: Stage, word: str) -> Outcome:
    return Outcome(rule.verdict, rule.reason, unknown=rule.unknown, detail=f"smtp {stage} {word}")
