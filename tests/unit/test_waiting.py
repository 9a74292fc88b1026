"""How long waits may take once the process has to end, one after the other and together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from src.db import waiting
from src.db.failures import HurriedError

SIGNAL = 100.0


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time, in seconds after the signal."""
    monkeypatch.setattr(waiting, "_haste", waiting._Haste())
    return lambda seconds: monkeypatch.setattr(waiting.time, "monotonic", lambda: SIGNAL + seconds)


@pytest.mark.parametrize(
    ("begun", "wound_up", "cut"),
    [(-9.0, False, 3.0), (0.5, False, 3.0), (2.5, False, 3.5), (5.0, False, 5.5), (5.5, True, 6.0), (9.0, True, 9.0)],
)
def test_a_wait_is_cut_short(at: Callable[[float], None], begun: float, wound_up: bool, cut: float) -> None:
    at(begun)
    patience = waiting.Patience(60)
    at(0)
    waiting.hurry(3.0, work=5.5, last=6.0)
    at(1)
    waiting.hurry(3.0, work=5.5, last=6.0)  # a second signal gives no more time
    if wound_up:
        waiting.wind_up()
    if begun < cut:
        at(cut - 0.01)
        assert patience.look() == pytest.approx(0.01)
    at(cut)
    with pytest.raises(HurriedError):
        patience.look()


def test_work_that_ended_before_the_signal_changes_nothing(at: Callable[[float], None]) -> None:
    at(-1)
    waiting.wind_up()
    at(0)
    assert waiting.Patience(60).look() == waiting.LOOK_SECONDS
    waiting.hurry(3.0, work=5.5, last=6.0)
    at(5.4)
    patience = waiting.Patience(60)
    at(5.5)
    with pytest.raises(HurriedError):
        patience.look()
