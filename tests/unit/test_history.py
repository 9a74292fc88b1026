"""The formulas of the demo, against other ways to compute them and against the files themselves."""

from __future__ import annotations

import csv
import math
import statistics
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.demo.history import EXAMPLES, MARKETS, REGIONS, History, percentile_rank, realised_volatility, years_before

DAY = date(2022, 3, 8)


@pytest.fixture(scope="module")
def history() -> History:
    return History()


def risk_of(history: History, day: date, name: str) -> float:
    return next(risk.score for risk in history.risks(day) if name in (risk.asset, risk.asset or risk.region))


def rows(file: str) -> list[dict[str, str]]:
    with (EXAMPLES / file).open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


@pytest.mark.parametrize(
    ("value", "sample", "expected"),
    [(3, [1, 2, 3], 100), (1, [1, 2, 3, 4], 25), (2, [1, 2, 2, 3], 75), (0, [1, 2], 0)],
)
def test_percentile_rank_is_the_share_at_or_below(value: float, sample: list[float], expected: float) -> None:
    assert percentile_rank(value, sample) == expected


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=40))
def test_realised_volatility_is_the_annualised_sample_deviation_in_percent(returns: list[float]) -> None:
    assert realised_volatility(returns) == pytest.approx(100 * statistics.stdev(returns) * math.sqrt(252), abs=1e-9)


def test_a_leap_day_years_ago_is_the_28th() -> None:
    assert years_before(date(2024, 2, 29), 5) == date(2019, 2, 28)


def test_oil_risk_follows_the_stated_formula_on_the_file(history: History) -> None:
    prices = [(date.fromisoformat(row["Date"]), float(row["Price"])) for row in rows("brent_daily.csv") if row["Price"]]
    volatility = {
        prices[end][0]: statistics.stdev(math.log(prices[i][1] / prices[i - 1][1]) for i in range(end - 19, end + 1))
        for end in range(20, len(prices))
    }
    window = [value for day, value in volatility.items() if date(2017, 3, 8) < day <= DAY]
    expected = 100 * sum(value <= volatility[DAY] for value in window) / len(window)
    assert risk_of(history, DAY, "oil") == pytest.approx(expected, abs=0.05)


def test_regional_risk_follows_the_stated_formula_on_the_file(history: History) -> None:
    months = [row for row in rows("gpr_monthly.csv") if "2012-03" <= row["month"] <= "2022-02"]
    assert len(months) == 120
    shares = [statistics.fmean(float(row[f"GPRC_{country}"]) for country in REGIONS["Asia"]) for row in months]
    expected = 100 * sum(share <= shares[-1] for share in shares) / 120
    assert risk_of(history, DAY, "Asia") == pytest.approx(expected, abs=0.05)


def test_direction_is_the_sign_of_the_twenty_day_return(history: History) -> None:
    def direction(day: date) -> str:
        return next(risk.direction for risk in history.risks(day) if risk.asset == "oil")

    assert (direction(DAY), direction(date(2020, 3, 9))) == ("up", "down")


def test_assets_have_a_risk_on_trading_days_only(history: History) -> None:
    saturday = date(2022, 3, 5)
    assert {risk.asset for risk in history.risks(saturday)} == {None}
    assert {risk.asset for risk in history.risks(DAY)} == {None, "oil", "gas"}


@pytest.mark.parametrize("day", [DAY, date(2022, 3, 1), date(2022, 2, 28), date(2020, 3, 9)])
def test_nothing_later_than_the_day_is_used(
    day: date, history: History, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("known")
    first_of_month = day.replace(day=1).isoformat()
    for file, column, limit in [
        *((market.file, "Date", (day + timedelta(days=1)).isoformat()) for market in MARKETS),
        ("gpr_monthly.csv", "month", first_of_month[:7]),
        ("energy_events.csv", "date", (day + timedelta(days=1)).isoformat()),
    ]:
        known = [row for row in rows(file) if row[column] < limit]
        with (directory / file).open("w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, list(known[0]))
            writer.writeheader()
            writer.writerows(known)
    cut_off = History(directory)
    assert cut_off.risks(day) == history.risks(day)
    assert cut_off.news(day) == history.news(day)


def test_every_day_of_the_range_can_be_asked(history: History) -> None:
    assert (history.first_day, history.last_day) == (date(2017, 2, 1), date(2026, 5, 31))
    day = history.first_day
    while day <= history.last_day:
        assert all(0 <= risk.score <= 100 for risk in history.risks(day))
        day += timedelta(days=13)


def test_each_event_has_an_address_of_its_own(history: History) -> None:
    news = history.news(history.last_day)
    assert len({item.url for item in news}) == len(news) == 39


def test_every_region_of_the_events_is_scored_or_global(history: History) -> None:
    assert {item.region for item in history.news(history.last_day)} <= {*REGIONS, "Global"}
