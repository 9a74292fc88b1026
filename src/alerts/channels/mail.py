"""What all email providers share: the subject, the unsubscribe headers, the MIME message."""

from __future__ import annotations

import hashlib
import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy

from src.alerts.channels.endpoints import Sender
from src.alerts.messages import Message


class _Policy(EmailPolicy):
    """Does not fold a URL: what is too long for a line would be encoded, and no reader of the header expects that."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name == "List-Unsubscribe":
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


MAIL = _Policy(linesep="\r\n")
LONGEST_URL = 900
"""Characters of an unsubscribe URL that is used: a line of a mail has 998 at most (RFC 5322)."""


def subject_of(message: Message) -> str:
    """The subject on one line, whatever it was made of."""
    return " ".join(message.body.subject.split())


def unsubscribe_headers(message: Message) -> dict[str, str]:
    """One-click unsubscribing (RFC 8058); empty without a usable URL."""
    url = message.unsubscribe_url
    if not url or len(url) > LONGEST_URL or not re.fullmatch(r"https?://[!-;=?-~]+", url):
        return {}
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def message_id(message: Message, sender: Sender) -> str:
    """The same for every attempt at a message, different for different ones of two databases."""
    parts = (message.ref, message.to, message.body.subject, message.body.text)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"<{message.ref}.{digest[:16]}@{sender.address.rpartition('@')[2]}>"


def mime(message: Message, sender: Sender) -> EmailMessage:
    """Text and HTML as one message without a date, byte-identical for the same input."""
    mail = EmailMessage(policy=MAIL)
    mail["From"] = Address(sender.name, addr_spec=sender.address)
    mail["To"] = Address(addr_spec=message.to)
    mail["Subject"] = subject_of(message).replace("=?", "= ?")  # else taken for encoded, and decoded, line ends too
    mail["Message-ID"] = message_id(message, sender)
    for name, value in unsubscribe_headers(message).items():
        mail[name] = value
    mail.set_content(message.body.text, cte="quoted-printable")
    if message.body.html:
        mail.add_alternative(message.body.html, subtype="html", cte="quoted-printable")
        mail.set_boundary(f"=_{hashlib.sha256(mail['Message-ID'].encode()).hexdigest()[:32]}")
    return mail
