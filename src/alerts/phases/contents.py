"""From claimed rows to messages: what alerts say is loaded once a run and rendered once a channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from src.alerts.messages import DigestContent, Driver, EventContent, Message, Rendered
from src.alerts.models import ChannelName, Period
from src.alerts.phases.outbound import Claimed, Queue
from src.alerts.rendering import Renderer
from src.alerts.unsubscribe import unsubscribe_url
from src.db.connection import STATEMENT_SECONDS, Session, load_queries
from src.db.exchange import Step, exchange
from src.settings import Settings

_SQL = load_queries(Path(__file__).parents[1] / "sql", "contents")
R = TypeVar("R")
DIGEST_EVENTS = 20
KEPT = 500
"""Alerts kept rendered; a run rarely has more, and memory stays flat when it does."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What some rows say: alerts and digests, by id."""

    events: dict[int, EventContent]
    digests: dict[int, DigestContent]


NO_TEXTS = Texts({}, {})


class Contents:
    """The texts of one channel. `load` needs the database, `message` does not. Two may load at once, so what
    one has loaded is handed on, and not left here for the other to replace."""

    def __init__(self, renderer: Renderer, channel: ChannelName, settings: Settings) -> None:
        self._renderer = renderer
        self._settings = settings
        self._channel = channel
        self._events: dict[int, EventContent] = {}
        self._rendered: dict[int, Rendered] = {}

    async def load(self, session: Session, rows: Sequence[Claimed]) -> Texts:
        """Fetch what the rows say, with at most three statements."""
        wanted: dict[Queue, set[int]] = {queue: set() for queue in Queue}
        for claimed in rows:
            if claimed.key is not None:
                wanted[claimed.queue].add(claimed.content_id)
        events = {event: self._events[event] for event in wanted[Queue.DELIVERIES] & self._events.keys()}
        if missing := wanted[Queue.DELIVERIES] - events.keys():
            events |= await _load_events(session, missing)
        digests = await _load_digests(session, wanted[Queue.DIGESTS]) if wanted[Queue.DIGESTS] else {}
        if len(self._events) > KEPT:
            self._events.clear()
            self._rendered.clear()
        self._events |= events
        return Texts(events, digests)

    def message(self, claimed: Claimed, texts: Texts) -> Message:
        """The message for a row that `load` has seen. The same row gives the same message, byte for byte."""
        mail = self._channel is ChannelName.EMAIL
        link = unsubscribe_url(self._settings, claimed.user_id, self._channel) if mail else None
        text = self._text(claimed.queue, claimed.content_id, texts)
        return Message(f"{claimed.queue.ref}-{claimed.id}", claimed.user_id, claimed.destination or "", text, link)

    def _text(self, queue: Queue, content_id: int, texts: Texts) -> Rendered:
        if queue is Queue.DIGESTS:
            return self._renderer.digest(texts.digests[content_id], self._channel)
        if content_id not in self._rendered:
            self._rendered[content_id] = self._renderer.instant(texts.events[content_id], self._channel)
        return self._rendered[content_id]


@dataclass(frozen=True, slots=True)
class _EventRow:
    id: int
    alert_type: str
    region: str | None
    assets: list[str]
    severity: int
    score: float | None
    headline: str
    body: str
    created_at: datetime
    driver_event_ids: list[int | None]


@dataclass(frozen=True, slots=True)
class _DriverRow:
    id: int
    title: str
    source_name: str
    source_url: str


@dataclass(frozen=True, slots=True)
class _DigestRow:
    digest_id: int
    period: str
    window_start: datetime
    window_end: datetime
    event_ids: list[int]
    total: int


async def _rows(session: Session, record: type[R], name: str, **params: Any) -> list[R]:
    return await exchange(session, record, [Step(_SQL[name], params)], seconds=STATEMENT_SECONDS)


async def _load_events(session: Session, ids: Iterable[int]) -> dict[int, EventContent]:
    """Alerts with the news behind them, by id."""
    rows = await _rows(session, _EventRow, "events", ids=list(ids))
    wanted = sorted({driver for row in rows for driver in row.driver_event_ids if driver is not None})
    found = await _rows(session, _DriverRow, "drivers", ids=wanted) if wanted else []
    drivers = {row.id: Driver(row.title, row.source_name, row.source_url) for row in found}
    return {
        row.id: EventContent(
            row.id, row.alert_type, row.region, tuple(row.assets), row.severity, row.score, row.headline, row.body,
            row.created_at, tuple(drivers[driver] for driver in row.driver_event_ids if driver in drivers),
        )
        for row in rows
    }  # fmt: skip


async def _load_digests(session: Session, ids: Iterable[int]) -> dict[int, DigestContent]:
    """Digests with their severest events, by id."""
    rows = await _rows(session, _DigestRow, "digests", ids=list(ids), most=DIGEST_EVENTS)
    events = await _load_events(session, {event for row in rows for event in row.event_ids}) if rows else {}
    return {
        row.digest_id: DigestContent(
            Period(row.period), row.window_start, row.window_end,
            tuple(events[event] for event in row.event_ids), row.total,
        )
        for row in rows
    }  # fmt: skip
