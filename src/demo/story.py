"""What a demo shows: tables of what arose from what, who would have got it and why, and the days of a replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def people_table(deliveries: Sequence[Delivery], outbox: Path) -> Table:
    """Who would have got what and why, and which file to open; everybody is there, also who got nothing."""
    of_user = {user_id: list(rows) for user_id, rows in groupby(deliveries, key=lambda row: row.user_id)}
    rows = [row for person in PEOPLE for row in _rows_of(person, of_user.get(person.id, []), outbox)]
    return Table("Who would have got them, and why", ("user", "asked for", "got", "alerts", "open"), rows)


def days_table(days: Iterable[DaySummary]) -> Table:
    """One row a day. Alerts that a run meets again are not made twice; instants and digests are messages sent."""
    columns = ("day", "new alerts", "met again", "instants", "moved to digest", "over quota", "digests", "alerts in them")
    rows = [
        (
            f"{day.day:%a %d %b %Y}", day.alerts, day.known, day.instants, day.moved_to_digest, day.over_quota,
            day.digests, day.items_in_digests,
        )
        for day in days
    ]  # fmt: skip
    return Table("Day by day", columns, rows, numbers=columns[1:])


def _rows_of(person: Person, deliveries: Sequence[Delivery], outbox: Path) -> Iterable[tuple[str, ...]]:
    who = f"{person.id} {person.plan}"
    if not deliveries:
        yield who, person.wish, "nothing", "", ""
    by_message = groupby(deliveries, key=lambda row: (row.channel, row.kind, row.status, row.reason))
    for place, ((channel, kind, status, reason), group) in enumerate(by_message):
        members = list(group)
        asked = ("", "") if place else (who, person.wish)
        files = sorted({row.file for row in members if row.file}, key=lambda name: (len(name), name))
        shown = f"{outbox / files[0]}" + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else ""
        numbers = ", ".join(str(row.alert_id) for row in members)
        yield *asked, _how(channel, kind, status, reason), numbers, shown


def _how(channel: str, kind: str, status: str, reason: str | None) -> str:
    name = f"{_CHANNELS[channel]}{' digest' if kind == Kind.DIGEST else ''}"
    if status == MessageStatus.SENT:
        return name
    if status == MessageStatus.QUEUED:
        return f"{name}, waiting"
    return f"{name}, {status}: {(reason or 'unknown').replace('_', ' ')}"
