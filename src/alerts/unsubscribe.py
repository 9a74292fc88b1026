"""Links by which a user switches a channel off without logging in (RFC 8058): made here, and read again.

A token is `v1.<user id>.<channel>.<signature>`, the signature an HMAC-SHA256 under ALERTS_LINK_SECRET. It
does not expire: a mail may be years old. Whoever has the link can do one thing with it, switch that
channel of that user off.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from src.alerts.models import ChannelName
from src.db.connection import Session, load_queries
from src.settings import MAX_BIGINT, Secret, Settings

PATH = "/alerts/unsubscribe"
_VERSION = "v1"
_SQL = load_queries(Path(__file__).parent / "sql", "unsubscribe")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One channel of one user."""

    user_id: int
    channel: ChannelName


def unsubscribe_url(settings: Settings, user_id: int, channel: ChannelName) -> str | None:
    """The link for a message; None unless ALERTS_PUBLIC_URL and ALERTS_LINK_SECRET are both set."""
    secret = settings.secrets.get("ALERTS_LINK_SECRET")
    if settings.public_url is None or secret is None:
        return None
    return f"{settings.public_url}{PATH}/{_token(secret, Subscription(user_id, channel))}"


def read_token(secret: Secret, token: str) -> Subscription | None:
    """What a token is for; None unless we made it, to the letter."""
    parts = re.fullmatch(rf"{_VERSION}\.([0-9]{{1,19}})\.([a-z]{{1,20}})\.[A-Za-z0-9_-]{{43}}", token)
    if parts is None or parts[2] not in tuple(ChannelName) or int(parts[1]) > MAX_BIGINT:
        return None
    subscription = Subscription(int(parts[1]), ChannelName(parts[2]))
    return subscription if hmac.compare_digest(token.encode(), _token(secret, subscription).encode()) else None


def switch_off(session: Session, subscription: Subscription) -> None:
    """Switch the channel off, once or again; nothing happens for a user who is gone."""
    params = {"user_id": subscription.user_id, "channel": subscription.channel}
    with session.transaction():
        session.execute(_SQL["switch_off"], params)


def _token(secret: Secret, subscription: Subscription) -> str:
    claim = f"{_VERSION}.{subscription.user_id}.{subscription.channel}"
    signature = hmac.digest(secret.reveal().encode(), f"unsubscribe:{claim}".encode(), sha256)
    return f"{claim}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
