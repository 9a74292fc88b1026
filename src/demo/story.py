"""What a demo shows: tables of what arose from what, who would have got it and why, and the days of a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from src.alerts.models import Kind, MessageStatus
from src.console import Table
from src.demo.people import PEOPLE, Person
from src.demo.replay import DaySummary
from src.demo.world import Alert, Delivery, World

_TYPES = {"HIGH_IMPACT_EVENT": "news", "REGIONAL_RISK_SPIKE": "regional risk", "ASSET_RISK_SPIKE": "asset risk"}
_CHANNELS = {"email": "mail", "telegram": "Telegram", "sms": "SMS"}


def alerts_table(world: World, alerts: Sequence[Alert]) -> Table:
    """Which alerts arose from which real event or price."""
    rows = [
        (alert.id, _TYPES[alert.alert_type], alert.severity, alert.headline, world.origin(alert)) for alert in alerts
    ]
    columns = ("no.", "kind", "severity", "alert", "arose from")
    return Table("Alerts", columns, rows, numbers=("no.", "severity"))


def people_table(deliveries: Sequence[Delivery], outbox: Path, why_nothing: Callable[[int], str]) -> Table:
    """Who would have got what and why, and which file to open; everybody is there, also who got nothing."""
    rows: list[tuple[str, ...]] = []
    for person in PEOPLE:
        own = [delivery for delivery in deliveries if delivery.user_id == person.id]
        nothing = (
            f"{person.id} {person.plan}",
            person.wish,
            f"nothing; nearest: {'' if own else why_nothing(person.id)}",
            "",
            "",
        )
        rows += _rows_of(person, own) if own else [nothing]
    columns = ("user", "asked for", "got", "alerts", f"open in {outbox}/")
    return Table("Who would have got them, and why", columns, rows, names=columns[-1:])


def days_table(days: Iterable[DaySummary]) -> Table:
    """One row a day. Alerts that a run meets again are not made twice; instants and digests are messages sent."""
    columns = (
        "day",
        "new alerts",
        "met again",
        "instants",
        "moved to digest",
        "over quota",
        "digests",
        "alerts in them",
    )
    rows = [
        (
            f"{day.day:%a %d %b %Y}", day.alerts, day.known, day.instants, day.moved_to_digest, day.over_quota,
            day.digests, day.items_in_digests,
        )
        for day in days
    ]  # fmt: skip
    return Table("Day by day", columns, rows, numbers=columns[1:])


def _rows_of(person: Person, deliveries: Sequence[Delivery]) -> Iterable[tuple[str, ...]]:
    """A row for each way in which this user got something."""
    who = (f"{person.id} {person.plan}", person.wish)
    instants = {row.channel for row in deliveries if row.kind == Kind.INSTANT}
    for (channel, kind, status, reason), group in groupby(
        deliveries, lambda row: (row.channel, row.kind, row.status, row.reason)
    ):
        members = list(group)
        way = (
            _CHANNELS[channel]
            if kind == Kind.INSTANT
            else f"{_CHANNELS[channel]} {_why_digest(person, channel, channel in instants)}"
        )
        files = sorted({row.file for row in members if row.file}, key=lambda name: (len(name), name))
        more = f" +{len(files) - 1}" if len(files) > 1 else ""
        numbers = ", ".join(str(row.alert_id) for row in members)
        yield *who, f"{way}{_ended(status, reason)}", numbers, f"{files[0]}{more}" if files else ""
        who = ("", "")


def _why_digest(person: Person, channel: str, instants_too: bool) -> str:
    if instants_too:
        return "digest: beyond the plan's instants of the day"
    chosen = any(choice.channel == channel and choice.delivery_mode == Kind.DIGEST for choice in person.choices)
    return "digest, as chosen" if chosen else "digest: the plan has no instants"


def _ended(status: str, reason: str | None) -> str:
    if status == MessageStatus.SENT:
        return ""
    if status == MessageStatus.QUEUED:
        return " (waiting)"
    return f" ({status}: {(reason or 'unknown').replace('_', ' ')})"
