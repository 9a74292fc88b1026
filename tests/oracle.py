"""Who hears what, the slow and obvious way: the rules of DESIGN section 5 in plain Python, one user, event
and channel after the other. Tests hold the engine's SQL against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

CHANNELS = ("email", "telegram", "sms")


@dataclass(frozen=True)
class Plan:
    """Alert types (`ALL` is every type), instants a day for each channel that the plan offers, hourly digests."""

    types: frozenset[str]
    instants: dict[str, int]
    hourly: bool = False


PLANS = {
    "free": Plan(frozenset({"HIGH_IMPACT_EVENT"}), {"email": 0}),
    "personal": Plan(frozenset({"HIGH_IMPACT_EVENT", "REGIONAL_RISK_SPIKE"}), {"email": 1}),
    "trader": Plan(
        frozenset({"HIGH_IMPACT_EVENT", "REGIONAL_RISK_SPIKE", "ASSET_RISK_SPIKE"}), {"email": 3, "telegram": 8}
    ),
    "pro": Plan(frozenset({"ALL"}), {"email": 15, "telegram": 15, "sms": 15}),
    "enterprise": Plan(frozenset({"ALL"}), {"email": 30, "telegram": 30, "sms": 30}, hourly=True),
    "tiny": Plan(frozenset({"ALL"}), {"email": 2, "telegram": 1, "sms": 1}),
}


@dataclass(frozen=True)
class Pref:
    alert_type: str
    region: str
    asset: str | None = None
    threshold: float | None = None
    enabled: bool = True


@dataclass(frozen=True)
class User:
    id: int
    plan: str | None
    email: str | None = "someone@example.com"
    email_verified: bool | None = True
    telegram_chat_id: str | None = None
    phone_number: str | None = None
    prefs: tuple[Pref, ...] = ()
    channels: dict[str, tuple[bool, str | None]] = field(default_factory=dict)  # enabled, delivery mode

    @property
    def offer(self) -> Plan:
        return PLANS.get(self.plan or "free", PLANS["free"])

    def destination(self, channel: str) -> bool:
        if channel == "email":
            return bool(self.email) and self.email_verified is not False
        return bool(self.telegram_chat_id if channel == "telegram" else self.phone_number)


@dataclass(frozen=True)
class Event:
    id: int
    alert_type: str
    region: str | None
    assets: tuple[str, ...]
    severity: int
    score: float | None
    created_at: datetime


@dataclass(frozen=True)
class Delivery:
    user_id: int
    event_id: int
    channel: str
    kind: str
    created_at: datetime
    status: str = "queued"
    reason: str | None = None


@dataclass(frozen=True)
class Digest:
    """`items` are (event, channel) of the user's deliveries."""

    key: str
    window: tuple[datetime, datetime]
    items: frozenset[int]
    status: str = "queued"


def wants(user: User, event: Event) -> bool:
    """Whether one of the user's rows of interest, or the default, asks for this event."""
    prefs = user.prefs or (Pref("HIGH_IMPACT_EVENT", "Europe"),)
    return any(wish_matches(pref, event) for pref in prefs if pref.enabled)


def wish_matches(pref: Pref, event: Event) -> bool:
    if pref.alert_type != event.alert_type:
        return False
    if (
        event.region
        and event.region.lower() != "global"
        and pref.region.lower() not in ("global", event.region.lower())
    ):
        return False
    if event.assets and pref.asset is not None and pref.asset not in event.assets:
        return False
    return event.score is None or pref.threshold is None or event.score >= pref.threshold


def gate(user: User, event: Event, channel: str, allowed: Collection[int] | None) -> str | None:
    """The first gate before the quota that stops the event; None: none does."""
    if allowed is not None and user.id not in allowed:
        return "allowlist"
    enabled, mode = user.channels.get(channel, (True, None))
    types = user.offer.types
    if not (types & {"ALL", event.alert_type}) or not wants(user, event) or not enabled:
        return "prefs"
    if mode == "digest" and channel == "sms":
        return "prefs"
    return None if user.destination(channel) else "missing_dest"


def same_day(one: datetime, other: datetime, zone: ZoneInfo) -> bool:
    return one.astimezone(zone).date() == other.astimezone(zone).date()


def fan_out(
    users: Sequence[User],
    events: Sequence[Event],
    deliveries: Sequence[Delivery],
    *,
    now: datetime,
    zone: ZoneInfo,
    allowed: Collection[int] | None = None,
) -> tuple[list[Delivery], Counter[str]]:
    """The deliveries that the events bring, and the counts of phase B."""
    created: list[Delivery] = []
    counts: Counter[str] = Counter()
    counts["users_considered"] = sum(allowed is None or user.id in allowed for user in users)
    for user in users:
        for channel, quota in user.offer.instants.items():
            for event in sorted(events, key=lambda event: (-event.severity, event.created_at, event.id)):
                stopped = gate(user, event, channel, allowed)
                if stopped:
                    counts[f"deliveries_skipped_{stopped}"] += 1
                    continue
                mine = [d for d in (*deliveries, *created) if (d.user_id, d.channel) == (user.id, channel)]
                if any(d.event_id == event.id for d in mine):
                    continue
                kind = "instant"
                if channel != "sms" and (quota == 0 or user.channels.get(channel, (True, None))[1] == "digest"):
                    kind = "digest"
                elif quota <= sum(
                    d.kind == "instant"
                    and d.status in ("queued", "sending", "sent")
                    and same_day(d.created_at, now, zone)
                    for d in mine
                ):
                    if channel == "sms":
                        counts["deliveries_skipped_quota"] += 1
                        continue
                    kind = "digest"
                    counts["moved_to_digest"] += 1
                created.append(Delivery(user.id, event.id, channel, kind, now))
    counts["deliveries_created"] = len(created)
    return created, counts


def window(
    user: User, now: datetime, zone: ZoneInfo, hour: int, all_hourly: bool
) -> tuple[str, datetime, datetime] | None:
    """The end of the digest's key, and the last closed window of a user; None: none is due yet."""
    if all_hourly or user.offer.hourly:
        end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        start = end - timedelta(hours=1)
        return f"hourly:{start:%Y-%m-%d}T{start.hour:02}", start, end
    local = now.astimezone(zone)
    if local.hour < hour:
        return None
    yesterday = local.date() - timedelta(days=1)
    start, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (yesterday, local.date()))
    return f"daily:{yesterday.isoformat()}", start.astimezone(UTC), end.astimezone(UTC)


def build_digests(
    users: Sequence[User],
    events: Sequence[Event],
    deliveries: Sequence[Delivery],
    digests: Sequence[Digest],
    *,
    now: datetime,
    zone: ZoneInfo,
    hour: int,
    all_hourly: bool = False,
    allowed: Collection[int] | None = None,
) -> tuple[list[Delivery], list[Digest], Counter[str]]:
    """All deliveries and all digests after phase D, and its counts."""
    created_at = {event.id: event.created_at for event in events}
    people = {user.id: user for user in users}
    after = list(deliveries)
    books = {digest.key: digest for digest in digests}
    counts: Counter[str] = Counter()
    for number, item in enumerate(after):
        if item.kind != "digest" or item.status != "queued" or (allowed is not None and item.user_id not in allowed):
            continue
        if item.created_at < now - timedelta(days=7):
            after[number] = replace(item, status="skipped", reason="expired")
            counts["deliveries_expired"] += 1
            continue
        due = window(people[item.user_id], now, zone, hour, all_hourly)
        if due is None or created_at[item.event_id] >= due[2]:
            continue
        key = f"{item.user_id}:{item.channel}:{due[0]}"
        if key not in books:
            books[key] = Digest(key, due[1:], frozenset())
            counts["digests_created"] += 1
        if books[key].status != "queued":
            continue
        books[key] = replace(books[key], items=books[key].items | {item.event_id})
        after[number] = replace(item, status="skipped", reason="batched_into_digest")
        counts["digest_items_attached"] += 1
        counts["deliveries_marked_batched"] += 1
    return after, list(books.values()), counts
