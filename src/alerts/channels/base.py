"""What every channel is: a payload, the shared HTTP call, and a reply turned into outcomes.

Channels never touch the database and never see the environment. They own no policy: how often to
retry, when to halt and what an unknown outcome means is decided by phase C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from src.alerts.models import ChannelName, Message, Outcome


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider documents. `key_window` is how long an idempotency key protects (None: it takes
    none); `max_batch` messages fit in one request; `requests_per_second` is its documented rate."""

    requests_per_second: float | None
    max_batch: int = 1
    key_window: timedelta | None = None


class Channel(Protocol):
    """One way to reach people, through one provider."""

    name: ChannelName
    provider: str
    limits: Limits

    async def send(self, messages: Sequence[Message], key: UUID) -> list[Outcome]:
        """Send up to `limits.max_batch` messages in one request under `key`; one outcome each, in order.

        Never raises for anything a provider or the network does. The same messages under the same
        key make byte-identical requests.
        """
        ...

    async def close(self) -> None: ...
