"""Phase A: which news and indices become alerts, and how those read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from src.alerts.phases import generate
from src.db.connection import Database
from tests.factories import NOW, World
from tests.phases import phase_context

HOUR = timedelta(hours=1)


def generated(database: Database, *, now=NOW, since: timedelta = 24 * HOUR) -> dict:
    with phase_context(database, now=now, since=since) as context:
        return generate.run(context)


def test_grave_news_of_the_look_back_becomes_an_alert_once(database: Database, world: World) -> None:
    news = world.news("Pipeline attacked", at=NOW - HOUR, severity_score=5, ai_summary="Flows are down.")
    assert generated(database) == {
        "events_created": 1,
        "events_skipped": 0,
        "by_alert_type": {
            "HIGH_IMPACT_EVENT": {"created": 1, "skipped": 0},
            "REGIONAL_RISK_SPIKE": {"created": 0, "skipped": 0},
            "ASSET_RISK_SPIKE": {"created": 0, "skipped": 0},
        },
    }
    (row,) = world.rows("SELECT * FROM alert_events")
    key = f"HIGH_IMPACT_EVENT:{news}"
    assert (row["event_fingerprint"], row["cooldown_key"]) == (key, key)
    assert (row["severity"], row["score"], row["scope_region"], row["scope_assets"]) == (5, 100, "Europe", [])
    assert (row["headline"], row["body"]) == ("Pipeline attacked", "Flows are down.\nSource: Example News")
    assert (row["driver_event_ids"], row["created_at"], row["fanout_completed_at"]) == ([news], NOW, None)
    again = generated(database)
    assert (again["events_created"], again["events_skipped"]) == (0, 1)


@pytest.mark.parametrize(
    "columns",
    [
        {"severity_score": 3},
        {"severity_score": None},
        {"category": "weather"},
        {"at": NOW - 24 * HOUR},
        {"at": NOW + HOUR},
    ],
    ids=["mild", "unrated", "other category", "before the look-back", "not yet inserted"],
)
def test_other_news_makes_no_alert(database: Database, world: World, columns: dict) -> None:
    world.news(**columns)
    assert generated(database)["events_created"] == 0


def test_the_category_is_compared_without_case(database: Database, world: World) -> None:
    world.news(category="Sanctions")
    assert generated(database)["events_created"] == 1


@pytest.mark.parametrize(
    ("score", "severity"), [(69.9, None), (70, 3), (79.9, 3), (80, 4), (89.9, 4), (90, 5), (100, 5)]
)
def test_a_high_index_is_a_spike_of_a_severity_by_its_height(
    database: Database, world: World, score: float, severity: int | None
) -> None:
    world.risk_index(score=score)
    world.asset_risk(score=score)
    generated(database)
    rows = world.rows("SELECT severity, score FROM alert_events")
    assert rows == ([] if severity is None else [{"severity": severity, "score": score}] * 2)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_no_spike(database: Database, world: World, score: float) -> None:
    world.risk_index(score=50, at=NOW - 24 * HOUR)
    world.risk_index(score=score)
    world.asset_risk(score=score)
    assert generated(database)["events_created"] == 0


@pytest.mark.parametrize(
    ("earlier", "score", "hours", "spike"),
    [
        (50, 60, 24, True),
        (50, 59.9, 24, False),
        (50, 60, 23.9, False),
        (55, 66, 240, True),
        (0, 5, 24, False),
        (0, 0, 24, False),
    ],
)
def test_a_rise_of_a_fifth_over_the_index_a_day_before_is_a_spike(
    database: Database, world: World, earlier: float, score: float, hours: float, spike: bool
) -> None:
    world.risk_index(score=earlier, at=NOW - hours * HOUR)
    world.risk_index(score=score)
    assert generated(database)["events_created"] == spike


def test_a_rise_is_measured_against_the_newest_index_that_is_a_day_older(database: Database, world: World) -> None:
    world.risk_index(score=20, at=NOW - 72 * HOUR)
    world.risk_index(score=50, at=NOW - 25 * HOUR)
    world.risk_index(score=30, at=NOW - 12 * HOUR)
    world.risk_index(score=20, at=NOW - 25 * HOUR, region="Asia")
    world.risk_index(score=20, at=NOW - 25 * HOUR, window_days=30)
    world.risk_index(score=59)
    assert generated(database)["events_created"] == 0


def test_only_the_newest_index_counts(database: Database, world: World) -> None:
    world.risk_index(score=95, at=NOW - 2 * HOUR)
    world.risk_index(score=40, at=NOW - HOUR)
    world.risk_index(score=95, at=NOW + HOUR)
    world.risk_index(score=95, window_days=30)
    world.asset_risk(score=95, at=NOW - 2 * HOUR)
    world.asset_risk(score=40, at=NOW - HOUR)
    assert generated(database)["events_created"] == 0


def test_an_index_alerts_on_its_own_day_only(database: Database, world: World) -> None:
    """Also when no newer one comes, and when runs go on past midnight."""
    world.risk_index(score=95, at=NOW)
    assert generated(database)["events_created"] == 1
    after_midnight = generated(database, now=NOW + 13 * HOUR)
    assert (after_midnight["events_created"], after_midnight["events_skipped"]) == (0, 1)
    later = generated(database, now=NOW + 25 * HOUR)
    assert (later["events_created"], later["events_skipped"]) == (0, 0)
    world.risk_index(score=95, at=NOW + 26 * HOUR)
    assert generated(database, now=NOW + 26 * HOUR)["events_created"] == 1


def test_a_regional_spike_names_up_to_three_drivers_of_its_region(database: Database, world: World) -> None:
    at = NOW - 48 * HOUR
    mild = world.news("Strike ends", at=at, severity_score=2)
    world.news("Elsewhere", at=at, region="Asia", severity_score=5)
    world.news("To come", at=NOW + HOUR, severity_score=5)
    world.news("Long ago", at=NOW - 8 * 24 * HOUR, severity_score=5)
    gravest = world.news("Terminal on fire", at=at, severity_score=5, region="europe")
    later = world.news("Port closed", at=at + HOUR, severity_score=4)
    earlier = world.news("Pipe 100% shut", at=at, severity_score=4, source_name="")
    world.risk_index(score=50, at=NOW - 24 * HOUR)
    world.risk_index(score=92.25)
    generated(database, since=12 * HOUR)
    (row,) = world.rows("SELECT * FROM alert_events")
    assert row["event_fingerprint"] == "REGIONAL_RISK_SPIKE:Europe:2026-01-16"
    assert row["driver_event_ids"] == [gravest, later, earlier]
    assert mild not in row["driver_event_ids"]
    assert row["headline"] == "Europe: risk index jumps to 92.3 of 100"
    assert row["body"] == (
        "Europe: the 7-day risk index is at 92.3 of 100, 84% above its 50 of 15 January 2026.\n"
        "Behind it:\n- Terminal on fire (Example News)\n- Port closed (Example News)\n- Pipe 100% shut"
    )


def test_an_asset_spike_names_its_asset(database: Database, world: World) -> None:
    world.asset_risk("gas", 81, region="Europe", at=NOW - HOUR)
    world.asset_risk("oil", 71, region=None)
    generated(database)
    gas, oil = world.rows("SELECT * FROM alert_events ORDER BY id")
    assert gas["event_fingerprint"] == "ASSET_RISK_SPIKE:Europe:gas:2026-01-16"
    assert (gas["scope_region"], gas["scope_assets"], gas["severity"]) == ("Europe", ["gas"], 4)
    assert gas["headline"] == "Gas (Europe): risk score is high, at 81 of 100"
    assert gas["body"] == "Gas (Europe): the 7-day risk score is at 81 of 100. Direction: up."
    assert (oil["event_fingerprint"], oil["scope_region"]) == ("ASSET_RISK_SPIKE:Global:oil:2026-01-16", None)


def test_an_event_that_older_software_wrote_is_not_made_again(database: Database, world: World) -> None:
    """Whichever of the two unique keys it holds."""
    first, second = world.news(), world.news()
    world.alert_event(event_fingerprint="other", cooldown_key=f"HIGH_IMPACT_EVENT:{first}")
    world.alert_event(event_fingerprint=f"HIGH_IMPACT_EVENT:{second}", cooldown_key="another")
    assert generated(database)["events_skipped"] == 2
