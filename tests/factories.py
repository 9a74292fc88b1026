"""Rows for tests: every argument has a default that stands in nobody's way.

Addresses are under example.com, numbers are invented, and everything happens around `NOW`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg2 import sql

from src.db.connection import Session

NOW = datetime(2026, 1, 16, 12, 0, tzinfo=UTC)
REASONS = {"failed": "content_rejected", "skipped": "no_longer_wanted"}
YESTERDAY = (NOW.replace(day=14, hour=23), NOW.replace(day=15, hour=23))  # the calendar day in Amsterdam


class World:
    """Writes and reads rows of one database; each call is a transaction of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def execute(self, statement: str, **params: Any) -> int:
        """Run and return the number of rows affected."""
        with self._session.transaction():
            return self._session.execute(statement, params)

    def value(self, statement: str, **params: Any) -> Any:
        """The first column of the first row."""
        with self._session.transaction():
            return self._session.value(statement, params)

    def rows(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        with self._session.transaction():
            return self._session.all(dict[str, Any], statement, params)

    def insert(self, table: str, **columns: Any) -> dict[str, Any]:
        """Insert one row and return it whole."""
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Placeholder, columns)),
        )
        (row,) = self.rows(statement, **columns)
        return row

    def count(self, table: str) -> int:
        return int(self.value(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))))

    def user(
        self,
        plan: str | None = "pro",
        *,
        prefs: Sequence[Mapping[str, Any]] = (),
        channels: Mapping[str, Mapping[str, Any]] | None = None,
        **columns: Any,
    ) -> int:
        """The id of a user with a verified address of their own, unless `columns` say otherwise.

        `prefs=[{"alert_type": "ASSET_RISK_SPIKE", "region": "Global", "asset": "oil"}]`;
        `channels={"sms": {"enabled": False}, "email": {"delivery_mode": "digest"}}`.
        """
        number = self.count("users") + 1
        columns = {"email": f"user{number}@example.com", "email_verified": True, "created_at": NOW, **columns}
        user_id = int(self.insert("users", **columns)["id"])
        if plan:
            self.insert("user_plans", user_id=user_id, plan=plan)
        for pref in prefs:
            self.insert("user_alert_prefs", user_id=user_id, **{"alert_type": "HIGH_IMPACT_EVENT", **pref})
        for channel, setting in (channels or {}).items():
            self.insert("user_alert_channels", user_id=user_id, channel=channel, **setting)
        return user_id

    def news(self, title: str = "Pipeline attacked", *, at: datetime = NOW, **columns: Any) -> int:
        """A row of `events`, as the product's ingestion writes them: war in Europe of severity 4."""
        defaults = {
            "title": title,
            "source_name": "Example News",
            "source_url": f"https://news.example.com/{self.count('events') + 1}",
            "region": "Europe",
            "category": "war",
            "severity_score": 4,
            "event_time": at,
            "inserted_at": at,
        }
        return int(self.insert("events", **{**defaults, **columns})["id"])

    def risk_index(
        self, region: str = "Europe", score: float = 75, *, at: datetime = NOW, window_days: int = 7
    ) -> None:
        self.insert("risk_indices", region=region, risk_score=score, calculated_at=at, window_days=window_days)

    def asset_risk(self, asset: str = "oil", score: float = 75, *, at: datetime = NOW, **columns: Any) -> None:
        columns = {"region": "Global", "window_days": 7, "direction": "up", **columns}
        self.insert("asset_risk", asset=asset, risk_score=score, calculated_at=at, **columns)

    def alert_event(
        self,
        alert_type: str = "HIGH_IMPACT_EVENT",
        *,
        fanned_out: bool = False,
        created_at: datetime = NOW,
        **columns: Any,
    ) -> int:
        """A European event of severity 4, open for fan-out unless `fanned_out`."""
        key = f"test:{self.count('alert_events') + 1}"
        defaults = {
            "alert_type": alert_type,
            "scope_region": "Europe",
            "severity": 4,
            "score": 80,
            "headline": "Pipeline attacked",
            "body": "Flows are down.",
            "cooldown_key": key,
            "event_fingerprint": key,
            "created_at": created_at,
            "fanout_completed_at": created_at if fanned_out else None,
            "fanout_scope": "all" if fanned_out else None,
        }
        return int(self.insert("alert_events", **{**defaults, **columns})["id"])

    def delivery(
        self,
        user_id: int,
        alert_event_id: int,
        channel: str = "email",
        *,
        kind: str = "instant",
        status: str = "queued",
        created_at: datetime = NOW,
        **columns: Any,
    ) -> int:
        """A delivery of an event, with the event's severity as its priority, and a reason if it was not sent."""
        severity = self.value("SELECT severity FROM alert_events WHERE id = %(id)s", id=alert_event_id)
        told = {"sent_at": created_at if status == "sent" else None, "failure_reason": REASONS.get(status)}
        columns = {"priority": severity, "created_at": created_at, **told, **columns}
        row = self.insert(
            "user_alert_deliveries",
            user_id=user_id,
            alert_event_id=alert_event_id,
            channel=channel,
            delivery_kind=kind,
            status=status,
            **columns,
        )
        return int(row["id"])

    def digest(
        self,
        user_id: int,
        deliveries: Sequence[int] = (),
        channel: str = "email",
        *,
        period: str = "daily",
        window: tuple[datetime, datetime] = YESTERDAY,
        status: str = "queued",
        created_at: datetime = NOW,
        **columns: Any,
    ) -> int:
        """A digest, and the deliveries in it marked as batched."""
        sent_at = created_at if status == "sent" else None
        columns = {"created_at": created_at, "sent_at": sent_at, **columns}
        row = self.insert(
            "user_alert_digests",
            user_id=user_id,
            channel=channel,
            period=period,
            window_start=window[0],
            window_end=window[1],
            digest_key=f"{user_id}:{channel}:{period}:{window[0]:%Y-%m-%dT%H}",
            status=status,
            **columns,
        )
        for delivery_id in deliveries:
            self.insert("user_alert_digest_items", digest_id=row["id"], delivery_id=delivery_id)
            self.execute(
                "UPDATE user_alert_deliveries SET status = 'skipped', failure_reason = 'batched_into_digest'"
                " WHERE id = %(id)s",
                id=delivery_id,
            )
        return int(row["id"])
