"""The queues as phase C sees them: claim, record, recover, for instants and digests of one channel.

Delivery guarantee: a claim (status `sending`, `claimed_by` this run, an idempotency key per request)
is committed before its request starts; the result is committed after. Whatever happens in between
leaves a `sending` row, which the next run puts back under the same key, so that nothing is lost and
nothing is sent twice through a provider that takes keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from src.alerts.models import DigestContent, Driver, EventContent, Period
from src.alerts.retry import Decision
from src.db.connection import Database, Session, load_queries

_TEXTS = load_queries(Path(__file__).parent.parent / "sql", "send")
DIGEST_EVENTS = 20


class Queue(StrEnum):
    """What is sent: the word stands in counts and in a message's reference."""

    DELIVERIES = "deliveries"
    DIGESTS = "digests"

    @property
    def ref(self) -> str:
        return "delivery" if self is Queue.DELIVERIES else "digest"


_PARTS = {
    Queue.DELIVERIES: {
        "table": sql.Identifier("user_alert_deliveries"),
        "ours": sql.SQL("delivery_kind = 'instant' AND NOT adopted"),
        "order": sql.SQL("priority DESC NULLS LAST, id"),
    },
    Queue.DIGESTS: {
        "table": sql.Identifier("user_alert_digests"),
        "ours": sql.SQL("NOT adopted"),
        "order": sql.SQL("id"),
    },
}
_STATEMENTS = {
    queue: {name: sql.SQL(text).format(**parts) for name, text in _TEXTS.items()} for queue, parts in _PARTS.items()
}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that this run has claimed, or found that nobody should get (`refusal`)."""

    id: int
    user_id: int
    content_id: int
    destination: str | None
    attempts: int
    send_key: UUID | None
    refusal: str | None
    place: int


@dataclass(frozen=True, slots=True)
class Result:
    """What to write about a claimed row."""

    queue: Queue
    id: int
    decision: Decision
    detail: str | None = None
    provider_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A Telegram group that has a new chat id."""

    user_id: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Left:
    """Queued rows of a channel."""

    channel: str
    queued: int
    due: int


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


def statement(queue: Queue, name: str) -> sql.Composed:
    return _STATEMENTS[queue][name]


class Outbound:
    """The two queues of one channel, on a session of its own that is opened anew when it is lost."""

    def __init__(
        self, database: Database, run_id: str, channel: str, provider: str, allowed: Sequence[int] | None
    ) -> None:
        self._database = database
        self._session: Session | None = None
        self._params: dict[str, Any] = {"run_id": run_id, "channel": channel, "provider": provider, "allowed": allowed}

    def open(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = self._database.open()
        return self._session

    def close(self) -> None:
        if self._session is not None:
            self._database.release(self._session)

    def settle_unknown(self, resend: bool, keys_since: datetime) -> None:
        """Decide about requests of unknown outcome whose key is older than `keys_since` or not this provider's."""
        params = self._params | {"resend": resend, "keys_since": keys_since}
        with self.open().transaction() as session:
            for queue in Queue:
                session.execute(statement(queue, "settle_unknown"), params)

    def claim(self, limit: int, per_request: int, now: datetime, oldest: datetime) -> list[tuple[Queue, Claimed]]:
        """Up to `limit` rows: a request of unknown outcome before new work, instants before digests."""
        for queue in Queue:
            picked = self._pick(queue, "pick_unknown", limit, now)
            if picked:
                return self._claim(queue, picked, len(picked), now, oldest)
        claimed: list[tuple[Queue, Claimed]] = []
        for queue in Queue:
            if len(claimed) < limit:
                picked = self._pick(queue, "pick_due", limit - len(claimed), now)
                claimed += self._claim(queue, picked, per_request, now, oldest) if picked else []
        return claimed

    def record(self, results: Sequence[Result], moves: Sequence[Move], now: datetime) -> None:
        """Write results; rows that this run no longer holds are left alone."""
        for queue in Queue:
            rows = [result for result in results if result.queue is queue]
            if rows:
                self.open().execute(statement(queue, "record"), self._params | {"now": now} | _columns(rows))
        for move in moves:
            params = {"user_id": move.user_id, "old": move.old, "new": move.new}
            self.open().execute(statement(Queue.DELIVERIES, "move_telegram"), params)

    def give_back(self, queue: Queue, ids: Sequence[int]) -> None:
        """Return the attempt that an outage took."""
        if ids:
            self.open().execute(statement(queue, "give_back"), {"ids": list(ids)})

    def _pick(self, queue: Queue, name: str, limit: int, now: datetime) -> list[int]:
        params = self._params | {"limit": limit, "now": now}
        return [row.id for row in self.open().all(_Id, statement(queue, name), params)]

    def _claim(
        self, queue: Queue, ids: list[int], per_request: int, now: datetime, oldest: datetime
    ) -> list[tuple[Queue, Claimed]]:
        keys = [uuid4() for _ in range(-(-len(ids) // per_request))]
        params = self._params | {"ids": ids, "keys": keys, "per_request": per_request, "now": now, "oldest": oldest}
        rows = self.open().all(Claimed, statement(queue, f"claim_{queue}"), params)
        return [(queue, row) for row in sorted(rows, key=lambda row: row.place)]


def _columns(results: Sequence[Result]) -> dict[str, list[Any]]:
    """Results as one array a column."""
    return {
        "id": [result.id for result in results],
        "status": [result.decision.status.value for result in results],
        "reason": [result.decision.reason and result.decision.reason.value for result in results],
        "attempts": [result.decision.attempts for result in results],
        "next_retry_at": [result.decision.next_retry_at for result in results],
        "detail": [result.detail for result in results],
        "provider_message_id": [result.provider_message_id for result in results],
        "keep_key": [result.decision.keep_key for result in results],
    }


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
    driver_event_ids: list[int]


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


def load_events(session: Session, ids: Iterable[int]) -> dict[int, EventContent]:
    """Alerts with the news behind them, by id."""
    rows = session.all(_EventRow, statement(Queue.DELIVERIES, "event_contents"), {"ids": list(ids)})
    wanted = sorted({driver for row in rows for driver in row.driver_event_ids})
    found = session.all(_DriverRow, statement(Queue.DELIVERIES, "drivers"), {"ids": wanted}) if wanted else []
    drivers = {row.id: Driver(row.title, row.source_name, row.source_url) for row in found}
    return {
        row.id: EventContent(
            row.id, row.alert_type, row.region, tuple(row.assets), row.severity, row.score, row.headline, row.body,
            row.created_at, tuple(drivers[driver] for driver in row.driver_event_ids if driver in drivers),
        )
        for row in rows
    }  # fmt: skip


def load_digests(session: Session, ids: Iterable[int]) -> dict[int, DigestContent]:
    """Digests with their severest events, by id."""
    rows = session.all(
        _DigestRow, statement(Queue.DIGESTS, "digest_contents"), {"ids": list(ids), "most": DIGEST_EVENTS}
    )
    events = load_events(session, {event for row in rows for event in row.event_ids}) if rows else {}
    return {
        row.digest_id: DigestContent(
            Period(row.period), row.window_start, row.window_end,
            tuple(events[event] for event in row.event_ids), row.total,
        )
        for row in rows
    }  # fmt: skip
