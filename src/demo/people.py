"""Invented users for the demo: every plan, every channel, and the ways in which a user gets nothing.

Addresses are under example.com, phone numbers are from the range reserved for fiction (NANP 555-0100 to
555-0199), and chat ids lie beyond the 52 bits that Telegram uses: none of them reaches anybody.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from src.alerts.models import AlertType, ChannelName, Kind

_CHAT_IDS = 2**53
_PHONES = "+1202555010"


@dataclass(frozen=True, slots=True)
class Interest:
    """A row of `user_alert_prefs`."""

    alert_type: AlertType
    region: str
    asset: str | None = None
    threshold: float | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A row of `user_alert_channels`."""

    channel: ChannelName
    enabled: bool = True
    delivery_mode: Kind | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """An invented user. `wish` says in words what the rows say."""

    id: int
    plan: str
    wish: str
    interests: tuple[Interest, ...] = ()
    choices: tuple[ChannelChoice, ...] = ()
    telegram: bool = False
    phone: bool = False
    verified: bool = True

    def row(self) -> dict[str, Any]:
        """What the demo's statements read."""
        return {
            "id": self.id,
            "email": f"{self.plan}.{self.id}@example.com",
            "email_verified": self.verified,
            "telegram_chat_id": str(_CHAT_IDS + self.id) if self.telegram else None,
            "phone_number": f"{_PHONES}{self.id % 10}" if self.phone else None,
            "plan": self.plan,
            "prefs": [asdict(interest) for interest in self.interests],
            "channels": [asdict(choice) for choice in self.choices],
        }


def _everything(region: str) -> tuple[Interest, ...]:
    return tuple(Interest(alert_type, region) for alert_type in AlertType)


PEOPLE = (
    Person(1, "free", "nothing chosen: the default, news of Europe"),
    Person(2, "free", "news from everywhere", (Interest(AlertType.HIGH_IMPACT_EVENT, "Global"),)),
    Person(
        3,
        "personal",
        "risk of Europe and of the Black Sea",
        (
            Interest(AlertType.REGIONAL_RISK_SPIKE, "Europe"),
            Interest(AlertType.REGIONAL_RISK_SPIKE, "Black Sea"),
        ),
    ),
    Person(
        4,
        "trader",
        "oil, and news from everywhere; Telegram linked",
        (
            Interest(AlertType.ASSET_RISK_SPIKE, "Global", asset="oil"),
            Interest(AlertType.HIGH_IMPACT_EVENT, "Global"),
        ),
        telegram=True,
    ),
    Person(5, "pro", "everything, everywhere; Telegram and SMS too", _everything("Global"), telegram=True, phone=True),
    Person(
        6,
        "enterprise",
        "everything, everywhere; Telegram as hourly digests",
        _everything("Global"),
        (ChannelChoice(ChannelName.TELEGRAM, delivery_mode=Kind.DIGEST),),
        telegram=True,
    ),
    Person(
        7, "pro", "news and risk of Russia; address not verified", _everything("Russia"), telegram=True, verified=False
    ),
    Person(
        8,
        "pro",
        "North America, mail as a digest, no SMS",
        _everything("North America"),
        (ChannelChoice(ChannelName.EMAIL, delivery_mode=Kind.DIGEST), ChannelChoice(ChannelName.SMS, enabled=False)),
        phone=True,
    ),
    Person(
        9,
        "trader",
        "gas from a score of 95",
        (Interest(AlertType.ASSET_RISK_SPIKE, "North America", asset="gas", threshold=95),),
    ),
    Person(
        10,
        "personal",
        "all interests switched off",
        (Interest(AlertType.HIGH_IMPACT_EVENT, "Europe", enabled=False),),
    ),
)
