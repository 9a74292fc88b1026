"""Real history as the product's ingestion would have written it, from the files under `examples/`.

For a given day only what was known on that day is used: prices up to that day, the monthly index of
the last completed month (taken as published when the month ends), news up to that day. Pure: files
in, records out.
"""

from __future__ import annotations

import csv
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
RETURNS = 20
PRICE_YEARS = 5
INDEX_YEARS = 10
TRADING_DAYS = 252
MAX_INDEX_AGE_DAYS = 62

# The regions of `energy_events.csv`, by the countries that the index covers (ISO 3166-1 alpha-3).
REGIONS = {
    "Asia": ("CHN", "HKG", "IDN", "IND", "JPN", "KOR", "MYS", "PHL", "THA", "TWN", "VNM"),
    "Black Sea": ("RUS", "TUR", "UKR"),
    "Europe": (
        "BEL", "CHE", "DEU", "DNK", "ESP", "FIN", "FRA", "GBR", "HUN", "ITA", "NLD", "NOR", "POL", "PRT", "SWE",
    ),
    "Middle East": ("ISR", "SAU"),
    "North Africa": ("EGY", "TUN"),
    "North America": ("CAN", "MEX", "USA"),
    "Russia": ("RUS",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class News:
    """A row of `energy_events.csv`; severity 1-5."""

    day: date
    region: str
    category: str
    severity: int
    headline: str
    summary: str

    @property
    def url(self) -> str:
        """Unique and nobody's: the public record has no single address."""
        return f"https://news.example.com/{self.day}/{self.headline.lower().replace(' ', '-')}"


@dataclass(frozen=True, slots=True)
class Risk:
    """A score from 0 to 100 for a region or an asset on a day, and in words where it comes from."""

    day: date
    region: str
    asset: str | None
    score: float
    direction: str
    origin: str


@dataclass(frozen=True, slots=True)
class Market:
    """A daily price. Brent is the world's oil; Henry Hub is a North American price."""

    asset: str
    name: str
    region: str
    unit: str
    file: str


MARKETS = (
    Market("oil", "Brent", "Global", "$/barrel", "brent_daily.csv"),
    Market("gas", "Henry Hub", "North America", "$/MMBtu", "henry_hub_daily.csv"),
)


def percentile_rank(value: float, sample: Sequence[float]) -> float:
    """The share of the sample that is at or below the value, in percent: 100 is the highest so far.

    Source: the cumulative ("weak") percentile rank, as `scipy.stats.percentileofscore(kind="weak")`.
    """
    return 100 * sum(other <= value for other in sample) / len(sample)


def realised_volatility(returns: Sequence[float]) -> float:
    """Annualised standard deviation of daily log returns ln(p_t / p_t-1), in percent.

    Source: J. Hull, "Options, Futures, and Other Derivatives", estimating volatility from historical
    data: sample standard deviation, times the root of 252 trading days. (`statistics.stdev` would take
    half a second for all the windows.)
    """
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((value - mean) ** 2 for value in returns) / (len(returns) - 1)
    return 100 * math.sqrt(variance * TRADING_DAYS)


def years_before(day: date, years: int) -> date:
    """The same date that many years earlier; 29 February becomes the 28th."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


class PriceSeries:
    """One market's prices, and on each day from the 21st on the volatility of the last 20 returns."""

    def __init__(self, market: Market, rows: Sequence[tuple[date, float]]) -> None:
        self.market = market
        self._days = [day for day, _ in rows]
        self._prices = [price for _, price in rows]
        returns = [math.log(later / earlier) for earlier, later in pairwise(self._prices)]
        self._volatility = [realised_volatility(returns[end - RETURNS : end]) for end in range(RETURNS, len(rows))]

    @property
    def first_day(self) -> date:
        """The first day with five years of volatility behind it."""
        first = self._days[RETURNS]
        return first.replace(year=first.year + PRICE_YEARS)

    @property
    def last_day(self) -> date:
        return self._days[-1]

    def risk(self, day: date) -> Risk | None:
        """Asset risk on a trading day, None on others.

        Score: percentile rank of the 20-day realised volatility within the trailing five years.
        Direction: the sign of the 20-day return.
        """
        at = bisect_left(self._days, day)
        if at == len(self._days) or self._days[at] != day:
            return None
        start = max(bisect_right(self._days, years_before(day, PRICE_YEARS)), RETURNS)
        volatility = self._volatility[at - RETURNS]
        score = percentile_rank(volatility, self._volatility[start - RETURNS : at - RETURNS + 1])
        change = 100 * (self._prices[at] / self._prices[at - RETURNS] - 1)
        origin = (
            f"{self.market.name} at {self._prices[at]:.2f} {self.market.unit}, {change:+.0f} % in {RETURNS} days;"
            f" volatility {volatility:.0f} % a year, percentile {round(score, 1):g} of {PRICE_YEARS} years"
        )
        direction = "up" if change > 0 else "down" if change < 0 else "flat"
        return Risk(day, self.market.region, self.market.asset, round(score, 1), direction, origin)


class CountryIndex:
    """The country shares of the Geopolitical Risk index (Caldara and Iacoviello, AER 112(4), 2022)."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self._months = [date.fromisoformat(f"{row['month']}-01") for row in rows]
        self._shares = {
            region: [statistics.fmean(float(row[f"GPRC_{country}"]) for country in countries) for row in rows]
            for region, countries in REGIONS.items()
        }

    @property
    def first_day(self) -> date:
        """The first day with ten years of months behind it."""
        return self._months[0].replace(year=self._months[0].year + INDEX_YEARS)

    @property
    def last_day(self) -> date:
        """The last day whose last completed month is there."""
        return (self._months[-1] + timedelta(days=MAX_INDEX_AGE_DAYS)).replace(day=1) - timedelta(days=1)

    def risks(self, day: date) -> Iterator[Risk]:
        """Regional risk on a day.

        Score: percentile rank of the mean `GPRC_` share of the region's countries in the last
        completed month within the trailing ten years (120 months). Trend: against the month before.
        """
        at = bisect_left(self._months, day.replace(day=1)) - 1
        start = max(at + 1 - 12 * INDEX_YEARS, 0)
        for region, shares in self._shares.items():
            score = percentile_rank(shares[at], shares[start : at + 1])
            trend = "rising" if shares[at] > shares[at - 1] else "falling" if shares[at] < shares[at - 1] else "stable"
            origin = (
                f"{shares[at]:.2f} % of newspaper articles in {self._months[at]:%Y-%m} on geopolitical risk there,"
                f" percentile {round(score, 1):g} of {INDEX_YEARS} years"
            )
            yield Risk(day, region, None, round(score, 1), trend, origin)


class History:
    """Everything that is known, asked day by day."""

    def __init__(self, directory: Path = EXAMPLES) -> None:
        self._series = [PriceSeries(market, _prices(directory / market.file)) for market in MARKETS]
        self._index = CountryIndex(_rows(directory / "gpr_monthly.csv"))
        self._news = [
            News(
                date.fromisoformat(row["date"]),
                row["region"],
                row["category"],
                int(row["severity"]),
                row["headline"],
                row["summary"],
            )
            for row in _rows(directory / "energy_events.csv")
        ]

    @property
    def first_day(self) -> date:
        """From here on every formula has all the years that it looks back."""
        return max(self._index.first_day, *(series.first_day for series in self._series))

    @property
    def last_day(self) -> date:
        return min(self._index.last_day, *(series.last_day for series in self._series))

    def news(self, until: date) -> list[News]:
        """The events up to and including that day."""
        return [news for news in self._news if news.day <= until]

    def risks(self, day: date) -> list[Risk]:
        """The regional risks of a day, and the asset risks if it is a trading day."""
        assets = [risk for series in self._series if (risk := series.risk(day))]
        return [*self._index.risks(day), *assets]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _prices(path: Path) -> list[tuple[date, float]]:
    """Days without a price (one in the files) are left out."""
    return [(date.fromisoformat(row["Date"]), float(row["Price"])) for row in _rows(path) if row["Price"]]
