"""The demo's database: one of its own on the embedded server, made anew, filled as the product fills it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src.alerts.explain import explain
from src.alerts.models import ChannelName
from src.alerts.rollout import Rollout
from src.db import embedded, migrate
from src.db.connection import Database, Session, load_queries
from src.demo.history import History, News, Risk
from src.demo.people import PEOPLE
from src.settings import Secret, Settings

_NAME = "energyriskiq_demo"
_SQL = load_queries(Path(__file__).parent, "demo")

# Hours of the day, UTC. The record of events has no times; a day's prices are known in the evening.
INDEX_KNOWN = time(6, tzinfo=UTC)
NEWS_KNOWN = time(12, tzinfo=UTC)
PRICES_KNOWN = time(17, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that the engine raised."""

    id: int
    alert_type: str
    region: str | None
    assets: list[str]
    severity: int
    headline: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one alert for one user on one channel; `file` is its name in the outbox."""

    user_id: int
    alert_id: int
    channel: str
    kind: str
    status: str
    reason: str | None
    file: str | None


class World:
    """What the demo knows about its database."""

    def __init__(self, url: Secret, history: History) -> None:
        self.url = url
        self._history = history
        self._database = Database(url)
        self.risks: dict[tuple[str | None, str | None], Risk] = {}

    @classmethod
    def create(cls, history: History, now: datetime) -> World:
        """Start the embedded server, drop the demo's last database, migrate a new one, and move the users in."""
        server = embedded.resolve(Secret("embedded"))
        with Database(server).session() as session:
            session.execute(_SQL["drop_database"])
            session.execute(_SQL["create_database"])
        world = cls(Secret(urlsplit(server.reveal())._replace(path=f"/{_NAME}").geturl()), history)
        migrate.apply(world._database)
        people = [person.row() for person in PEOPLE]
        with world._database.session() as session, session.transaction():
            session.execute(_SQL["add_people"], {"people": json.dumps(people), "now": now})
        return world

    def live_through(self, day: date) -> None:
        """Write what the product would have ingested up to the evening of that day; the risks are of that day."""
        self.risks = {(risk.region, risk.asset): risk for risk in self._history.risks(day)}
        news = [_news_row(item) for item in self._history.news(day)]
        with self._database.session() as session, session.transaction():
            session.execute(_SQL["add_news"], {"news": json.dumps(news)})
            _add_risks(session, list(self.risks.values()))

    def origin(self, alert: Alert) -> str:
        """From which real event or price the alert arose."""
        asset = alert.assets[0] if alert.assets else None
        risk = self.risks.get((alert.region, asset)) if alert.alert_type.endswith("RISK_SPIKE") else None
        if risk:
            return risk.origin
        news = next(item for item in self._history.news(date.max) if item.headline == alert.headline)
        return f"news of {news.day}, {news.category.replace('_', ' ')} of severity {news.severity}: {news.summary}"

    def nearest_miss(self, user_id: int, alerts: Sequence[Alert], now: datetime) -> str:
        """Why this user gets no mail of these alerts: the gate that stopped the one that came furthest."""
        furthest = (-1, "there is none")
        for alert in alerts:
            found = explain(self._database, Settings(), Rollout(None, None, 1), user_id, alert.id, now)
            gates = next(channel.gates for channel in found.channels if channel.channel == ChannelName.EMAIL)
            stops = [
                (place, f"no. {alert.id}, stopped by {gate.name}: {gate.detail}")
                for place, gate in enumerate(gates)
                if not gate.passed
            ]
            furthest = max([furthest, *stops[:1]], key=lambda stop: stop[0])
        return furthest[1]

    def alerts(self, day: date) -> list[Alert]:
        """The alerts raised since that day began, severest first."""
        with self._database.session() as session, session.transaction():
            return session.all(Alert, _SQL["alerts"], {"since": at(day, time(tzinfo=UTC))})

    def deliveries(self, day: date) -> list[Delivery]:
        """What became of those alerts."""
        with self._database.session() as session, session.transaction():
            return session.all(Delivery, _SQL["deliveries"], {"since": at(day, time(tzinfo=UTC))})


def at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment)


def _news_row(news: News) -> dict[str, Any]:
    return {
        "title": news.headline,
        "url": news.url,
        "region": news.region,
        "category": news.category,
        "severity": news.severity,
        "summary": news.summary,
        "known_at": at(news.day, NEWS_KNOWN).isoformat(),
    }


def _add_risks(session: Session, risks: list[Risk]) -> None:
    for statement, moment, chosen in (
        ("add_regional_risks", INDEX_KNOWN, [risk for risk in risks if risk.asset is None]),
        ("add_asset_risks", PRICES_KNOWN, [risk for risk in risks if risk.asset]),
    ):
        rows = [{**asdict(risk), "day": None, "known_at": at(risk.day, moment).isoformat()} for risk in chosen]
        session.execute(_SQL[statement], {"risks": json.dumps(rows)})
