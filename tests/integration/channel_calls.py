"""Real channels against the fault server: one configuration, invented secrets, messages to send."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from src.alerts.channels.registry import open_channels
from src.alerts.messages import Message, Outcome, Rendered
from src.alerts.models import ChannelName
from src.settings import Settings, read_settings

SECRETS = {
    "BREVO_API_KEY": "xkeysib-5ecret",
    "RESEND_API_KEY": "re_5ecret",
    "TELEGRAM_BOT_TOKEN": "777000:AA5ecret",
    "TWILIO_ACCOUNT_SID": "AC5ecret",
    "TWILIO_AUTH_TOKEN": "au5ecret",
}
PUBLIC = {"EMAIL_FROM": "EnergyRiskIQ <alerts@example.org>", "TWILIO_PHONE_NUMBER": "+15005550006"}
CHANNELS = {
    "brevo": ChannelName.EMAIL,
    "resend": ChannelName.EMAIL,
    "telegram": ChannelName.TELEGRAM,
    "twilio": ChannelName.SMS,
}
DESTINATIONS = {
    ChannelName.EMAIL: "jane.{}@example.com",
    ChannelName.TELEGRAM: "4242424{}",
    ChannelName.SMS: "+3161234567{}",
}
BODY = Rendered("Private subject", "Private text", "<p>Private html</p>")


def settings_for(provider: str, base_url: str, **environ: str) -> Settings:
    urls = {f"{name.upper()}_BASE_URL": base_url for name in CHANNELS}
    email = {} if provider in ("telegram", "twilio") else {"EMAIL_PROVIDER": provider}
    settings, errors, warnings = read_settings({**SECRETS, **PUBLIC, **urls, **email, **environ})
    assert not errors
    assert not warnings
    return settings


def messages(provider: str, count: int = 1, body: Rendered = BODY) -> list[Message]:
    to = DESTINATIONS[CHANNELS.get(provider, ChannelName.EMAIL)]
    return [Message(f"delivery-{number}", number, to.format(number), body) for number in range(count)]


async def send_async(
    provider: str, base_url: str, what: Sequence[Message], key: str | None = None, **environ: str
) -> list[Outcome]:
    """Open the channels as phase C does, send one request, close them."""
    channels = open_channels(settings_for(provider, base_url, **environ))
    try:
        return await channels[CHANNELS.get(provider, ChannelName.EMAIL)].send(what, key or str(uuid4()))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels.values()))


def send(
    provider: str, base_url: str, what: Sequence[Message], key: str | None = None, **environ: str
) -> list[Outcome]:
    return asyncio.run(send_async(provider, base_url, what, key, **environ))
