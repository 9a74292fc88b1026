"""What becomes of requests whose outcome nobody knows (I6): repeated under their key while it protects, else by the
owner's rule. Members, content and key stay as they were until the outcome is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from src.alerts.phases.outbound import Queue
from src.alerts.retry_failed import retry_failed
from src.db.connection import Database
from src.settings import Settings
from tests.factories import NOW, World
from tests.integration.busy import until
from tests.integration.sending import BREVO, RESEND, TELEGRAM, Sending
from tests.providers.answers import Answer
from tests.providers.process import Provider

MINUTE = timedelta(minutes=1)
LATER = 20 * MINUTE  # past every backoff of a first attempt
EMAIL = {"resend": RESEND, "brevo": BREVO}
WINDOWS = {"resend": 24 * 60, "brevo": 30}  # minutes
LONG_WAIT = Answer(429, {"name": "rate_limit_exceeded"}, {"Retry-After": "600"})
BETWEEN = {
    "resend": (LONG_WAIT, "unavailable", "daily_quota", "invalid_key", "proxy_400"),
    "brevo": (LONG_WAIT, "unavailable", "not_enough_credits", "unauthorized", "proxy_400"),
}


@pytest.fixture
def sending(database: Database, world: World, provider: Provider) -> Sending:
    return Sending(database, world, provider)


def killed(sending: Sending, users: list[int], provider: str, minutes_ago: float = 5) -> None:
    """The instants of these people were in one request when a run was killed."""
    sending.world.execute(
        "UPDATE user_alert_deliveries SET status = 'sending', claimed_by = 'a run that is gone', claimed_at = %(at)s,"
        " send_key = '4711b1f0-5c1e-4b3f-9a57-0242ac120002', send_key_at = %(at)s, send_provider = %(provider)s"
        " WHERE user_id = ANY(%(users)s::bigint[])",
        users=users,
        at=NOW - minutes_ago * MINUTE,
        provider=provider,
    )


@pytest.mark.parametrize("name", EMAIL)
def test_an_unanswered_batch_is_repeated_whole_byte_for_byte_and_goes_out_once(
    sending: Sending, provider: Provider, name: str
) -> None:
    people = sending.people(5)
    sending.instants(people)
    provider.script(name, "drop_accepted")
    sending.run(EMAIL[name])
    more = sending.people(2)
    sending.instants(more, severity=5)  # goes before them, and must not join them
    report = sending.run(EMAIL[name], later=LATER)
    assert sending.accepted() == sending.addresses(people + more)
    assert sending.statuses() == {"sent": 7}
    first, again, other = provider.requests
    assert (first["content"], first["key"]) == (again["content"], again["key"])
    assert first["headers"]["Content-Length"] == again["headers"]["Content-Length"]
    assert other["key"] != first["key"]
    assert report.counts["recovered"] == 0  # their run was not killed


@pytest.mark.parametrize(("name", "between"), [(name, answer) for name, found in BETWEEN.items() for answer in found])
def test_an_answer_that_does_not_settle_an_earlier_request_keeps_its_key(
    sending: Sending, provider: Provider, name: str, between: str | Answer
) -> None:
    people = sending.people(3)
    sending.instants(people)
    provider.script(name, "drop_accepted")
    sending.run(EMAIL[name])
    provider.script(name, default=between)
    sending.run(EMAIL[name], later=3 * MINUTE)
    provider.script(name)
    sending.run(EMAIL[name], later=LATER)
    assert sending.accepted() == sending.addresses(people)
    assert sending.statuses() == {"sent": 3}
    assert len({request["key"] for request in provider.requests}) == 1


@pytest.mark.parametrize("name", EMAIL)
def test_what_a_killed_run_left_is_recovered_under_its_key(sending: Sending, provider: Provider, name: str) -> None:
    people = sending.people(3)
    sending.instants(people)
    killed(sending, people, name)
    report = sending.run(EMAIL[name])
    assert (report.counts["recovered"], sending.statuses()) == (3, {"sent": 3})
    assert [request["key"] for request in provider.requests] == ["4711b1f0-5c1e-4b3f-9a57-0242ac120002"]


@pytest.mark.parametrize("name", EMAIL)
def test_a_repeated_request_that_is_told_to_wait_goes_out_in_the_same_run(
    sending: Sending, provider: Provider, name: str
) -> None:
    people = sending.people(3)
    sending.instants(people)
    killed(sending, people, name)
    provider.script(name, Answer(429, {"name": "rate_limit_exceeded"}, {"Retry-After": "1"}))
    sending.run(EMAIL[name])
    assert sending.statuses() == {"sent": 3}
    assert [request["key"] for request in provider.requests] == ["4711b1f0-5c1e-4b3f-9a57-0242ac120002"] * 2


def test_a_member_that_was_tried_often_does_not_hold_the_others_back_until_their_key_ends(
    sending: Sending, provider: Provider
) -> None:
    people = sending.people(3)
    sending.instants(people)
    sending.world.execute("UPDATE user_alert_deliveries SET attempts = 4 WHERE user_id = %(id)s", id=people[0])
    (other,) = sending.people(1)
    sending.digests([other])  # so that not every request is an outage
    provider.script("brevo", "drop_accepted")
    for minutes in (0, 15, 31):  # 31: the key is relied on no longer
        sending.run(BREVO, later=minutes * MINUTE)
    assert sending.statuses() == {"sent": 3}
    assert sending.accepted() == sending.addresses([*people, other])


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("why", ["the window is over", "another provider", "no keys"])
def test_without_a_key_that_protects_the_owners_rule_decides(
    sending: Sending, provider: Provider, why: str, fail: bool
) -> None:
    people = sending.people(3)
    channel, environ, was = "email", BREVO, "brevo"
    if why == "no keys":
        channel, environ, was = "telegram", TELEGRAM, "telegram"
    elif why == "another provider":
        was = "resend"
    sending.instants(people, channel)
    killed(sending, people, was, minutes_ago=WINDOWS["brevo"] - 0.5 if why == "the window is over" else 5)
    report = sending.run({**environ, "ALERTS_UNKNOWN_OUTCOME": "fail" if fail else "resend"})
    counts = report.counts["deliveries"]
    assert report.counts["recovered"] == 3
    if fail:
        assert sending.rows("status, failure_reason, send_key") == [("failed", "outcome_unknown", None)] * 3
        assert (counts["failed"], counts["sent"], provider.requests) == (3, 0, [])
        assert report.counts["by_channel"][channel]["failed"] == 3
    else:
        assert sending.statuses() == {"sent": 3}
        assert len(provider.accepted) == 3
        assert "4711b1f0-5c1e-4b3f-9a57-0242ac120002" not in {request["key"] for request in provider.requests}


@pytest.mark.parametrize("name", EMAIL)
@pytest.mark.parametrize("inside", [True, False])
def test_a_key_is_relied_on_until_just_before_its_window_ends(
    sending: Sending, provider: Provider, name: str, inside: bool
) -> None:
    people = sending.people(1)
    sending.instants(people)
    killed(sending, people, name, minutes_ago=WINDOWS[name] - (1.5 if inside else 0.5))
    sending.run({**EMAIL[name], "ALERTS_UNKNOWN_OUTCOME": "fail"})
    assert sending.statuses() == ({"sent": 1} if inside else {"failed": 1})


@pytest.mark.parametrize("fail", [False, True])
def test_a_request_cut_off_after_it_was_written_falls_under_the_same_rule(
    sending: Sending, provider: Provider, fail: bool
) -> None:
    people = sending.people(3)
    sending.instants(people, "telegram")
    provider.script("telegram", "ok", "drop_accepted")
    environ = {**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "1", "ALERTS_UNKNOWN_OUTCOME": "fail" if fail else "resend"}
    sending.run(environ)
    assert sending.statuses() == {"sent": 2, "failed" if fail else "queued": 1}
    sending.run(environ, later=LATER)
    assert sending.statuses() == ({"sent": 2, "failed": 1} if fail else {"sent": 3})
    assert sorted(sending.accepted().values()) == ([1, 1, 1] if fail else [1, 1, 2])


def test_an_outage_gives_no_attempt_back_to_what_must_not_be_sent_twice(sending: Sending, provider: Provider) -> None:
    sending.instants(sending.people(8), "telegram")
    provider.script("telegram", default="drop_accepted")
    environ = {**TELEGRAM, "ALERTS_SEND_CONCURRENCY": "1", "ALERTS_UNKNOWN_OUTCOME": "fail"}
    report = sending.run(environ)
    assert report.counts["halted_channels"] == ["telegram"]
    assert sending.statuses() == {"failed": 5, "queued": 3}
    assert report.counts["deliveries"]["failed"] == 5
    provider.script("telegram")
    sending.run(environ, later=LATER)
    assert set(sending.accepted().values()) == {1}
    assert len(sending.accepted()) == 8


def test_what_is_recovered_too_old_expires(sending: Sending, provider: Provider) -> None:
    people = sending.people(2)
    sending.instants(people, created_at=NOW - timedelta(hours=25))
    killed(sending, people, "resend")
    report = sending.run()
    assert sending.rows("status, failure_reason") == [("skipped", "expired")] * 2
    assert report.counts["deliveries"]["skipped_expired"] == 2
    assert provider.requests == []


def test_digests_are_recovered_as_well(sending: Sending, provider: Provider) -> None:
    people = sending.people(3)
    sending.digests(people)
    provider.script("resend", "drop_accepted")
    sending.run()
    sending.world.execute("UPDATE user_alert_digests SET status = 'sending', claimed_by = 'a run that is gone'")
    report = sending.run(later=LATER)
    assert sending.accepted() == sending.addresses(people)
    assert (report.counts["recovered"], sending.statuses("digests")) == (3, {"sent": 3})


@pytest.mark.parametrize("gate", ["cap", "allowlist"])
def test_a_batch_waits_for_a_run_that_admits_all_of_it_and_others_go_on(
    sending: Sending, provider: Provider, gate: str
) -> None:
    people = sending.people(4)
    sending.instants(people)
    provider.script("resend", "drop_accepted")
    sending.run()
    late = sending.people(2)
    sending.instants(late)
    kept = sending.rows("status, attempts, send_key", user_id=people[0])
    if gate == "cap":
        report = sending.run(later=LATER, max_send=3)
    else:
        report = sending.run(later=LATER, allowlist=frozenset({*people[1:], *late}))
    assert sending.accepted() == sending.addresses(people + late)
    assert sending.statuses() == {"queued": 4, "sent": 2}
    assert sending.rows("status, attempts, send_key", user_id=people[0]) == kept
    assert report.counts["deliveries"]["sent"] == 2
    sending.run(later=LATER)
    assert sending.statuses() == {"sent": 6}
    assert sending.accepted() == sending.addresses(people + late)
    assert provider.requests[0]["content"] == provider.requests[2]["content"]


def test_another_body_under_a_known_key_means_that_it_was_sent(sending: Sending, provider: Provider) -> None:
    people = sending.people(3)
    sending.instants(people)
    provider.script("resend", "drop_accepted")
    sending.run()
    sending.world.execute("UPDATE alert_events SET headline = 'Edited meanwhile'")
    sending.run(later=LATER)
    assert (sending.statuses(), sending.accepted()) == ({"sent": 3}, sending.addresses(people))


def test_batches_still_under_way_at_the_provider_are_no_outage(sending: Sending, provider: Provider) -> None:
    people = sending.people(8)
    sending.instants(people)
    killed(sending, people, "resend")
    sending.world.execute("UPDATE user_alert_deliveries SET send_key = md5(id::text)::uuid")
    provider.script("resend", default="concurrent")
    report = sending.run()
    assert (report.counts["halted_channels"], report.counts["deliveries"]["retried"]) == ([], 8)
    provider.script("resend")
    sending.run(later=LATER)
    assert (sending.statuses(), sending.accepted()) == ({"sent": 8}, sending.addresses(people))
    assert len({request["key"] for request in provider.requests}) == 8


def test_who_opted_out_of_a_batch_of_unknown_outcome_is_not_asked_for_again(
    sending: Sending, provider: Provider
) -> None:
    people = sending.people(3)
    sending.instants(people)
    killed(sending, people, "resend")
    sending.world.insert("user_alert_channels", user_id=people[1], channel="email", enabled=False)
    sending.run()
    assert sending.statuses() == {"sent": 2, "skipped": 1}
    assert sending.accepted() == sending.addresses([people[0], people[2]])


def test_results_of_a_run_that_holds_a_row_no_longer_are_left_out(sending: Sending, provider: Provider) -> None:
    people = sending.people(2)
    sending.instants(people, "telegram")
    provider.script("telegram", default=Answer(accepts=True, seconds_after=1))
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(sending.run, TELEGRAM)
        until(lambda: len(provider.accepted) == 2)
        sending.world.execute("UPDATE user_alert_deliveries SET claimed_by = 'the next run' WHERE user_id = 1")
        run.result()
    assert sending.rows("status, claimed_by IS NULL") == [("sending", False), ("sent", False)]
    assert sending.rows("claimed_by", user_id=1) == ["the next run"]


def test_a_dry_run_counts_recovery_and_changes_nothing(sending: Sending, provider: Provider) -> None:
    people = sending.people(3)
    sending.instants(people, "telegram")
    killed(sending, people, "telegram")
    before = sending.world.rows("SELECT * FROM user_alert_deliveries ORDER BY id")
    report = sending.run({**TELEGRAM, "ALERTS_UNKNOWN_OUTCOME": "fail"}, simulate=True)
    assert (report.counts["recovered"], report.counts["deliveries"]["failed"]) == (3, 3)
    assert sending.world.rows("SELECT * FROM user_alert_deliveries ORDER BY id") == before
    assert provider.requests == []


@pytest.mark.parametrize("name", EMAIL)
def test_a_request_of_which_somebody_holds_a_row_waits_for_it(
    sending: Sending, provider: Provider, database: Database, name: str
) -> None:
    """Without that row it would be another request; and the row alone under its key would be taken for a repeat."""
    people = sending.people(3)
    sending.instants(people)
    killed(sending, people, name)
    sending.world.execute("UPDATE user_alert_deliveries SET status = 'queued', claimed_by = NULL, claimed_at = NULL")
    with database.session() as other, other.transaction():
        other.execute("SELECT FROM user_alert_deliveries WHERE user_id = %(id)s FOR UPDATE", {"id": people[1]})
        sending.run(EMAIL[name])
    assert (sending.statuses(), provider.requests) == ({"queued": 3}, [])
    sending.run(EMAIL[name], later=MINUTE)
    assert sending.statuses() == {"sent": 3}
    assert sending.accepted() == sending.addresses(people)


@pytest.mark.parametrize("name", EMAIL)
def test_a_repeated_request_that_is_refused_for_one_member_stays_whole_while_its_key_protects(
    sending: Sending, provider: Provider, name: str
) -> None:
    """It was accepted, and one of them has changed their address since: the others must not get it once more."""
    people = sending.people(3)
    sending.instants(people)
    provider.script(name, "drop_accepted")
    sending.run(EMAIL[name])
    sending.world.execute("UPDATE users SET email = 'refused@example.com' WHERE id = %(id)s", id=people[0])
    provider.script(name, default="invalid_parameter" if name == "brevo" else "validation_error")
    sending.run(EMAIL[name], later=10 * MINUTE)
    assert sending.statuses() == {"queued": 3}
    assert len(set(sending.rows("send_key"))) == 1
    provider.script(name)
    sending.run(EMAIL[name], later=25 * MINUTE)
    assert sending.statuses() == {"sent": 3}
    assert sending.accepted() == sending.addresses(people)


@pytest.mark.parametrize("name", EMAIL)
@pytest.mark.parametrize("status", [500, 502, 520, 524])
def test_a_gateway_that_fails_after_the_provider_accepted_does_not_make_it_twice(
    sending: Sending, provider: Provider, name: str, status: int
) -> None:
    people = sending.people(3)
    sending.instants(people)
    provider.script(name, Answer(status, accepts=True), default="ok")
    sending.run(EMAIL[name])
    sending.run(EMAIL[name], later=10 * MINUTE)
    assert sending.statuses() == {"sent": 3}
    assert sending.accepted() == sending.addresses(people)


@pytest.mark.parametrize("answer", ["half", "stall", "garbage"])
def test_who_was_refused_is_asked_again_when_the_answer_cannot_be_read(
    sending: Sending, provider: Provider, answer: str
) -> None:
    people = sending.people(3)
    sending.instants(people)
    provider.script("resend", answer, refuse=[f"user{people[1]}@example.com"])
    sending.run(RESEND)
    sending.run(RESEND, later=10 * MINUTE)
    assert sending.rows("status") == ["sent", "failed", "sent"]
    assert sending.accepted() == sending.addresses([people[0], people[2]])


@pytest.mark.parametrize("name", EMAIL)
def test_nobody_is_given_up_while_a_key_holds_them_together(sending: Sending, provider: Provider, name: str) -> None:
    """One who is, and is tried again later under that key, would be taken for a repeat of what the others got."""
    people = sending.people(3)
    sending.instants(people)
    sending.world.execute("UPDATE user_alert_deliveries SET attempts = 4 WHERE user_id = %(id)s", id=people[1])
    (other,) = sending.people(1)
    sending.digests([other])  # so that not every request is an outage
    provider.script(name, default="gateway_timeout", to={f"user{other}@example.com": "ok"})
    sending.run(EMAIL[name])
    assert sending.rows("status, attempts") == [("queued", 1), ("queued", 5), ("queued", 1)]
    provider.script(name)
    sending.run(EMAIL[name], later=5 * MINUTE)
    with sending.database.session() as session:
        retry_failed(session, Settings(), Queue.DELIVERIES, timedelta(hours=24), NOW, execute=True)
    sending.run(EMAIL[name], later=25 * MINUTE)
    assert sending.statuses() == {"sent": 3}
    assert sending.accepted() == sending.addresses([*people, other])
