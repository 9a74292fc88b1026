"""Flags narrow what the environment allows; the budget never lets more than the cap through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from src.alerts.rollout import Rollout, SendBudget

lists = st.none() | st.frozensets(st.integers(1, 9))


@given(lists, lists, st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_flag_never_widens(
    environment: frozenset[int] | None, flag: frozenset[int] | None, cap: int, flag_cap: int | None
) -> None:
    rollout = Rollout.combine(environment, cap, flag, flag_cap)
    everybody = frozenset(range(1, 10))
    allowed = everybody if rollout.allowed is None else rollout.allowed
    assert allowed <= (everybody if environment is None else environment)
    assert allowed <= (everybody if flag is None else flag)
    assert rollout.max_send <= cap
    assert rollout.narrowed == (flag is not None and (environment is None or not environment <= flag))


def test_two_lists_without_a_common_user_mean_nobody() -> None:
    rollout = Rollout.combine(frozenset({1}), 10, frozenset({2}))
    assert rollout.allowed_ids == []


@given(st.integers(0, 30), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_what_is_accepted_never_exceeds_the_cap(cap: int, steps: list[tuple[int, int]]) -> None:
    budget, under_way, accepted = SendBudget(cap), 0, 0
    for wanted, settled in steps:
        under_way += budget.reserve(wanted)
        assert accepted + under_way <= cap
        done = min(settled, under_way)
        taken = done // 2
        budget.settle(done, taken)
        under_way, accepted = under_way - done, accepted + taken
        assert budget.spent == (accepted >= cap)
