"""From claimed rows to messages: what alerts say is loaded once a run and rendered once a channel."""

from __future__ import annotations

from collections.abc import Sequence

from src.alerts.models import ChannelName, DigestContent, EventContent, Message, Rendered
from src.alerts.phases.outbound import Claimed, Queue, load_digests, load_events
from src.alerts.rendering import Renderer
from src.alerts.unsubscribe import unsubscribe_url
from src.db.connection import Session
from src.settings import Settings

KEPT = 500
"""Alerts kept rendered; a run rarely has more, and memory stays flat when it does."""


class Contents:
    """The texts of one channel. `load` needs the database, `message` does not."""

    def __init__(self, renderer: Renderer, channel: ChannelName, settings: Settings) -> None:
        self._renderer = renderer
        self._settings = settings
        self._channel = channel
        self._events: dict[int, EventContent] = {}
        self._rendered: dict[int, Rendered] = {}
        self._digests: dict[int, DigestContent] = {}

    def load(self, session: Session, rows: Sequence[Claimed]) -> None:
        """Fetch what the rows say, with at most four statements."""
        wanted: dict[Queue, set[int]] = {queue: set() for queue in Queue}
        for claimed in rows:
            if claimed.key is not None:
                wanted[claimed.queue].add(claimed.row.content_id)
        if len(self._events) > KEPT:
            self._events.clear()
            self._rendered.clear()
        if missing := wanted[Queue.DELIVERIES] - self._events.keys():
            self._events |= load_events(session, missing)
        self._digests = load_digests(session, wanted[Queue.DIGESTS]) if wanted[Queue.DIGESTS] else {}

    def message(self, claimed: Claimed) -> Message:
        """The message for a row that `load` has seen. The same row gives the same message, byte for byte."""
        queue, row = claimed.queue, claimed.row
        mail = self._channel is ChannelName.EMAIL
        link = unsubscribe_url(self._settings, row.user_id, self._channel) if mail else None
        text = self._text(queue, row.content_id)
        return Message(f"{queue.ref}-{row.id}", row.user_id, row.destination or "", text, link)

    def _text(self, queue: Queue, content_id: int) -> Rendered:
        if queue is Queue.DIGESTS:
            return self._renderer.digest(self._digests[content_id], self._channel)
        if content_id not in self._rendered:
            self._rendered[content_id] = self._renderer.instant(self._events[content_id], self._channel)
        return self._rendered[content_id]
