"""Unsubscribe links: only ours are read, each says one thing, and they are made only when both settings are there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.alerts.models import ChannelName
from src.alerts.unsubscribe import Subscription, read_token, unsubscribe_url
from src.settings import MAX_BIGINT, Secret, Settings

SECRET = Secret("correct horse battery staple")
SETTINGS = Settings(public_url="https://alerts.example.com/app", secrets={"ALERTS_LINK_SECRET": SECRET})


def token_of(user_id: int = 42, channel: ChannelName = ChannelName.EMAIL, settings: Settings = SETTINGS) -> str:
    url = unsubscribe_url(settings, user_id, channel)
    assert url is not None
    return url.removeprefix("https://alerts.example.com/app/alerts/unsubscribe/")


@given(st.integers(1, MAX_BIGINT), st.sampled_from(ChannelName))
def test_a_link_says_whose_channel_it_switches_off(user_id: int, channel: ChannelName) -> None:
    assert read_token(SECRET, token_of(user_id, channel)) == Subscription(user_id, channel)


def test_the_same_link_every_time_as_openssl_signs_it() -> None:
    assert unsubscribe_url(SETTINGS, 42, ChannelName.EMAIL) == (
        "https://alerts.example.com/app/alerts/unsubscribe/v1.42.email.jgiuaaM0LZBGWV4QIGVkAZDG8Kocb0HfpPucIa6jAdA"
    )


@pytest.mark.parametrize("settings", [replace(SETTINGS, public_url=None), replace(SETTINGS, secrets={}), Settings()])
def test_no_link_without_both_settings(settings: Settings) -> None:
    assert unsubscribe_url(settings, 42, ChannelName.EMAIL) is None


def test_a_link_of_another_secret_is_not_ours() -> None:
    other = replace(SETTINGS, secrets={"ALERTS_LINK_SECRET": Secret("other")})
    assert read_token(SECRET, token_of(settings=other)) is None


@given(st.data())
def test_no_changed_token_is_read(data: st.DataObject) -> None:
    token = token_of()
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters().filter(lambda c: c != token[place])) + token[place + 1 :]
    assert read_token(SECRET, changed) is None


@pytest.mark.parametrize(
    "token",
    [
        "", "v1", "v1.42.email.", token_of()[:-1], token_of() + "=", token_of() + "\n", " " + token_of(),
        token_of().replace("42", "042"), token_of().replace("42", "٤٢"), token_of().replace("42", "43"),
        token_of().replace("email", "account"), token_of().replace("email", "sms"), token_of().replace("v1", "v2"),
        "v1.9223372036854775808.email." + "A" * 43, "é" * 100, "\0", "x" * 100_000,
    ],
)  # fmt: skip
def test_what_we_did_not_make_is_refused(token: str) -> None:
    assert read_token(SECRET, token) is None
