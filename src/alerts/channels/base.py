"""What every channel is: a payload, a call, and a reply turned into outcomes.

Channels never touch the database and never see the environment. They own no policy: how often to
retry, when to halt and what an unknown outcome means is decided by phase C.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from src.alerts.channels.destinations import DESTINATIONS
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider documents. `key_window` is how long an idempotency key protects (None: it takes
    none); `max_batch` messages fit in one request; `requests_per_second` is its documented rate;
    `seconds_per_destination` is the least time between two messages to one destination, `seconds_per_group` to one
    that is a group (its id begins with `-`) or a channel (`@name`)."""

    requests_per_second: float | None
    max_batch: int = 1
    key_window: timedelta | None = None
    seconds_per_destination: float = 0.0
    seconds_per_group: float = 0.0


class Channel(Protocol):
    """One way to reach people, through one provider."""

    @property
    def name(self) -> ChannelName: ...

    @property
    def provider(self) -> str: ...

    @property
    def limits(self) -> Limits: ...

    async def send(self, messages: Sequence[Message], key: str) -> list[Outcome]:
        """Send up to `limits.max_batch` messages in one request under `key`; one outcome each, in order.

        Never raises for anything a provider or the network does. The same messages under the same
        key make byte-identical requests.
        """
        ...

    async def close(self) -> None: ...


class CheckedChannel(ABC):
    """A channel that makes no request for a destination that cannot be one."""

    name: ChannelName
    provider: str
    limits: Limits

    async def send(self, messages: Sequence[Message], key: str) -> list[Outcome]:
        """See `Channel.send`."""
        well_formed = DESTINATIONS[self.name]
        destinations = [well_formed(message.to) for message in messages]
        if destinations == [message.to for message in messages]:
            return await self.deliver(messages, key)
        good = [message._replace(to=to) for message, to in zip(messages, destinations, strict=True) if to]
        accepted = iter(await self.deliver(good, key) if good else [])
        detail = f"{self.provider} not_sent"
        refused = Outcome(Verdict.FAILED, FailureReason.INVALID_DESTINATION, detail=detail, asked=False)
        return [next(accepted) if to else refused for to in destinations]

    @abstractmethod
    async def deliver(self, messages: Sequence[Message], key: str) -> list[Outcome]:
        """Make the one request for messages whose destinations are well-formed; at least one."""

    async def close(self) -> None:
        """Give back what the channel holds open."""
        return None


class SingleChannel(CheckedChannel):
    """A channel whose provider takes one message a request and no idempotency key."""

    async def deliver(self, messages: Sequence[Message], key: str) -> list[Outcome]:  # noqa: ARG002 - no key to take
        return [await self.deliver_one(message) for message in messages]

    @abstractmethod
    async def deliver_one(self, message: Message) -> Outcome:
        """Make the request for one message whose destination is well-formed."""
