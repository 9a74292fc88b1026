"""Messages as files instead of requests: `.eml` for email, `.json` for the other channels.

A file is named by the message's `ref` and written atomically, so a repeat replaces it: the directory
is its own idempotency, for ever.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from src.alerts.channels.base import Limits, SingleChannel
from src.alerts.channels.endpoints import Sender
from src.alerts.channels.mail import mime
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason

# Only the sender of mails that are never sent needs no configuration.
OUTBOX_SENDER = Sender("EnergyRiskIQ", "alerts@energyriskiq.example.com")


class OutboxChannel(SingleChannel):
    """Writes what another channel would have sent."""

    provider = "outbox"
    limits = Limits(requests_per_second=None, key_window=timedelta(days=36_500))

    def __init__(self, name: ChannelName, directory: Path, sender: Sender = OUTBOX_SENDER) -> None:
        self.name = name
        self._directory = directory
        self._sender = sender

    async def deliver_one(self, message: Message) -> Outcome:
        path = self._directory / f"{message.ref}{'.eml' if self.name is ChannelName.EMAIL else '.json'}"
        unfinished = path.with_name(f".{path.name}.part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(self._content(message))
            os.replace(unfinished, path)
        except OSError:
            return Outcome(Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE, detail="outbox not_writable")
        return Outcome(Verdict.SENT, provider_message_id=path.name)

    def _content(self, message: Message) -> bytes:
        if self.name is ChannelName.EMAIL:
            return mime(message, self._sender).as_bytes()
        content = {"channel": self.name, "to": message.to, "text": message.body.text}
        return json.dumps(content, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
