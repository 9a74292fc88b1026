"""The counts of phase C, kept by all channels of a run and turned into its part of the run document."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from src.alerts.messages import Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason, MessageStatus, StopReason
from src.alerts.phases.outbound import Queue

RECIPIENTS_SHOWN = 100
_QUEUE_KEYS = (
    "queued_selected", "sent", "failed", "retried", "skipped_missing_destination", "skipped_no_longer_wanted",
    "skipped_expired", "held_not_configured", "left_queued",
)  # fmt: skip
_CHANNEL_KEYS = ("sent", "failed", "retried", "skipped")


@dataclass(slots=True)
class Tally:
    """What was selected, sent, failed, retried, skipped and left, by queue and by channel."""

    by_recipient: bool = False
    recovered: int = 0
    stop_reason: StopReason | None = None
    halted: list[ChannelName] = field(default_factory=list)
    _queues: Counter[tuple[Queue, str]] = field(default_factory=Counter)
    _channels: Counter[tuple[ChannelName, str]] = field(default_factory=Counter)
    _recipients: Counter[tuple[int, ChannelName, Queue]] = field(default_factory=Counter)

    def add(self, queue: Queue, key: str, number: int = 1) -> None:
        self._queues[queue, key] += number

    def refused(self, queue: Queue, channel: ChannelName, reason: FailureReason) -> None:
        """A row that nobody should get any more."""
        self._queues[queue, f"skipped_{reason}"] += 1
        self._channels[channel, "skipped"] += 1

    def settled(self, queue: Queue, channel: ChannelName, number: int) -> None:
        """Messages of unknown outcome that failed by ALERTS_UNKNOWN_OUTCOME."""
        self._queues[queue, "failed"] += number
        if number:
            self._channels[channel, "failed"] += number

    def tried(self, queue: Queue, channel: ChannelName, user_id: int, outcome: Outcome, status: MessageStatus) -> None:
        """A message that was offered to its provider, and the row's next status."""
        if status is MessageStatus.QUEUED and outcome.verdict is not Verdict.RETRY:
            return  # waits, halts and splits use no attempt
        key = _key(status)
        self._queues[queue, key] += 1
        self._channels[channel, key] += 1
        if self.by_recipient and status is MessageStatus.SENT:
            self._recipients[user_id, channel, queue] += 1

    def untried(self, queue: Queue, channel: ChannelName, status: MessageStatus) -> None:
        """A message whose attempt was given back."""
        self._queues[queue, _key(status)] -= 1
        self._channels[channel, _key(status)] -= 1

    def counts(self) -> dict[str, Any]:
        """Phase C's `counts` of the run document."""
        channels = sorted({channel for channel, _ in self._channels})
        return {
            **{queue.value: {key: self._queues[queue, key] for key in _QUEUE_KEYS} for queue in Queue},
            "by_channel": {
                channel.value: {key: self._channels[channel, key] for key in _CHANNEL_KEYS} for channel in channels
            },
            "halted_channels": [channel.value for channel in self.halted],
            "recovered": self.recovered,
            "stopped_early": self.stop_reason not in (None, StopReason.CHANNEL_HALTED),
            "stop_reason": self.stop_reason and self.stop_reason.value,
        }

    def recipients(self) -> list[dict[str, Any]] | None:
        """Who was sent what, where an allowlist keeps that list short; at most 100 rows."""
        if not self.by_recipient:
            return None
        pairs = sorted({(user_id, channel) for user_id, channel, _ in self._recipients})
        return [
            {
                "user_id": user_id,
                "channel": channel.value,
                "instants": self._recipients[user_id, channel, Queue.DELIVERIES],
                "digests": self._recipients[user_id, channel, Queue.DIGESTS],
            }
            for user_id, channel in pairs[:RECIPIENTS_SHOWN]
        ]


def _key(status: MessageStatus) -> str:
    return "retried" if status is MessageStatus.QUEUED else status.value
