"""An SMTP server on loopback that refuses, hangs or hangs up at any stage, and records what it accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

DROP = "drop"
HANG = "hang"
USUAL = {"CONNECT": "220 ready", "EHLO": "250-test\r\n250 AUTH PLAIN LOGIN", "AUTH": "235 ok", "MAIL": "250 ok",
         "RCPT": "250 ok", "DATA": "354 go on", "END": "250 ok", "RSET": "250 ok", "QUIT": "221 bye"}  # fmt: skip


@dataclass(slots=True)
class SmtpServer:
    """`replies` replace the usual ones by command (CONNECT and END, after the content, among them), those in
    `once` for the next time only; `DROP` hangs up instead, `HANG` says nothing. A message is accepted when its
    content was read, unless END refuses it; `heard` has the command lines."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    accepted: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    connections: int = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._reply("CONNECT", writer)
            while line := await reader.readline():
                self.heard.append(line)
                command = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
                if command == "RCPT":
                    self.recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                reply = await self._reply(command, writer)
                if reply.startswith("354"):
                    content = await reader.readuntil(b"\r\n.\r\n")
                    if not self.replies.get("END", "2").startswith(("4", "5")):
                        self.accepted.append(content)
                    await self._reply("END", writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _reply(self, command: str, writer: asyncio.StreamWriter) -> str:
        reply = self.once.pop(command, None) or self.replies.get(command) or USUAL.get(command, "500 what")
        if reply == HANG:
            await asyncio.sleep(60)
        if reply == DROP:
            writer.transport.abort()
            raise ConnectionResetError
        writer.write(f"{reply}\r\n".encode("latin-1"))
        await writer.drain()
        return reply


@asynccontextmanager
async def smtp_server(replies: Mapping[str, str] | None = None) -> AsyncIterator[SmtpServer]:
    """A server on a free port of 127.0.0.1, in the running event loop."""
    state = SmtpServer(replies=dict(replies or {}))
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(state.converse(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
