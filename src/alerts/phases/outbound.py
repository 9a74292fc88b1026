"""The queues as phase C sees them: claim, record, recover, for instants and digests of one channel.

Delivery guarantee: a claim (status `sending`, `claimed_by` this run, an idempotency key per request)
is committed before its request starts; the result is committed after. Whatever happens in between
leaves a `sending` row, which the next run puts back under the same key, so that nothing is lost and
nothing is sent twice through a provider that takes keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from src.alerts.channels.base import Channel
from src.alerts.models import MessageStatus
from src.alerts.retry import OUTAGES, Decision
from src.db.connection import Database, Session, load_queries
from src.db.types import register_uuids

register_uuids()
_TEXTS = load_queries(Path(__file__).parent.parent / "sql", "send")
KEY_MARGIN = timedelta(minutes=1)
"""How long before the end of its window a key is no longer relied on: longer than any request takes."""


class Queue(StrEnum):
    """What is sent: the word stands in counts and in a message's reference."""

    DELIVERIES = "deliveries"
    DIGESTS = "digests"

    @property
    def ref(self) -> str:
        return "delivery" if self is Queue.DELIVERIES else "digest"


_DESTINATION = """CASE d.channel
        WHEN 'email' THEN CASE WHEN u.email_verified IS NOT FALSE THEN u.email END
        WHEN 'telegram' THEN u.telegram_chat_id
        ELSE u.phone_number END"""


_OUR_DELIVERIES = "delivery_kind = 'instant' AND alert_event_id IS NOT NULL AND NOT adopted"


def _statements(queue: Queue) -> dict[str, sql.Composed]:
    deliveries = queue is Queue.DELIVERIES
    parts: dict[str, sql.Composable] = {
        "table": sql.Identifier(f"user_alert_{queue}"),
        "ours": sql.SQL(_OUR_DELIVERIES if deliveries else "NOT adopted"),
        "order": sql.SQL("priority DESC NULLS LAST, id" if deliveries else "id"),
        "columns": sql.SQL(
            "id, user_id, channel, attempts, send_key, "
            + ("alert_event_id, priority" if deliveries else "window_start, window_end")
        ),
        "destination": sql.SQL(_DESTINATION),
    }
    made = {}
    for name in ("due", "unknown"):
        picked = sql.SQL(_TEXTS[name]).format(**parts)
        made[name] = sql.SQL(_TEXTS[f"pick_{queue}"]).format(picked=picked, **parts)
    for name in _TEXTS.keys() - {"due", "unknown", "pick_deliveries", "pick_digests"}:
        made[name] = sql.SQL(_TEXTS[name]).format(**parts)
    return made


_STATEMENTS = {queue: _statements(queue) for queue in Queue}


@dataclass(frozen=True, slots=True)
class Picked:
    """A queued row as it stands. `content_id` is the alert of an instant, the digest itself of a digest;
    `refusal` says why nobody should get it any more."""

    id: int
    user_id: int
    content_id: int
    destination: str | None
    attempts: int
    send_key: UUID | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that this run has claimed under `key`, or (without a key) skipped."""

    queue: Queue
    row: Picked
    key: UUID | None


@dataclass(frozen=True, slots=True)
class Result:
    """What to write about a claimed row."""

    queue: Queue
    id: int
    decision: Decision
    detail: str | None = None
    provider_message_id: str | None = None

    @property
    def plainly_sent(self) -> bool:
        return self.decision.status is MessageStatus.SENT and self.detail is None


@dataclass(frozen=True, slots=True)
class Move:
    """A Telegram group that has a new chat id."""

    user_id: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class Left:
    """Queued rows of a channel."""

    channel: str
    queued: int
    due: int


def statement(queue: Queue, name: str) -> sql.Composed:
    return _STATEMENTS[queue][name]


class Outbound:
    """The two queues of one channel, on a session of its own that is opened anew when it is lost."""

    def __init__(self, database: Database, run_id: str, channel: Channel, allowed: Sequence[int] | None) -> None:
        self._database = database
        self._session: Session | None = None
        self._key_window = channel.limits.key_window
        names = {"channel": channel.name.value, "provider": channel.provider}
        self._params: dict[str, Any] = {"run_id": run_id, "allowed": allowed, **names}

    def open(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = self._database.open()
        return self._session

    def close(self) -> None:
        if self._session is not None:
            self._database.release(self._session)

    def settle_unknown(self, resend: bool, now: datetime) -> dict[Queue, int]:
        """Decide about requests of unknown outcome whose key protects no longer or is not this provider's:
        they may be sent anew, or have failed. How many rows were decided about."""
        params = self._params | {"resend": resend, "keys_since": self._keys_since(now)}
        with self.open().transaction() as session:
            return {queue: session.execute(statement(queue, "settle_unknown"), params) for queue in Queue}

    def _keys_since(self, now: datetime) -> datetime:
        """When the oldest key was first used that the provider still knows."""
        return now - self._key_window + KEY_MARGIN if self._key_window else datetime.max.replace(tzinfo=UTC)

    def claim(self, limit: int, per_request: int, now: datetime, oldest: datetime) -> list[Claimed]:
        """Up to `limit` rows that are due, instants before digests; a new key for each `per_request` of them."""
        params = self._params | {"now": now, "oldest": oldest}
        claimed: list[Claimed] = []
        for queue in Queue:
            if len(claimed) < limit:
                picked = self.open().all(Picked, statement(queue, "due"), params | {"limit": limit - len(claimed)})
                claimed += self._make_ours(_with_keys(queue, picked, per_request), params)
        return claimed

    def repeat(self, limit: int, now: datetime, oldest: datetime) -> list[Claimed]:
        """The rows of one request of unknown outcome, of at most `limit`, to be made again under its key."""
        params = self._params | {"now": now, "oldest": oldest, "limit": limit, "keys_since": self._keys_since(now)}
        for queue in Queue:
            if picked := self.open().all(Picked, statement(queue, "unknown"), params):
                again = [Claimed(queue, row, None if row.refusal else row.send_key) for row in picked]
                return self._make_ours(again, params)
        return []

    def _make_ours(self, rows: list[Claimed], params: Mapping[str, Any]) -> list[Claimed]:
        if rows:
            columns = {
                "id": [row.row.id for row in rows],
                "send_key": [row.key for row in rows],
                "refusal": [row.row.refusal for row in rows],
            }
            self.open().execute(statement(rows[0].queue, "claim"), {**params, **columns})
        return rows

    def record(self, results: Sequence[Result], moves: Sequence[Move], now: datetime) -> None:
        """Write results; rows that this run no longer holds are left alone."""
        params = self._params | {"now": now}
        for queue in Queue:
            rows = [result for result in results if result.queue is queue]
            if sent := [row for row in rows if row.plainly_sent]:
                self.open().execute(statement(queue, "record_sent"), params | _sent_columns(sent))
            if others := [row for row in rows if not row.plainly_sent]:
                self.open().execute(statement(queue, "record"), params | _columns(others))
        for move in moves:
            params = {"user_id": move.user_id, "old": move.old, "new": move.new}
            self.open().execute(statement(Queue.DELIVERIES, "move_telegram"), params)

    def give_back(self, queue: Queue, ids: Sequence[int]) -> set[int]:
        """Return the attempts that an outage took, one for each time an id is there. The rows that got theirs:
        not those that were sent since, or failed for another reason."""
        params = {"ids": list(ids), "outages": sorted(OUTAGES)}
        return {row.id for row in self.open().all(_Id, statement(queue, "give_back"), params)} if ids else set()


def _with_keys(queue: Queue, rows: list[Picked], per_request: int) -> list[Claimed]:
    """A new key for each `per_request` rows that are to be sent."""
    claimed = []
    key, members = uuid4(), 0
    for row in rows:
        if row.refusal is not None:
            claimed.append(Claimed(queue, row, None))
            continue
        if members == per_request:
            key, members = uuid4(), 0
        members += 1
        claimed.append(Claimed(queue, row, key))
    return claimed


def _sent_columns(results: Sequence[Result]) -> dict[str, list[Any]]:
    """What differs between rows that were sent, as one array a column."""
    return {
        "id": [result.id for result in results],
        "attempts": [result.decision.attempts for result in results],
        "provider_message_id": [result.provider_message_id for result in results],
    }


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
