"""Who gets what (I4 and the re-checks at the claim), Telegram's ways, and content that nobody foresaw."""

from __future__ import annotations

import gc
from datetime import timedelta

import pytest

from src.alerts.messages import EventContent, Rendered
from src.alerts.models import ChannelName
from src.alerts.phases import send
from src.alerts.rendering import Renderer
from src.db.connection import Database
from tests.factories import NOW, World
from tests.integration.sending import BREVO, RESEND, TELEGRAM, TWILIO, Sending
from tests.providers.process import Provider

ALL = {**RESEND, **TELEGRAM, **TWILIO}
HOSTILE = {
    "long": "Énergie " * 700,
    "markup": '<script>alert("x")</script> & <b>bold</b> </a> {{ 7*7 }} {% raw %}',
    "emoji": "🔥" * 300 + " زلزال \u202e right to left \u2066 and \u200d joined 👩‍👩‍👧‍👦",
    "controls": "line\nbreak\r\nBcc: everybody@example.com\ttab \x07 bell \u2028 separator",
    "blank": " \n\t ",
    "percent": "%(now)s %s %% {table} \\ ' \" $1 NULL",
    "entities": "&lt;" * 2000,
    "unpaired": "<" * 3000,
}


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider, {**ALL, **{f"ALERTS_RATE_LIMIT_{c}_PER_MINUTE": "600000" for c in
                                                         ("EMAIL", "TELEGRAM", "SMS")}})  # fmt: skip


# The allowlist is a wall.


def test_nobody_outside_the_allowlist_gets_anything(sending: Sending, provider: Provider) -> None:
    inside, outside = sending.people(3), sending.people(3)
    for channel in ("email", "telegram", "sms"):
        sending.instants(inside + outside, channel)
    sending.digests(inside + outside)
    before = sending.rows("*", user_id=outside[0]), sending.rows("*", "digests", user_id=outside[0])
    report = sending.run(allowlist=frozenset(inside))
    users = {f"user{u}@example.com" for u in inside} | {str(1000 + u) for u in inside}
    assert set(sending.accepted()) == users | {f"+1555{1000000 + u}" for u in inside}
    assert len(provider.accepted) == 12
    assert (sending.rows("*", user_id=outside[0]), sending.rows("*", "digests", user_id=outside[0])) == before
    assert report.counts["deliveries"]["left_queued"] == 0  # it counts what the allowlist lets out
    assert report.recipients == [
        {"user_id": user_id, "channel": channel, "instants": 1, "digests": int(channel == "email")}
        for user_id in inside
        for channel in ("email", "sms", "telegram")
    ]


@pytest.mark.parametrize("provider_name", ["resend", "telegram"])
def test_what_a_killed_run_left_for_others_stays_with_them(sending: Sending, provider_name: str) -> None:
    inside, outside = sending.people(2), sending.people(2)
    channel = "email" if provider_name == "resend" else "telegram"
    sending.instants(inside, channel)
    sending.instants(outside, channel)
    sending.world.execute(
        "UPDATE user_alert_deliveries SET status = 'sending', claimed_by = 'gone', send_key_at = %(now)s,"
        " send_provider = %(name)s, send_key = md5(alert_event_id::text)::uuid",
        now=NOW,
        name=provider_name,
    )
    sending.run(allowlist=frozenset(inside))
    assert sending.rows("status") == ["sent", "sent", "queued", "queued"]
    assert all(key for key in sending.rows("send_key", status="queued"))
    sending.run()
    assert sending.rows("status") == ["sent"] * 4
    assert set(sending.accepted().values()) == {1}


def test_an_empty_allowlist_sends_nothing(sending: Sending, provider: Provider) -> None:
    people = sending.people(3)
    sending.instants(people)
    sending.digests(people)
    report = sending.run(allowlist=frozenset())
    assert provider.requests == []
    assert (sending.statuses(), sending.statuses("digests")) == ({"queued": 3}, {"queued": 3})
    assert (report.recipients, report.counts["stop_reason"]) == ([], None)


# What is true now decides, not what was true when a row was queued.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE users SET email = ''", "missing_destination"),
        ("UPDATE users SET email_verified = false", "missing_destination"),
        ("INSERT INTO user_alert_channels (user_id, channel, enabled) VALUES (1, 'email', false)", "no_longer_wanted"),
    ],
)
def test_the_destination_and_the_wish_are_checked_at_the_claim(
    sending: Sending, provider: Provider, change: str, reason: str
) -> None:
    people = sending.people(1)
    sending.instants(people)
    sending.digests(people)
    sending.world.execute(change)
    report = sending.run()
    assert provider.requests == []
    assert sending.rows("status, failure_reason, attempts") == [("skipped", reason, 0)]
    assert sending.rows("status, failure_reason", "digests") == [("skipped", reason)]
    assert report.counts["deliveries"][f"skipped_{reason}"] == report.counts["digests"][f"skipped_{reason}"] == 1
    assert report.counts["by_channel"]["email"]["skipped"] == 2


@pytest.mark.parametrize(("channel", "column"), [("telegram", "telegram_chat_id"), ("sms", "phone_number")])
def test_other_channels_check_their_own_destination(sending: Sending, channel: str, column: str) -> None:
    one, other = sending.people(2)
    sending.instants([one, other], channel)
    sending.world.execute(f"UPDATE users SET {column} = NULL WHERE id = %(id)s", id=one)
    sending.run()
    assert sending.rows("status, failure_reason") == [("skipped", "missing_destination"), ("sent", None)]


def test_another_channel_switched_off_does_not_matter(sending: Sending) -> None:
    (user_id,) = sending.people(1)
    sending.instants([user_id])
    sending.world.insert("user_alert_channels", user_id=user_id, channel="sms", enabled=False)
    sending.world.insert("user_alert_channels", user_id=user_id, channel="email", enabled=True)
    sending.run()
    assert sending.statuses() == {"sent": 1}


def test_old_instants_and_digests_expire(sending: Sending, provider: Provider) -> None:
    (user_id,) = sending.people(1)
    sending.instants([user_id], created_at=NOW - timedelta(hours=25))
    sending.instants([user_id], created_at=NOW - timedelta(hours=23), headline="Young enough")
    item = sending.world.delivery(user_id, sending.world.alert_event(fanned_out=True), kind="digest")
    old, young = NOW - timedelta(days=4, minutes=5), NOW - timedelta(days=4) + timedelta(minutes=5)
    for start in (old, young):
        sending.world.digest(user_id, [], window=(start, start + timedelta(days=1)))
    sending.world.execute("INSERT INTO user_alert_digest_items (digest_id, delivery_id) VALUES (2, %(id)s)", id=item)
    report = sending.run()
    assert sending.rows("status, failure_reason") == [("skipped", "expired"), ("sent", None)]
    assert sending.rows("status, failure_reason", "digests") == [("skipped", "expired"), ("sent", None)]
    assert report.counts["deliveries"]["skipped_expired"] == report.counts["digests"]["skipped_expired"] == 1
    assert len(provider.accepted) == 2


def test_a_digest_without_items_is_not_sent(sending: Sending, provider: Provider) -> None:
    (user_id,) = sending.people(1)
    sending.world.digest(user_id, [])
    sending.run()
    assert sending.rows("status, failure_reason", "digests") == [("skipped", "no_longer_wanted")]
    assert provider.requests == []


def test_a_channel_that_is_not_configured_holds_its_rows_until_they_expire(
    sending: Sending, provider: Provider
) -> None:
    people = sending.people(2)
    sending.instants(people, "sms")
    sending.instants(people, "sms", created_at=NOW - timedelta(hours=30))
    sending.instants(people)
    report = sending.run({"TWILIO_AUTH_TOKEN": ""})
    assert sending.rows("status, failure_reason, attempts", channel="sms") == [
        *[("queued", None, 0)] * 2,
        *[("skipped", "expired", 0)] * 2,
    ]
    assert report.counts["deliveries"]["held_not_configured"] == 2
    assert report.counts["deliveries"]["left_queued"] == 0
    assert (report.counts["deliveries"]["skipped_expired"], report.counts["stop_reason"]) == (2, None)
    assert report.counts["by_channel"]["sms"]["skipped"] == 2
    sending.run()
    assert sending.statuses(channel="sms") == {"sent": 2, "skipped": 2}


def test_rows_of_other_software_are_left_alone(sending: Sending, provider: Provider) -> None:
    (user_id,) = sending.people(1)
    event = sending.world.alert_event(fanned_out=True)
    for columns in (
        {"channel": "account"},
        {"kind": "digest"},
        {"kind": "geri"},
        {"adopted": True, "channel": "sms"},
        {"adopted": True, "channel": "telegram", "status": "sending"},
    ):
        sending.world.delivery(user_id, event, **columns)
    sending.world.digest(user_id, [], adopted=True)
    before = sending.world.rows("SELECT * FROM user_alert_deliveries ORDER BY id")
    sending.run()
    assert sending.world.rows("SELECT * FROM user_alert_deliveries ORDER BY id") == before
    assert sending.statuses("digests") == {"queued": 1}
    assert provider.requests == []


def test_rows_locked_by_somebody_else_are_passed_over(sending: Sending, database: Database) -> None:
    people = sending.people(4)
    sending.instants(people)
    with database.session() as session, session.transaction():
        session.execute("SELECT FROM user_alert_deliveries WHERE user_id = 2 FOR UPDATE")
        sending.run()
        assert sending.rows("status") == ["sent", "queued", "sent", "sent"]
    sending.run()
    assert set(sending.accepted().values()) == {1}


# Telegram's ways.


def test_a_group_that_moved_is_stored_and_used_in_the_same_run(sending: Sending, provider: Provider) -> None:
    one, other = sending.people(2)
    sending.instants([one, other], "telegram", events=2)
    provider.script("telegram", to={str(1000 + one): "migrated"})
    report = sending.run()
    assert sending.accepted() == {"-1001234567890": 2, str(1000 + other): 2}
    assert sending.statuses() == {"sent": 4}
    assert sending.world.value("SELECT telegram_chat_id FROM users WHERE id = %(id)s", id=one) == "-1001234567890"
    assert report.counts["deliveries"]["sent"] == 4


def test_a_move_that_cannot_be_stored_costs_nobody_a_second_message(sending: Sending, provider: Provider) -> None:
    people = sending.people(20)
    sending.instants(people, "telegram")
    sending.world.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    provider.script("telegram", to={str(1000 + people[0]): "migrated"})
    report = sending.run()
    assert [finding.code for finding in report.errors] == ["database.error"]
    assert sending.rows("status, attempts") == [("queued", 0), *[("sent", 1)] * 19]
    sending.world.execute("DROP TRIGGER refuse ON users")
    sending.run(later=timedelta(minutes=10))
    assert sending.statuses() == {"sent": 20}
    assert set(sending.accepted().values()) == {1}


def test_a_user_who_changed_their_chat_meanwhile_keeps_the_new_one(sending: Sending, provider: Provider) -> None:
    (user_id,) = sending.people(1)
    sending.instants([user_id], "telegram")
    sending.world.execute(
        "CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE users SET telegram_chat_id = '77'; RETURN NEW; END $$;"
        "CREATE TRIGGER moved AFTER UPDATE ON user_alert_deliveries FOR EACH ROW"
        " WHEN (NEW.status = 'queued') EXECUTE FUNCTION moved()"
    )
    provider.script("telegram", "migrated")
    sending.run()
    assert sending.accepted() == {"77": 1}


def test_who_blocked_the_bot_is_failed_as_such(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(1), "telegram")
    provider.script("telegram", "blocked")
    sending.run()
    assert sending.rows("status, failure_reason, last_error") == [
        ("failed", "blocked_by_user", "telegram 403 forbidden")
    ]


# Nobody's data holds up what others are to get.


@pytest.mark.parametrize(
    ("channel", "column", "value"),
    [
        ("email", "email", "a@example.com\nBcc: b@example.com"),
        ("email", "email", "no address"),
        ("email", "email", '"quoted"@example.com'),
        ("email", "email", "x" * 300 + "@example.com"),
        ("telegram", "telegram_chat_id", "12 OR 1=1"),
        ("telegram", "telegram_chat_id", "９９"),
        ("sms", "phone_number", "+1 555 CALL\r\nNOW"),
    ],
)
def test_a_destination_that_is_none_fails_alone(
    sending: Sending, provider: Provider, channel: str, column: str, value: str
) -> None:
    people = sending.people(3)
    sending.instants(people, channel)
    sending.world.execute(f"UPDATE users SET {column} = %(value)s WHERE id = 2", value=value)
    report = sending.run()
    assert sending.rows("status, failure_reason") == [
        ("sent", None),
        ("failed", "invalid_destination"),
        ("sent", None),
    ]
    assert len(provider.accepted) == 2
    assert report.counts["halted_channels"] == []


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("email", [RESEND, BREVO], ids=["resend", "brevo"])
def test_any_text_is_sent_on_every_channel(
    sending: Sending, provider: Provider, text: str, email: dict[str, str]
) -> None:
    people = sending.people(2)
    event = sending.world.alert_event(fanned_out=True, headline=HOSTILE[text], body=HOSTILE[text] * 3)
    sending.world.execute("UPDATE alert_events SET scope_region = %(text)s", text=HOSTILE[text][:100])
    for user_id in people:
        for channel in ("email", "telegram", "sms"):
            sending.world.delivery(user_id, event, channel)
        item = sending.world.delivery(user_id, event, kind="digest")
        sending.world.digest(user_id, [item])
    sending.run(email)
    assert (sending.statuses(), sending.statuses("digests")) == ({"sent": 6}, {"sent": 2})
    for message in provider.accepted:
        assert "\n" not in (message["subject"] or "")
        assert "<script" not in (message["html"] or "")


@pytest.fixture
def unrenderable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The headline of an alert that cannot be rendered."""
    headline, render = "Broken", Renderer.instant

    def rendered(self: Renderer, content: EventContent, channel: ChannelName) -> Rendered:
        if content.headline == headline:
            raise ValueError("not this one")
        return render(self, content, channel)

    monkeypatch.setattr(Renderer, "instant", rendered)
    return headline


def test_a_message_that_cannot_be_rendered_fails_alone(sending: Sending, provider: Provider, unrenderable: str) -> None:
    people = sending.people(2)
    sending.instants(people, "telegram", headline=unrenderable)
    sending.instants(people, "telegram", headline="Whole")
    report = sending.run(max_send=2)
    assert sending.rows("status, failure_reason, attempts") == [
        *[("failed", "content_rejected", 1)] * 2,
        *[("sent", None, 1)] * 2,
    ]
    assert len(provider.accepted) == 2
    assert report.counts["deliveries"]["failed"] == 2


def test_a_message_that_cannot_be_rendered_says_nothing_of_the_provider(
    sending: Sending, provider: Provider, unrenderable: str
) -> None:
    """A channel whose every request was an outage is down, whatever else failed."""
    people = sending.people(3)
    sending.instants(people[:1], "telegram", headline=unrenderable)
    sending.instants(people[1:], "telegram")
    provider.script("telegram", default="unavailable")
    report = sending.run(TELEGRAM)
    assert report.counts["halted_channels"] == ["telegram"]
    assert sending.rows("status, attempts") == [("failed", 1), ("queued", 0), ("queued", 0)]


def test_the_garbage_collector_is_left_as_it_was(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    found, render = [], Renderer.instant

    def rendered(self: Renderer, content: EventContent, channel: ChannelName) -> Rendered:
        found.append((gc.get_threshold()[0], gc.get_freeze_count() > 0))
        return render(self, content, channel)

    monkeypatch.setattr(Renderer, "instant", rendered)
    before = gc.get_threshold()
    assert before[0] < send.COLLECT_AFTER
    sending.instants(sending.people(1))
    sending.run()
    assert found == [(send.COLLECT_AFTER, True)]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
