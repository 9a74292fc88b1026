"""The outbox: files that a mail program opens, replaced by a repeat, never half-written."""

from __future__ import annotations

import asyncio
import email.policy
import json
from email.parser import BytesParser
from pathlib import Path
from uuid import uuid4

from src.alerts.channels.registry import open_channels
from src.alerts.messages import Message, Outcome, Rendered, Verdict
from src.alerts.models import ChannelName, FailureReason
from src.settings import read_settings
from tests.integration.channel_calls import BODY


def deliver(directory: Path, channel: ChannelName, message: Message) -> Outcome:
    async def run() -> Outcome:
        settings, _, _ = read_settings({"ALERTS_TRANSPORT": "outbox", "ALERTS_OUTBOX_DIR": str(directory)})
        return (await open_channels(settings)[channel].send([message], str(uuid4())))[0]

    return asyncio.run(run())


def test_mail_is_a_file_that_mail_programs_read(tmp_path: Path) -> None:
    outbox = tmp_path / "deep" / "outbox"
    outcome = deliver(outbox, ChannelName.EMAIL, Message("digest-3", 1, "jane@example.com", BODY))
    assert outcome == Outcome(Verdict.SENT, provider_message_id="digest-3.eml")
    mail = BytesParser(policy=email.policy.default).parsebytes((outbox / "digest-3.eml").read_bytes())
    assert (mail["To"], mail["Subject"]) == ("jane@example.com", BODY.subject)
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_other_channels_are_json(tmp_path: Path) -> None:
    deliver(tmp_path, ChannelName.SMS, Message("delivery-7", 1, "+31612345678", Rendered("", "Öl steigt 🔥")))
    assert json.loads((tmp_path / "delivery-7.json").read_text(encoding="utf-8")) == {
        "channel": "sms",
        "to": "+31612345678",
        "text": "Öl steigt 🔥",
    }


def test_repeat_replaces_the_file_byte_for_byte(tmp_path: Path) -> None:
    message = Message("delivery-7", 1, "jane@example.com", BODY)
    deliver(tmp_path, ChannelName.EMAIL, message)
    first = (tmp_path / "delivery-7.eml").read_bytes()
    deliver(tmp_path, ChannelName.EMAIL, message)
    assert [path.name for path in tmp_path.iterdir()] == ["delivery-7.eml"]
    assert (tmp_path / "delivery-7.eml").read_bytes() == first


def test_directory_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file in the way")
    outcome = deliver(tmp_path / "outbox", ChannelName.EMAIL, Message("delivery-7", 1, "jane@example.com", BODY))
    assert outcome == Outcome(Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE, detail="outbox not_writable")


def test_impossible_destination_writes_nothing(tmp_path: Path) -> None:
    outcome = deliver(tmp_path, ChannelName.EMAIL, Message("delivery-7", 1, "jane@example.com\nBcc: x@y.z", BODY))
    assert outcome.reason is FailureReason.INVALID_DESTINATION
    assert list(tmp_path.iterdir()) == []
