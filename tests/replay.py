"""One story told to the database and to the oracle: random people, random news, day after day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from psycopg2.extras import Json

from src.alerts.phases import digest, fanout
from src.db.connection import Database, Session
from src.settings import Settings
from tests import oracle
from tests.oracle import Delivery, Digest, Event, Pref, User
from tests.phases import phase_context

TYPES = ("HIGH_IMPACT_EVENT", "HIGH_IMPACT_EVENT", "REGIONAL_RISK_SPIKE", "ASSET_RISK_SPIKE")
REGIONS = ("Europe", "Europe", "europe", "Asia", "Global", "GLOBAL")
PLANS = (None, "tiny", "tiny", "tiny", *oracle.PLANS, "retired", "unheard of")
STARTS = (
    datetime(2026, 1, 16, 21, 30, tzinfo=UTC),
    datetime(2026, 3, 28, 21, tzinfo=UTC),  # the night in which Amsterdam loses an hour
    datetime(2026, 10, 24, 20, tzinfo=UTC),  # the night in which it gets it back
)
ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Kolkata")
TABLES = (
    "users, user_plans, plan_settings, user_alert_prefs, user_alert_channels, events, risk_indices, asset_risk,"
    " alert_events, user_alert_deliveries, user_alert_digests, user_alert_digest_items,"
    " alerts_engine_runs, alerts_engine_run_items"
)

prefs = st.builds(
    Pref,
    st.sampled_from(TYPES),
    st.sampled_from(REGIONS),
    st.sampled_from((None, "oil", "gas")),
    st.sampled_from((None, None, 60.0, 80.0, 80.5)),
    st.sampled_from((True, True, True, False)),
)
channel_settings = st.dictionaries(
    st.sampled_from(oracle.CHANNELS), st.tuples(st.booleans(), st.sampled_from((None, "instant", "digest")))
)
people = st.lists(
    st.builds(
        User,
        st.just(0),
        st.sampled_from(PLANS),
        st.sampled_from(("someone@example.com", "someone@example.com", None, "")),
        st.sampled_from((None, True, True, False)),
        st.sampled_from(("1001", "1002", "", None)),
        st.sampled_from(("+31600000001", "+31600000002", "", None)),
        st.lists(prefs, max_size=4).map(tuple),
        channel_settings,
    ),
    min_size=1,
    max_size=8,
).map(lambda drawn: [replace(user, id=7 + 3 * number) for number, user in enumerate(drawn)])
news = st.builds(
    Event,
    st.just(0),
    st.sampled_from(TYPES),
    st.sampled_from((None, "", *REGIONS)),
    st.sampled_from(((), (), ("oil",), ("gas", "oil"))),
    st.integers(1, 5),
    st.sampled_from((None, 60.0, 80.0, 100.0)),
    st.just(STARTS[0]),
)
some_ids = st.none() | st.frozensets(st.integers(0, 8).map(lambda number: 7 + 3 * number), max_size=6)


class Replay:
    """Rows in the database, and the same in Python."""

    def __init__(self, database: Database, session: Session, users: list[User], now: datetime, settings: Settings):
        self.database, self.session, self.users, self.now, self.settings = database, session, users, now, settings
        self.events: list[Event] = []
        self.open: set[int] = set()
        self.deliveries: list[Delivery] = []
        self.digests: list[Digest] = []
        with session.transaction():
            session.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
            for code, plan in {**oracle.PLANS, "retired": oracle.PLANS["pro"]}.items():
                _insert_plan(session, code, plan)
            for user in users:
                _insert_user(session, user)

    def happen(self, events: Iterable[tuple[Event, int]]) -> None:
        """Alert events arise, so many minutes ago."""
        with self.session.transaction():
            for event, minutes in events:
                number = len(self.events) + 1
                event = replace(event, id=number, created_at=self.now - timedelta(minutes=minutes))
                self.events.append(event)
                self.open.add(number)
                self.session.execute(
                    "INSERT INTO alert_events (alert_type, scope_region, scope_assets, severity, score, headline,"
                    " body, cooldown_key, event_fingerprint, created_at) VALUES (%(alert_type)s, %(region)s,"
                    " %(assets)s::text[], %(severity)s, %(score)s, 'H', 'B', %(id)s::text, %(id)s::text,"
                    " %(created_at)s)",
                    {**asdict(event), "assets": list(event.assets)},
                )

    def waiting(self) -> list[Event]:
        """Events that the next fan-out takes up."""
        since = self.now - timedelta(hours=24)
        return [event for event in self.events if event.id in self.open and since < event.created_at]

    def fan_out(self, allowed: frozenset[int] | None = None, *, narrowed: bool = False) -> None:
        """Phase B under an allowlist of the environment, or (`narrowed`) one of a flag."""
        rollout = {"flag": allowed} if narrowed else {"allowlist": allowed}
        with phase_context(self.database, now=self.now, settings=self.settings, **rollout) as context:
            counts = fanout.run(context)
        events = self.waiting()
        created, expected = oracle.fan_out(
            self.users, events, self.deliveries, now=self.now, zone=self.settings.zone, allowed=allowed
        )
        self.deliveries += created
        if allowed is None or not narrowed:
            self.open -= {event.id for event in events}
        expected["events_processed"] = len(events)
        assert Counter(counts) == (expected if events else Counter())
        self.compare()

    def build_digests(self, allowed: frozenset[int] | None = None) -> None:
        with phase_context(self.database, now=self.now, settings=self.settings, allowlist=allowed) as context:
            counts = digest.run(context)
        self.deliveries, self.digests, expected = oracle.build_digests(
            self.users,
            self.events,
            self.deliveries,
            self.digests,
            now=self.now,
            zone=self.settings.zone,
            hour=self.settings.digest_hour,
            all_hourly=self.settings.digest_period == "hourly",
            allowed=allowed,
        )
        assert Counter(counts) == expected
        self.compare()

    def send_all(self, status: str) -> None:
        """Every queued instant and every queued digest is sent, or fails."""
        reason = None if status == "sent" else "timeout"
        with self.session.transaction():
            self.session.execute(
                "UPDATE user_alert_deliveries SET status = %(to)s, failure_reason = %(reason)s,"
                " sent_at = CASE WHEN %(reason)s IS NULL THEN created_at END"
                " WHERE delivery_kind = 'instant' AND status = 'queued'",
                {"to": status, "reason": reason},
            )
            self.session.execute(
                "UPDATE user_alert_digests SET status = %(to)s WHERE status = 'queued'", {"to": status}
            )
        self.deliveries = [
            replace(d, status=status, reason=reason) if (d.kind, d.status) == ("instant", "queued") else d
            for d in self.deliveries
        ]
        self.digests = [replace(d, status=status) if d.status == "queued" else d for d in self.digests]

    def compare(self) -> None:
        """Rows of the database and of the oracle are the same."""
        with self.session.transaction():
            deliveries = self.session.all(
                Delivery,
                "SELECT user_id, alert_event_id AS event_id, channel, delivery_kind AS kind, created_at, status,"
                " failure_reason AS reason FROM user_alert_deliveries",
            )
            digests = self.session.all(
                dict[str, Any],
                "SELECT g.digest_key AS key, g.window_start, g.window_end, g.status,"
                " array_agg(d.alert_event_id) AS items FROM user_alert_digests AS g"
                " LEFT JOIN user_alert_digest_items AS i ON i.digest_id = g.id"
                " LEFT JOIN user_alert_deliveries AS d ON d.id = i.delivery_id AND d.user_id = g.user_id"
                " AND d.channel = g.channel GROUP BY g.id",
            )
            still_open = self.session.value(
                "SELECT COALESCE(array_agg(id), '{}') FROM alert_events WHERE fanout_completed_at IS NULL"
            )
        assert Counter(deliveries) == Counter(self.deliveries)
        assert {
            Digest(row["key"], (row["window_start"], row["window_end"]), frozenset(row["items"]), row["status"])
            for row in digests
        } == set(self.digests)
        assert set(still_open) == self.open


def _insert_plan(session: Session, code: str, plan: oracle.Plan) -> None:
    limit = plan.instants["email"]
    config = {
        "email": {"max_per_day": limit + (limit == 0), "realtime_limit": limit},
        "telegram": {"enabled": "telegram" in plan.instants},
        "sms": {"enabled": "sms" in plan.instants},
        "digest": {"hourly": plan.hourly},
    }
    session.execute(
        "INSERT INTO plan_settings (plan_code, allowed_alert_types, max_email_alerts_per_day, delivery_config,"
        " is_active) VALUES (%(code)s, %(types)s, %(instants)s, %(config)s, %(active)s)",
        {
            "code": code,
            "types": sorted(plan.types),
            "instants": plan.instants.get("telegram", 0),
            "config": Json(config),
            "active": code != "retired",
        },
    )


def _insert_user(session: Session, user: User) -> None:
    """The empty address becomes as many blanks as make it unique."""
    email = user.email and f"{user.id}{user.email}"
    session.execute(
        "INSERT INTO users (id, email, email_verified, telegram_chat_id, phone_number)"
        " VALUES (%(id)s, %(email)s, %(email_verified)s, %(telegram_chat_id)s, %(phone_number)s)",
        {
            "id": user.id,
            "email": " " * user.id if email == "" else email,
            "email_verified": user.email_verified,
            "telegram_chat_id": user.telegram_chat_id,
            "phone_number": user.phone_number,
        },
    )
    if user.plan:
        session.execute("INSERT INTO user_plans VALUES (%(id)s, %(plan)s)", {"id": user.id, "plan": user.plan})
    for pref in user.prefs:
        session.execute(
            "INSERT INTO user_alert_prefs (user_id, alert_type, region, asset, threshold, enabled)"
            " VALUES (%(id)s, %(alert_type)s, %(region)s, %(asset)s, %(threshold)s, %(enabled)s)",
            {"id": user.id, **asdict(pref)},
        )
    for channel, (enabled, mode) in user.channels.items():
        session.execute(
            "INSERT INTO user_alert_channels VALUES (%(id)s, %(channel)s, %(enabled)s, %(mode)s)",
            {"id": user.id, "channel": channel, "enabled": enabled, "mode": mode},
        )
