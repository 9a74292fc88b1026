"""The environment is read strictly, and no value of it comes out in an error."""

from __future__ import annotations

import pytest

from src.settings import Secret, parse_user_ids, read_settings


@pytest.mark.parametrize(
    ("text", "ids"),
    [("42", {42}), ("42,43", {42, 43}), (" 42 , 43 ", {42, 43}), (str(2**63 - 1), {2**63 - 1}), ("007", {7})],
)
def test_well_formed_user_ids(text: str, ids: set[int]) -> None:
    assert parse_user_ids(text) == ids


@pytest.mark.parametrize(
    "text",
    [
        "42,abc",
        ",",
        "42,,43",
        "4 2",
        "-1",
        "0x2A",
        "٤٢",
        str(2**63),
        "0",
        "42,",
        "4_2",
        "42\n",
        "\t42",
        "+1",
        "1.0",
        "²",
    ],
)
def test_malformed_user_ids_are_refused_whole(text: str) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        parse_user_ids(text)


def test_a_malformed_allowlist_is_an_error_and_lets_nobody_through() -> None:
    settings, errors, _ = read_settings({"ALERTS_SEND_ALLOWLIST_USER_IDS": "42,abc"})
    assert [error.code for error in errors] == ["allowlist.malformed"]
    assert settings.allowlist == frozenset()
    assert "abc" not in str(errors[0])


def test_an_empty_string_is_the_same_as_unset() -> None:
    names = ["ALERTS_SEND_ALLOWLIST_USER_IDS", "ALERTS_MAX_SEND_PER_RUN", "ALERTS_V2_ENABLED", "DATABASE_URL"]
    assert read_settings(dict.fromkeys(names, "")) == read_settings({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERTS_MAX_SEND_PER_RUN", "-1"),
        ("ALERTS_MAX_SEND_PER_RUN", "1e3"),
        ("ALERTS_MAX_SEND_PER_RUN", "١٠"),
        ("ALERTS_V2_ENABLED", "yes"),
        ("ALERTS_TRANSPORT", "pigeon"),
        ("EMAIL_PROVIDER", "sendmail"),
        ("ALERTS_SEND_BATCH_SIZE", "0"),
        ("ALERTS_SEND_CONCURRENCY", "0"),
        ("ALERTS_DIGEST_HOUR", "24"),
        ("ALERTS_UNKNOWN_OUTCOME", "ask"),
        ("ALERTS_RATE_LIMIT_SMS_PER_MINUTE", "0"),
        ("ALERTS_DEADLINE_SECONDS", "soon"),
    ],
)
def test_a_value_that_does_not_parse_names_its_variable_only(name: str, value: str) -> None:
    _, errors, _ = read_settings({name: value})
    (error,) = errors
    assert error.code == "config.invalid"
    assert error.text.startswith(name)
    assert value not in error.text.removeprefix(name) or value in ("0", "-1")


def test_every_wrong_variable_is_named_at_once() -> None:
    _, errors, _ = read_settings({"ALERTS_MAX_SEND_PER_RUN": "x", "ALERTS_DIGEST_HOUR": "x", "ALERTS_V2_ENABLED": "x"})
    assert len(errors) == 3


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "Europe/"])
def test_an_unknown_time_zone_is_a_warning_and_the_default_is_used(name: str) -> None:
    settings, errors, warnings = read_settings({"ALERTS_TIMEZONE": name})
    assert (settings.timezone, errors) == ("Europe/Amsterdam", [])
    assert [warning.code for warning in warnings] == ["config.timezone_unknown"]


@pytest.mark.parametrize("url", ["app.example.com", "ftp://app.example.com", "http://", "https://a b", "http://[::1"])
def test_an_unusable_base_url_is_a_warning_and_is_not_used(url: str) -> None:
    settings, _, warnings = read_settings({"ALERTS_APP_BASE_URL": url})
    assert settings.app_base_url is None
    assert [warning.code for warning in warnings] == ["config.url_unusable"]


def test_a_secret_never_prints() -> None:
    settings, _, _ = read_settings({"DATABASE_URL": "postgresql://u:hunter2@h/d", "RESEND_API_KEY": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{Secret('hunter2')}"
    assert settings.secrets["RESEND_API_KEY"].reveal() == "hunter2"
