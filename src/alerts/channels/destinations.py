"""Which destinations may be written to: checked before any request, so that none can inject one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from src.alerts.models import ChannelName

# RFC 5321: dot-atom of at most 64 characters, host names, 254 in all. Quoted local parts are refused.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_CHAT = re.compile(r"-?[1-9][0-9]{0,15}|@[A-Za-z][A-Za-z0-9_]{3,31}")  # an id (52 bits) or a public name


def email_address(text: str) -> str | None:
    """The address as it goes on the wire (an international domain in its ASCII form), or None."""
    local, at, domain = text.rpartition("@")
    if not domain.isascii():
        from idna import IDNAError, encode  # here: its tables are large, and hardly any address needs them

        try:
            domain = encode(domain, uts46=True).decode("ascii")
        except IDNAError:
            return None
    well_formed = at and len(local) <= 64 and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)
    return f"{local}@{domain}" if well_formed and len(local) + len(domain) < 254 else None


def phone_number(text: str) -> str | None:
    return text if _PHONE.fullmatch(text) else None


def chat_id(text: str) -> str | None:
    return text if _CHAT.fullmatch(text) else None


DESTINATIONS: Mapping[ChannelName, Callable[[str], str | None]] = {
    ChannelName.EMAIL: email_address,
    ChannelName.TELEGRAM: chat_id,
    ChannelName.SMS: phone_number,
}
