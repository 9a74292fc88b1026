"""Which channels are configured, who sends, and through which server."""

from __future__ import annotations

import pytest

from src.alerts.channels.configuration import Configuration, configuration
from src.alerts.channels.destinations import chat_id, email_address, phone_number
from src.alerts.channels.endpoints import Sender, SmtpServer, parse_sender, parse_smtp_url
from src.alerts.models import ChannelName
from src.settings import read_settings


def configured(**environ: str) -> dict[ChannelName, Configuration]:
    return configuration(read_settings(environ)[0])


def test_nothing_configured() -> None:
    assert configured() == {
        ChannelName.EMAIL: Configuration("brevo", ("BREVO_API_KEY", "EMAIL_FROM")),
        ChannelName.TELEGRAM: Configuration("telegram", ("TELEGRAM_BOT_TOKEN",)),
        ChannelName.SMS: Configuration("twilio", ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER")),
    }


def test_all_configured() -> None:
    found = configured(
        EMAIL_PROVIDER="resend", RESEND_API_KEY="k", EMAIL_FROM="a@example.com", TELEGRAM_BOT_TOKEN="t",
        TWILIO_ACCOUNT_SID="s", TWILIO_AUTH_TOKEN="t", TWILIO_PHONE_NUMBER="+15005550006",
    )  # fmt: skip
    assert all(channel.complete and not channel.partial for channel in found.values())
    assert found[ChannelName.EMAIL].provider == "resend"


def test_partly_configured_names_what_is_missing() -> None:
    found = configured(BREVO_API_KEY="k", TWILIO_AUTH_TOKEN="t")
    assert found[ChannelName.EMAIL] == Configuration("brevo", ("EMAIL_FROM",), partial=True)
    assert found[ChannelName.SMS].partial
    assert not found[ChannelName.SMS].complete


def test_secret_of_another_provider_does_not_count() -> None:
    found = configured(EMAIL_PROVIDER="smtp", BREVO_API_KEY="k", EMAIL_FROM="a@example.com")
    assert found[ChannelName.EMAIL] == Configuration("smtp", ("SMTP_URL",), partial=True)


@pytest.mark.parametrize("sender", ["nobody", "a@b@c", "a@example.com\nBcc: b@example.com", "Jane <>"])
def test_sender_that_cannot_be_one_is_missing(sender: str) -> None:
    assert "EMAIL_FROM" in configured(BREVO_API_KEY="k", EMAIL_FROM=sender)[ChannelName.EMAIL].missing


def test_smtp_url_that_cannot_be_used_is_missing() -> None:
    found = configured(EMAIL_PROVIDER="smtp", SMTP_URL="mail.example.com:587", EMAIL_FROM="a@example.com")
    assert found[ChannelName.EMAIL].missing == ("SMTP_URL",)


def test_outbox_configures_every_channel() -> None:
    found = configured(ALERTS_TRANSPORT="outbox")
    assert {channel.provider for channel in found.values()} == {"outbox"}
    assert all(channel.complete for channel in found.values())


@pytest.mark.parametrize(
    ("text", "sender", "formatted"),
    [
        ("a@example.com", Sender("", "a@example.com"), "a@example.com"),
        ("Risk IQ <a@example.com>", Sender("Risk IQ", "a@example.com"), "Risk IQ <a@example.com>"),
        (' "Risk, IQ"  <a@example.com> ', Sender("Risk, IQ", "a@example.com"), '"Risk, IQ" <a@example.com>'),
        ("Énergie <a@example.com>", Sender("Énergie", "a@example.com"), "Énergie <a@example.com>"),
        ("<a@example.com>", Sender("", "a@example.com"), "a@example.com"),
    ],
)
def test_sender(text: str, sender: Sender, formatted: str) -> None:
    parsed = parse_sender(text)
    assert parsed == sender
    assert parsed is not None
    assert parsed.formatted == formatted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a@example.com, b@example.com",
        "A\r\nBcc: x <a@example.com>",
        "A <a@example.com> B",
        "A\x00 <a@example.com>",
    ],
)
def test_no_sender(text: str) -> None:
    assert parse_sender(text) is None


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 587, False, "", "")),
        ("smtps://mail.example.com", SmtpServer("mail.example.com", 465, True, "", "")),
        ("smtp://u%40example.com:p%3Aw@h:2525/", SmtpServer("h", 2525, False, "u@example.com", "p:w")),
        ("http://h", None),
        ("smtp://", None),
        ("smtp://h:port", None),
        ("smtp://h:99999", None),
        ("smtp://h/path", None),
        ("smtp://u:12#ss@h", None),
        ("smtp://u:12?ss@h", None),
        ("smtp://u:1%232%3F@h", SmtpServer("h", 587, False, "u", "1#2?")),
        ("smtp://u%0d%0aRSET:p@h", None),
        ("smtp://[h", None),
        ("nonsense", None),
    ],
)
def test_smtp_url(url: str, server: SmtpServer | None) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize("to", ["a@example.com", "a.b+c@sub.example.co.uk", "o'neil@example.com", "a@localhost"])
def test_usual_addresses_are_addresses(to: str) -> None:
    assert email_address(to) == to


def test_international_domain_goes_out_in_its_ascii_form() -> None:
    assert email_address("a@bücher.example") == "a@xn--bcher-kva.example"


def test_an_international_domain_is_nobody_elses() -> None:
    """By IDNA 2003 it would be strasse.de, which may belong to somebody else."""
    assert email_address("a@straße.de") == "a@xn--strae-oqa.de"
    assert email_address("a@ex\u200dample.com") is None


def test_usual_chats_and_phones_are_destinations() -> None:
    assert [chat_id(text) for text in ("42", "-1001234567890", "@energyriskiq")] == [
        "42",
        "-1001234567890",
        "@energyriskiq",
    ]
    assert phone_number("+31612345678") == "+31612345678"
