"""Opens the channels that are configured. A new channel is a module of its own and a line here."""

from __future__ import annotations

import logging
from pathlib import Path

from src.alerts.channels.base import Channel
from src.alerts.channels.brevo import BrevoChannel
from src.alerts.channels.configuration import EMAIL_SECRETS, configuration
from src.alerts.channels.endpoints import parse_sender, parse_smtp_url
from src.alerts.channels.outbox import OUTBOX_SENDER, OutboxChannel
from src.alerts.channels.resend import ResendChannel
from src.alerts.channels.sms import TwilioChannel
from src.alerts.channels.smtp import SmtpChannel
from src.alerts.channels.telegram import TelegramChannel
from src.alerts.models import ChannelName
from src.settings import Settings


def open_channels(settings: Settings) -> dict[ChannelName, Channel]:
    """A channel for each complete configuration. To be called inside the running event loop; the caller
    closes them. Makes no request."""
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # it logs cookies and URLs
    if settings.transport == "outbox":
        sender = parse_sender(settings.email_from or "") or OUTBOX_SENDER
        return {name: OutboxChannel(name, Path(settings.outbox_dir), sender) for name in ChannelName}
    return {name: _open(name, settings) for name, found in configuration(settings).items() if found.complete}


def _open(name: ChannelName, settings: Settings) -> Channel:
    if name is ChannelName.EMAIL:
        return _open_email(settings)
    if name is ChannelName.TELEGRAM:
        return TelegramChannel(settings.base_urls["TELEGRAM_BASE_URL"], _secret(settings, "TELEGRAM_BOT_TOKEN"))
    return TwilioChannel(
        settings.base_urls["TWILIO_BASE_URL"],
        _secret(settings, "TWILIO_ACCOUNT_SID"),
        _secret(settings, "TWILIO_AUTH_TOKEN"),
        settings.twilio_phone_number or "",
    )


def _open_email(settings: Settings) -> Channel:
    secret = _secret(settings, EMAIL_SECRETS[settings.email_provider])
    sender = parse_sender(settings.email_from or "")
    server = parse_smtp_url(secret)
    assert sender is not None  # noqa: S101 - configuration() calls the channel complete
    if settings.email_provider == "brevo":
        return BrevoChannel(settings.base_urls["BREVO_BASE_URL"], secret, sender)
    if settings.email_provider == "resend":
        return ResendChannel(settings.base_urls["RESEND_BASE_URL"], secret, sender)
    assert server is not None  # noqa: S101 - likewise
    return SmtpChannel(server, sender)


def _secret(settings: Settings, variable: str) -> str:
    """Secrets are pasted, and a paste often ends in a line break."""
    return settings.secrets[variable].reveal().strip()
