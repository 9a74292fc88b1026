"""When a channel halts, and how evenly it goes."""

from __future__ import annotations

import itertools

import pytest

from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason as Why
from src.alerts.phases.breaker import HORIZON, Breaker, Pacer

OK = Outcome(Verdict.SENT)
DEAD = Outcome(Verdict.FAILED, Why.INVALID_DESTINATION)
DOWN = Outcome(Verdict.RETRY, Why.PROVIDER_UNAVAILABLE, detail="brevo 503")
SLOW = Outcome(Verdict.WAIT, Why.RATE_LIMITED, wait_seconds=1)


def told(*outcomes: Outcome) -> Breaker:
    breaker = Breaker()
    for outcome in outcomes:
        breaker.tell(outcome)
    return breaker


@pytest.mark.parametrize("reason", [Why.CREDENTIALS, Why.ACCOUNT])
def test_the_first_answer_about_credentials_or_the_account_halts(reason: Why) -> None:
    breaker = told(OK, Outcome(Verdict.HALT, reason, detail="brevo 401"))
    assert (breaker.halted, breaker.detail) == (reason, "brevo 401")
    assert breaker.mend


def test_five_outages_in_a_row_halt_and_four_do_not() -> None:
    assert told(OK, *[DOWN] * 4).halted is None
    assert told(OK, *[DOWN] * 5).halted is Why.PROVIDER_UNAVAILABLE


def test_half_of_the_last_twenty_halts() -> None:
    assert told(*[OK, DOWN] * 9, OK, OK).halted is None
    assert told(*[OK, DOWN] * 10).halted is Why.PROVIDER_UNAVAILABLE


def test_dead_addresses_and_waits_never_halt() -> None:
    breaker = told(*[DEAD] * 50, *[SLOW] * 50)
    breaker.finish()
    assert breaker.halted is None


def test_waits_do_not_interrupt_a_row_of_outages() -> None:
    assert told(DOWN, SLOW, DOWN, SLOW, DOWN, DOWN, DOWN).halted is Why.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_run_whose_every_request_was_an_outage_ends_halted(number: int) -> None:
    breaker = told(*[DOWN] * number)
    assert breaker.halted is None
    breaker.finish()
    assert (breaker.halted, breaker.detail) == (Why.PROVIDER_UNAVAILABLE, "brevo 503")


def test_one_answer_among_a_few_outages_ends_well() -> None:
    breaker = told(DOWN, DEAD, DOWN)
    breaker.finish()
    assert breaker.halted is None


def test_requests_are_spaced_evenly_and_never_booked_far_ahead() -> None:
    pacer = Pacer(rate=10)
    starts = []
    now = 100.0
    while now < 102:
        for _ in range(pacer.permits(now) or 0):
            starts.append(pacer.take(now))
            assert starts[-1] <= now + HORIZON + 1e-9
        now += 0.01
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert min(gaps) == pytest.approx(0.1)
    assert max(gaps) == pytest.approx(0.1)


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    pacer = Pacer(rate=10)
    pacer.take(0)
    assert [pacer.take(1000), pacer.take(1000)] == [1000, pytest.approx(1000.1)]


def test_one_destination_is_not_hurried_and_holds_up_no_other() -> None:
    pacer = Pacer(rate=10, per_destination=1)
    assert [pacer.take(0, "a"), pacer.take(0, "a"), pacer.take(0, "b")] == [0, 1, pytest.approx(0.1)]


@pytest.mark.parametrize("group", ["-100", "@energy"])
def test_a_group_has_a_pace_of_its_own(group: str) -> None:
    pacer = Pacer(None, per_destination=1, per_group=3)
    assert [pacer.take(0, group), pacer.take(0, group), pacer.take(0, "7"), pacer.take(0, "7")] == [0, 3, 0, 1]


def test_who_waited_for_a_destination_is_part_of_the_rate() -> None:
    pacer = Pacer(rate=30, per_destination=1)
    chats = [*[chat for chat in range(15) for _ in range(2)], *range(100, 200)]
    starts = []
    now = 0.0
    while chats:
        granted, chats = chats[: pacer.permits(now)], chats[pacer.permits(now) :]
        starts += [pacer.take(now, str(chat)) for chat in granted]
        now += 0.01
    assert (
        max(sum(first <= start < first + 1 for start in starts) for first in starts) <= 31
    )  # a wait can end between two turns


def test_who_waited_long_ago_delays_nobody() -> None:
    pacer = Pacer(rate=10, per_destination=1)
    for _ in range(5):
        pacer.take(0, "a")
    assert [pacer.take(100, "b"), pacer.take(100, "c")] == [100, pytest.approx(100.1)]


def test_destinations_are_forgotten_in_time_and_not_looked_through_at_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("src.alerts.phases.breaker.DESTINATIONS_KEPT", 10)
    pacer = Pacer(None, per_destination=1)
    memories = []
    for number in range(1000):
        pacer.take(0, str(number))
        memories.append(pacer._next_to)
    assert sum(after is not before for before, after in itertools.pairwise(memories)) < 10
    assert pacer.take(0.5, "7") == 1
    for number in range(1000, 3000):
        pacer.take(number, str(number))
    assert len(pacer._next_to) <= 10


def test_a_pause_makes_nobody_take_two_turns() -> None:
    """Who waited for a destination has not started by its end, and asks again."""
    pacer = Pacer(rate=10, per_destination=1)
    for _ in range(5):
        pacer.take(0, "a")
    pacer.pause(until=10)
    assert [pacer.take(10, "b"), pacer.take(10, "c")] == [10, pytest.approx(10.1)]


def test_without_a_rate_there_is_no_limit_until_a_pause() -> None:
    pacer = Pacer(None)
    assert pacer.permits(5) is None
    pacer.pause(until=7)
    assert (pacer.permits(6.9), pacer.permits(7)) == (0, None)
    assert pacer.wait(5) == 2
