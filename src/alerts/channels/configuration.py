"""Which channels the environment configures, and which variables are missing. Imports no client."""

from __future__ import annotations

from dataclasses import dataclass

from src.alerts.channels.endpoints import parse_sender, parse_smtp_url
from src.alerts.models import ChannelName
from src.settings import Settings

EMAIL_SECRETS = {"brevo": "BREVO_API_KEY", "resend": "RESEND_API_KEY", "smtp": "SMTP_URL"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One channel as configured. `missing` names the variables that are unset or cannot be used;
    `partial`: some of the channel's variables are there and others are not."""

    provider: str
    missing: tuple[str, ...] = ()
    partial: bool = False

    @property
    def complete(self) -> bool:
        return not self.missing


def configuration(settings: Settings) -> dict[ChannelName, Configuration]:
    """Every channel. With the outbox transport all of them are complete."""
    if settings.transport == "outbox":
        return {name: Configuration("outbox") for name in ChannelName}
    provider = settings.email_provider
    twilio = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER")
    return {
        ChannelName.EMAIL: _configuration(settings, provider, (EMAIL_SECRETS[provider], "EMAIL_FROM")),
        ChannelName.TELEGRAM: _configuration(settings, "telegram", ("TELEGRAM_BOT_TOKEN",)),
        ChannelName.SMS: _configuration(settings, "twilio", twilio),
    }


def _configuration(settings: Settings, provider: str, variables: tuple[str, ...]) -> Configuration:
    missing = tuple(name for name in variables if not _usable(settings, name))
    return Configuration(provider, missing, partial=0 < len(missing) < len(variables))


def _usable(settings: Settings, variable: str) -> bool:
    if variable == "EMAIL_FROM":
        return settings.email_from is not None and parse_sender(settings.email_from) is not None
    if variable == "TWILIO_PHONE_NUMBER":
        return settings.twilio_phone_number is not None
    secret = settings.secrets.get(variable)
    return secret is not None and (variable != "SMTP_URL" or parse_smtp_url(secret.reveal()) is not None)
