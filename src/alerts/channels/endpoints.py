"""Who sends and through which server: EMAIL_FROM and SMTP_URL, parsed. Imports no client."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from src.alerts.channels.destinations import email_address


@dataclass(frozen=True, slots=True)
class Sender:
    """Who mails come from."""

    name: str
    address: str

    @property
    def formatted(self) -> str:
        """`name <address>`, the name quoted where RFC 5322 asks for it."""
        if not self.name:
            return self.address
        plain = re.fullmatch(r"[\w !#$%&'*+/=?^`{|}~-]+", self.name)
        return f"{self.name} <{self.address}>" if plain else f'"{self.name}" <{self.address}>'


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """An SMTP server: TLS from the start (`smtps`), else STARTTLS where it is offered."""

    host: str
    port: int
    use_tls: bool
    user: str = field(repr=False)
    password: str = field(repr=False)


def parse_sender(text: str) -> Sender | None:
    """`name <address>` or a bare address; None for anything that cannot be a sender."""
    match = re.fullmatch(r'\s*(?:"?([^<>"\\]*?)"?\s*<([^<>]+)>|(\S+))\s*', text)
    address = email_address(match[2] or match[3]) if match else None
    name = (match[1] or "").strip() if match else ""
    return Sender(name, address) if address and name.isprintable() else None


def parse_smtp_url(text: str) -> SmtpServer | None:
    """`smtp://user:password@host:587` or `smtps://…:465`, percent-encoded; None if it is neither. A bare `#` or `?` in
    the password would end the host before it began, so there is no query and no fragment."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    host_only = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("smtp", "smtps") or not (parts.hostname and host_only and (user + password).isprintable()):
        return None
    use_tls = parts.scheme == "smtps"
    return SmtpServer(parts.hostname, port or (465 if use_tls else 587), use_tls, user, password)
