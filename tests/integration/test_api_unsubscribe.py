"""Unsubscribing from the mail to the database: over real HTTP, as a mail provider and as a person do it."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from src.alerts.models import ChannelName
from src.alerts.unsubscribe import unsubscribe_url
from tests.factories import NOW, World
from tests.process import Runner
from tests.serving import LINK_SECRET, Client, api_settings, serving


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    with serving(api_settings(database_url)) as client:
        yield replace(client, token=None)


def path_of(user_id: int, channel: ChannelName = ChannelName.EMAIL) -> str:
    url = unsubscribe_url(api_settings(None), user_id, channel)
    assert url is not None
    return urlsplit(url).path


def channels(world: World) -> list[tuple[int, str, bool, str | None]]:
    rows = world.rows("SELECT * FROM user_alert_channels ORDER BY user_id, channel")
    return [(row["user_id"], row["channel"], row["enabled"], row["delivery_mode"]) for row in rows]


def test_the_link_in_a_mail_ends_the_mails(client: Client, world: World, runner: Runner, tmp_path: Path) -> None:
    user = world.user()
    world.delivery(user, world.alert_event(fanned_out=True))
    settings = {"ALERTS_PUBLIC_URL": "https://alerts.example.com/", "ALERTS_LINK_SECRET": LINK_SECRET}
    run = ("--phase", "c", "--now", NOW.isoformat(), "--log-json")
    assert runner.run(*run, **settings).document["totals"]["sent"] == 1
    (file,) = tmp_path.glob("outbox/*.eml")
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.fullmatch(r"<(https://alerts\.example\.com/alerts/unsubscribe/[^>]+)>", mail["List-Unsubscribe"])
    assert link is not None
    assert client.post(urlsplit(link[1]).path).status == 200
    world.delivery(user, world.alert_event(fanned_out=True))
    finished = runner.run(*run, **settings)
    assert finished.document["totals"] == {"sent": 0, "failed": 0, "retried": 0, "skipped": 1}


def test_other_channels_and_messages_carry_no_link(world: World, runner: Runner, tmp_path: Path) -> None:
    world.delivery(world.user(telegram_chat_id="42"), world.alert_event(fanned_out=True), "telegram")
    settings = {"ALERTS_PUBLIC_URL": "https://alerts.example.com", "ALERTS_LINK_SECRET": LINK_SECRET}
    runner.run("--phase", "c", "--now", NOW.isoformat(), **settings)
    (file,) = tmp_path.glob("outbox/*.json")
    assert "unsubscribe" not in file.read_text()


def test_any_number_of_times(client: Client, world: World) -> None:
    user, other = world.user(), world.user(channels={"email": {"delivery_mode": "digest"}})
    for _ in range(3):
        answer = client.post(path_of(user))
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"You are unsubscribed" in answer.body
    assert channels(world) == [(user, "email", False, None), (other, "email", True, "digest")]
    client.post(path_of(other))
    assert channels(world)[1] == (other, "email", False, "digest")


def test_only_the_channel_of_the_link_is_switched_off(client: Client, world: World) -> None:
    user = world.user(channels={"email": {}, "sms": {}})
    client.post(path_of(user, ChannelName.SMS))
    assert channels(world) == [(user, "email", True, None), (user, "sms", False, None)]


def test_looking_changes_nothing(client: Client, world: World) -> None:
    """Scanners follow links: a GET shows a button, and no other method does anything."""
    user = world.user(channels={"email": {}})
    answer = client.get(path_of(user))
    assert answer.status == 200
    assert b'<form method="post"><button type="submit">Unsubscribe</button></form>' in answer.body
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS"):
        assert client.ask(method, path_of(user)).status == 405
    assert channels(world) == [(user, "email", True, None)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_is_refused(client: Client, world: World, method: str) -> None:
    user = world.user(channels={"email": {}})
    good = path_of(user)
    swapped = path_of(user + 1).replace(f"v1.{user + 1}.", f"v1.{user}.")
    for path in (good[:-1], good + "A", swapped, good.replace("v1.", "v0."), "/alerts/unsubscribe/x"):
        answer = client.ask(method, path)
        assert answer.status == 404
        kind = "application/problem+json" if method == "POST" else "text/html; charset=utf-8"
        assert answer.headers["content-type"] == kind
    assert channels(world) == [(user, "email", True, None)]


def test_the_link_of_a_user_who_is_gone_is_still_a_good_link(client: Client, world: World) -> None:
    user = world.user()
    world.execute("DELETE FROM users WHERE id = %(id)s", id=user)
    assert client.post(path_of(user)).status == 200
    assert channels(world) == []


def test_without_a_secret_no_link_is_ours(database_url: str, world: World) -> None:
    user = world.user()
    with serving(api_settings(database_url, secrets={})) as client:
        assert client.post(path_of(user)).status == 404
    assert channels(world) == []


def test_a_database_that_is_down_is_no_unsubscribing(world: World) -> None:
    with serving(api_settings("postgresql://u@127.0.0.1:1/x")) as client:
        assert client.get(path_of(7)).status == 200
        assert client.post(path_of(7)).status == 503
