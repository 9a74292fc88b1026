"""The only reader of the environment: a mapping in, a frozen `Settings` and findings out.

Strict: a value that does not parse is an error that names the variable, never the value. An empty
string is the same as unset. Where a value is wrong, the field holds what is safest (an allowlist
nobody is on), so that preflight can go on checking.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from src.errors import Finding

MAX_BIGINT = 2**63 - 1
DEFAULT_TIMEZONE = "Europe/Amsterdam"

T = TypeVar("T")


class Secret:
    """A value that prints as `***`; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def parse_user_ids(text: str) -> frozenset[int]:
    """Comma-separated user ids: ASCII digits, 1 to 2⁶³-1, spaces around an id ignored.

    Raises ValueError (without the text) for anything else, so that a typing error never widens or
    narrows a rollout silently.
    """
    ids = [part.strip(" ") for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,19}", part) and 1 <= int(part) <= MAX_BIGINT for part in ids):
        raise ValueError("user ids must be whole numbers from 1, separated by commas, such as 42,43")
    return frozenset(map(int, ids))


@dataclass(frozen=True)
class Settings:
    """Everything the environment says. Durations are `timedelta`, rates are messages a minute."""

    database_url: Secret | None = None
    enabled: bool = True
    allowlist: frozenset[int] | None = None
    max_send_per_run: int = 1000
    transport: str = "live"
    outbox_dir: str = "outbox"
    email_provider: str = "brevo"
    email_from: str | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    twilio_phone_number: str | None = None
    send_batch_size: int = 200
    send_concurrency: int = 32
    resend_unknown: bool = True
    max_attempts: int = 5
    retry_base: timedelta = timedelta(seconds=60)
    retry_max: timedelta = timedelta(seconds=3600)
    rate_limits: Mapping[str, int] = field(default_factory=dict)
    max_age: timedelta = timedelta(hours=24)
    digest_hour: int = 7
    digest_period: str = "daily"
    deadline_seconds: int | None = None
    timezone: str = DEFAULT_TIMEZONE
    app_base_url: str | None = None
    public_url: str | None = None
    expected_interval: timedelta = timedelta(minutes=10)
    log_level: str = "info"
    triggered_by: str = "manual"
    git_sha: str | None = None
    actor: str | None = None
    ci: bool = False

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


SECRETS = (
    "BREVO_API_KEY", "RESEND_API_KEY", "SMTP_URL", "TELEGRAM_BOT_TOKEN", "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN", "INTERNAL_RUNNER_TOKEN", "ALERTS_HEARTBEAT_URL", "ALERTS_LINK_SECRET",
)  # fmt: skip
BASE_URLS = {
    "BREVO_BASE_URL": "https://api.brevo.com",
    "RESEND_BASE_URL": "https://api.resend.com",
    "TELEGRAM_BASE_URL": "https://api.telegram.org",
    "TWILIO_BASE_URL": "https://api.twilio.com",
}


class _Reader:
    """Typed look-ups in a mapping that collect what does not parse."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []

    def text(self, name: str) -> str | None:
        return self._environ.get(name) or None

    def parse(self, name: str, default: T, convert: Callable[[str], T], expected: str) -> T:
        value = self.text(name)
        if value is None:
            return default
        try:
            return convert(value)
        except ValueError:
            self.errors.append(Finding("config.invalid", f"{name} must be {expected}"))
            return default

    def whole(self, name: str, default: int, least: int, most: int = 10**9) -> int:
        def convert(value: str) -> int:
            if not re.fullmatch(r"[0-9]{1,10}", value) or not least <= int(value) <= most:
                raise ValueError
            return int(value)

        return self.parse(name, default, convert, f"a whole number from {least} to {most}")

    def choice(self, name: str, default: str, *choices: str) -> str:
        def convert(value: str) -> str:
            if value.lower() not in choices:
                raise ValueError
            return value.lower()

        return self.parse(name, default, convert, " or ".join(choices))

    def url(self, name: str, mend: str) -> str | None:
        """An http(s) URL without its trailing slash; an unusable one is a warning and counts as unset."""
        value = self.text(name)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"\s", value)
        except ValueError:
            usable = False
        if usable:
            return value.rstrip("/")
        self.warnings.append(Finding("config.url_unusable", f"{name} is no http(s) URL and is not used: {mend}"))
        return None


def process_environment() -> Mapping[str, str]:
    """The environment of this process; what it lacks comes from `.env` in the working directory."""
    if os.path.exists(".env"):
        from dotenv import load_dotenv  # as slow to load as all the settings

        load_dotenv(".env")
    return os.environ


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[Finding], list[Finding]]:
    """Read every variable: settings, errors, warnings. Never raises and never prints a value."""
    read = _Reader(environ)
    secrets = {name: Secret(value) for name in SECRETS if (value := read.text(name))}
    database_url = read.text("DATABASE_URL")
    settings = Settings(
        database_url=Secret(database_url) if database_url else None,
        enabled=read.choice("ALERTS_V2_ENABLED", "true", "true", "false") == "true",
        allowlist=_allowlist(read),
        max_send_per_run=read.whole("ALERTS_MAX_SEND_PER_RUN", 1000, 0),
        transport=read.choice("ALERTS_TRANSPORT", "live", "live", "outbox"),
        outbox_dir=read.text("ALERTS_OUTBOX_DIR") or "outbox",
        email_provider=read.choice("EMAIL_PROVIDER", "brevo", "brevo", "resend", "smtp"),
        email_from=read.text("EMAIL_FROM"),
        secrets=secrets,
        base_urls={name: read.url(name, "the provider's own is used") or url for name, url in BASE_URLS.items()},
        twilio_phone_number=read.text("TWILIO_PHONE_NUMBER"),
        send_batch_size=read.whole("ALERTS_SEND_BATCH_SIZE", 200, 1, 10_000),
        send_concurrency=read.whole("ALERTS_SEND_CONCURRENCY", 32, 1, 1000),
        resend_unknown=read.choice("ALERTS_UNKNOWN_OUTCOME", "resend", "resend", "fail") == "resend",
        max_attempts=read.whole("ALERTS_MAX_ATTEMPTS", 5, 1, 100),
        retry_base=timedelta(seconds=read.whole("ALERTS_RETRY_BASE_SECONDS", 60, 1, 86_400)),
        retry_max=timedelta(seconds=read.whole("ALERTS_RETRY_MAX_SECONDS", 3600, 1, 604_800)),
        rate_limits={
            channel: rate
            for channel in ("email", "telegram", "sms")
            if (rate := read.whole(f"ALERTS_RATE_LIMIT_{channel.upper()}_PER_MINUTE", 0, 1))
        },
        max_age=timedelta(hours=read.whole("ALERTS_MAX_AGE_HOURS", 24, 1, 8760)),
        digest_hour=read.whole("ALERTS_DIGEST_HOUR", 7, 0, 23),
        digest_period=read.choice("ALERTS_DIGEST_PERIOD", "daily", "daily", "hourly"),
        deadline_seconds=read.whole("ALERTS_DEADLINE_SECONDS", 0, 1, 86_400) or None,
        timezone=_timezone(read),
        app_base_url=read.url("ALERTS_APP_BASE_URL", "messages carry no links to the app"),
        public_url=read.url("ALERTS_PUBLIC_URL", "mails carry no unsubscribe header"),
        expected_interval=timedelta(minutes=read.whole("ALERTS_EXPECTED_INTERVAL_MINUTES", 10, 1, 10_080)),
        log_level=read.choice("ALERTS_LOG_LEVEL", "info", "debug", "info", "warning", "error"),
        triggered_by=_triggered_by(read),
        git_sha=read.text("GITHUB_SHA"),
        actor=read.text("GITHUB_ACTOR"),
        ci=(read.text("CI") or "").lower() in ("true", "1"),
    )
    return settings, read.errors, read.warnings


def _allowlist(read: _Reader) -> frozenset[int] | None:
    value = read.text("ALERTS_SEND_ALLOWLIST_USER_IDS")
    if value is None:
        return None
    try:
        return parse_user_ids(value)
    except ValueError as error:
        read.errors.append(Finding("allowlist.malformed", f"ALERTS_SEND_ALLOWLIST_USER_IDS: {error}"))
        return frozenset()


def _timezone(read: _Reader) -> str:
    name = read.text("ALERTS_TIMEZONE") or DEFAULT_TIMEZONE
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        mend = f"set an IANA name such as {DEFAULT_TIMEZONE}, which is used instead"
        read.warnings.append(Finding("config.timezone_unknown", f"ALERTS_TIMEZONE is not a known time zone: {mend}"))
        return DEFAULT_TIMEZONE
    return name


def _triggered_by(read: _Reader) -> str:
    event = read.text("GITHUB_EVENT_NAME")
    return f"github_actions_{event}" if event and re.fullmatch(r"[a-z_]{1,40}", event) else "manual"
