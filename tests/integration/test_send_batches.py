"""Several mails a request: each answer goes to the right row, and one member's trouble stays its own."""

from __future__ import annotations

import pytest

from src.db.connection import Database
from tests.factories import World
from tests.integration.sending import BREVO, RESEND, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider

EMAIL = {"resend": RESEND, "brevo": BREVO}


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def sizes(sending: Sending) -> list[int]:
    """How many messages each request had."""
    contents = [request["content"] for request in sending.provider.requests]
    return [len(c if isinstance(c, list) else c.get("messageVersions", [c])) for c in contents]


def address(user_id: int) -> str:
    return f"user{user_id}@example.com"


@pytest.mark.parametrize("name", EMAIL)
def test_a_thousand_mails_take_ten_requests(sending: Sending, provider: Provider, name: str) -> None:
    people = sending.people(1000)
    sending.instants(people)
    report = sending.run(EMAIL[name])
    assert report.counts["deliveries"]["sent"] == 1000
    assert sending.accepted() == sending.addresses(people)
    assert len(provider.requests) <= 12
    assert len({request["key"] for request in provider.requests}) == len(provider.requests)


@pytest.mark.parametrize("name", EMAIL)
def test_each_row_has_the_id_that_was_answered_for_it(sending: Sending, provider: Provider, name: str) -> None:
    people = sending.people(3)
    sending.instants(people)
    ids = ["<first@x>", "<second@x>", "<third@x>"]
    bodies = {"resend": {"data": [{"id": id_} for id_ in ids]}, "brevo": {"messageIds": ids}}
    provider.script(name, Answer(200, bodies[name], accepts=True))
    sending.run(EMAIL[name])
    assert [message["to"] for message in provider.accepted] == [address(user_id) for user_id in people]
    assert sending.rows("user_id, provider_message_id") == list(zip(people, ids, strict=True))


def test_rows_that_nobody_should_get_any_more_do_not_break_a_request_apart(sending: Sending, world: World) -> None:
    people = sending.people(30)
    sending.instants(people)
    off = [people[3], people[4], people[20]]
    for user_id in off:
        world.insert("user_alert_channels", user_id=user_id, channel="email", enabled=False)
    sending.run()
    assert sizes(sending) == [27]
    assert sending.accepted() == sending.addresses([user_id for user_id in people if user_id not in off])
    assert sending.rows("user_id", status="skipped") == off


def test_resends_partial_answer_fails_the_refused_and_sends_the_others(sending: Sending, provider: Provider) -> None:
    people = sending.people(5)
    sending.instants(people)
    refused = [people[0], people[3]]
    provider.script("resend", refuse=[address(user_id) for user_id in refused])
    report = sending.run()
    assert sending.rows("user_id, failure_reason", status="failed") == [(u, "content_rejected") for u in refused]
    assert sending.accepted() == sending.addresses([u for u in people if u not in refused])
    assert (report.counts["deliveries"]["sent"], report.counts["deliveries"]["failed"]) == (3, 2)
    assert len(provider.requests) == 1
    assert len(set(sending.rows("provider_message_id", status="sent"))) == 3


@pytest.mark.parametrize("number", [2, 7, 60])
def test_a_batch_refused_for_one_member_fails_only_that_one(sending: Sending, provider: Provider, number: int) -> None:
    people = sending.people(number)
    sending.instants(people)
    bad = people[number // 3]
    provider.script("brevo", refuse=[address(bad)])
    report = sending.run(BREVO)
    assert sending.rows("user_id, attempts", status="failed") == [(bad, 1)]
    assert sending.accepted() == sending.addresses([user_id for user_id in people if user_id != bad])
    assert set(sending.rows("attempts", status="sent")) == {1}
    assert report.counts["deliveries"]["left_queued"] == 0
    assert len(provider.requests) < 4 * number.bit_length() + 4


def test_a_bad_member_costs_little_in_a_long_queue(sending: Sending, provider: Provider) -> None:
    people = sending.people(800)
    sending.instants(people)
    provider.script("brevo", refuse=[address(people[5]), address(people[431])])
    sending.run(BREVO)
    assert sending.rows("user_id", status="failed") == [people[5], people[431]]
    assert sending.statuses() == {"sent": 798, "failed": 2}
    assert len(provider.requests) < 60


def test_an_address_that_is_none_at_the_head_of_a_batch_hides_no_answer(sending: Sending, provider: Provider) -> None:
    people = sending.people(6)
    sending.instants(people)
    sending.world.execute("UPDATE users SET email = %(to)s WHERE id = %(id)s", to="a\nb@example.com", id=people[0])
    provider.script("brevo", default="unauthorized")
    report = sending.run(BREVO)
    assert report.counts["halted_channels"] == ["email"]
    assert sending.rows("status, attempts") == [("failed", 1)] + [("queued", 0)] * 5
    provider.script("brevo", refuse=[address(people[3])])
    report = sending.run(BREVO)
    assert sending.statuses() == {"failed": 2, "sent": 4}


@pytest.mark.parametrize("name", EMAIL)
def test_a_single_message_is_no_batch(sending: Sending, provider: Provider, name: str) -> None:
    people = sending.people(1)
    sending.instants(people)
    sending.run(EMAIL[name])
    (request,) = provider.requests
    assert request["path"] == {"resend": "/emails", "brevo": "/v3/smtp/email"}[name]
    assert "messageVersions" not in request["content"]
    assert sending.statuses() == {"sent": 1}


@pytest.mark.parametrize(("max_send", "batch_size"), [(7, 200), (1000, 7), (7, 3)])
def test_no_batch_is_larger_than_the_cap_or_a_claim(sending: Sending, max_send: int, batch_size: int) -> None:
    people = sending.people(20)
    sending.instants(people)
    sending.run(max_send=max_send, batch_size=batch_size)
    assert max(sizes(sending)) <= min(max_send, batch_size)
    assert sum(sending.accepted().values()) == min(20, max_send)


@pytest.mark.parametrize("name", EMAIL)
def test_instants_and_digests_go_in_different_requests_instants_first(
    sending: Sending, provider: Provider, name: str
) -> None:
    people = sending.people(4)
    sending.digests(people)
    sending.instants(people)
    sending.run({**EMAIL[name], "ALERTS_SEND_CONCURRENCY": "1"})
    subjects = [message["subject"] for message in provider.accepted]
    assert len(set(subjects[:4])) == len(set(subjects[4:])) == 1
    assert "digest" in subjects[-1].lower()
    assert sizes(sending) == [4, 4]
    assert (sending.statuses(), sending.statuses("digests")) == ({"sent": 4}, {"sent": 4})


def test_severest_and_oldest_go_first(sending: Sending, provider: Provider) -> None:
    people = sending.people(2)
    for severity in (3, 5, 4):
        sending.instants(people, severity=severity, headline=f"Severity {severity}")
    sending.run({"ALERTS_SEND_CONCURRENCY": "1"}, batch_size=1)
    order = [(message["subject"][-1], message["to"]) for message in provider.accepted]
    assert order == [(severity, address(user_id)) for severity in "543" for user_id in people]


@pytest.mark.parametrize("name", EMAIL)
def test_members_of_one_request_with_different_histories_keep_their_own_attempts(
    sending: Sending, provider: Provider, name: str
) -> None:
    people = sending.people(3)
    sending.instants(people)
    for user_id, attempts in zip(people, (0, 4, 2), strict=True):
        sending.world.execute("UPDATE user_alert_deliveries SET attempts = %(n)s WHERE user_id = %(id)s",
                              n=attempts, id=user_id)  # fmt: skip
    (other,) = sending.people(1)
    sending.digests([other])  # is answered, so that one failed request is no outage of the run
    provider.script(name, default="unavailable", to={address(other): "ok"})
    sending.run(EMAIL[name])
    assert sending.rows("status, attempts, failure_reason") == [
        ("queued", 1, None),
        ("failed", 5, "provider_unavailable"),
        ("queued", 3, None),
    ]
