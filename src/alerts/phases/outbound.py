"""The queues as phase C sees them: claim, record, recover, for instants and digests of one channel.

Delivery guarantee: a claim (status `sending`, `claimed_by` this run, an idempotency key per request)
is committed before its request starts; the result is committed after. Whatever happens in between
leaves a `sending` row, which the next run puts back under the same key, so that nothing is lost and
nothing is sent twice through a provider that takes keys.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg2 import sql

from src.alerts.channels.base import Channel
from src.alerts.models import MessageStatus
from src.alerts.retry import OUTAGES, Decision
from src.db.connection import Database, Session, load_queries
from src.db.exchange import Step

_TEXTS = load_queries(Path(__file__).parent.parent / "sql", "send")
KEY_MARGIN = timedelta(minutes=1)
"""How long before the end of its window a key is no longer relied on: longer than any request takes."""
CONNECTIONS = 2
"""How many a channel has at most: two exchanges may be under way at once (`traffic`)."""
KEY_PREFIX = 24
"""Characters of a random UUID that begin the keys of all requests of one claim: what follows numbers them."""


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
# The last two are true of what is queued or being sent, and are how the index of such rows knows it.
_OUR_DELIVERIES = (
    "delivery_kind = 'instant' AND alert_event_id IS NOT NULL AND NOT adopted"
    " AND sent_at IS NULL AND failure_reason IS NULL"
)


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
    made = {name: sql.SQL(text).format(**parts) for name, text in _TEXTS.items() if name != "claim"}
    for source in Source:
        picked = {"picked": made[source], "judged": made[f"judge_{queue}"]}
        made[f"claim_{source}"] = sql.SQL(_TEXTS["claim"]).format(**picked, **parts)
    return made


class Source(StrEnum):
    """Where rows to send come from: requests of unknown outcome, which are repeated, before what is due."""

    UNKNOWN = "unknown"
    DUE = "due"


SOURCES = tuple((source, queue) for source in Source for queue in Queue)
"""In the order in which they are emptied; instants before digests."""
_STATEMENTS = {queue: _statements(queue) for queue in Queue}


class Claimed(NamedTuple):
    """A row that this run has claimed under `key`, or skipped: then `refusal` says why nobody should get it
    any more, and there is no key. `content_id` is the alert of an instant, the digest itself of a digest;
    `repeated`: the request was made before, and its outcome is unknown."""

    queue: Queue
    id: int
    user_id: int
    content_id: int
    destination: str | None
    attempts: int
    key: str | None
    repeated: bool
    refusal: str | None


class Result(NamedTuple):
    """What to write about a row that was claimed under `key`."""

    queue: Queue
    id: int
    key: str | None
    decision: Decision
    detail: str | None = None
    provider_message_id: str | None = None

    @property
    def plainly_sent(self) -> bool:
        return self.decision.status is MessageStatus.SENT and self.detail is None


class Move(NamedTuple):
    """A Telegram group that has a new chat id, as the request under `key` was told."""

    key: str | None
    user_id: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RowId:
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
    """The two queues of one channel, on sessions of its own that are opened anew when they are lost."""

    def __init__(self, database: Database, run_id: str, channel: Channel, allowed: Sequence[int] | None) -> None:
        self._database = database
        self._sessions: list[Session | None] = [None] * CONNECTIONS
        self._key_window = channel.limits.key_window
        names = {"channel": channel.name.value, "provider": channel.provider}
        self._params: dict[str, Any] = {"run_id": run_id, "allowed": allowed, **names}
        self._texts: dict[tuple[Queue, str], str] = {}

    def open(self, slot: int = 0) -> Session:
        """One of the sessions, made anew if it was lost. Takes as long as that takes."""
        session = self._sessions[slot]
        if session is None or session.closed:
            session = self._sessions[slot] = self._database.open()
        if not self._texts:
            self._texts = {
                (queue, name): composed.as_string(session.connection)
                for queue, statements in _STATEMENTS.items()
                for name, composed in statements.items()
            }
        return session

    async def session(self, slot: int) -> Session:
        """The same for an event loop, which goes on meanwhile."""
        session = self._sessions[slot]
        return await asyncio.to_thread(self.open, slot) if session is None or session.closed else session

    def close(self) -> None:
        for session in self._sessions:
            if session is not None:
                self._database.release(session)

    def settle_unknown(self, resend: bool, now: datetime) -> dict[Queue, int]:
        """Decide about requests of unknown outcome whose key protects no longer or is not this provider's:
        they may be sent anew, or have failed. How many rows were decided about."""
        params = self._params | {"resend": resend, "keys_since": self._keys_since(now)}
        with self.open().transaction() as session:
            return {queue: session.execute(statement(queue, "settle_unknown"), params) for queue in Queue}

    def _keys_since(self, now: datetime) -> datetime:
        """When the oldest key was first used that the provider still knows."""
        return now - self._key_window + KEY_MARGIN if self._key_window else datetime.max.replace(tzinfo=UTC)

    def claiming(
        self, source: Source, queue: Queue, limit: int, per_request: int, now: datetime, oldest: datetime
    ) -> Step:
        """Claim up to `limit` rows that are due, `per_request` of them under a new key each; or those of one
        request of unknown outcome, of at most `limit`, under its own."""
        times = {"now": now, "oldest": oldest, "keys_since": self._keys_since(now)}
        own = {"limit": limit, "per_request": per_request, "key_prefix": str(uuid4())[:KEY_PREFIX]}
        params = {**self._params, **times, **own}
        return Step(self._texts[queue, f"claim_{source}"], params)

    def recording(self, results: Sequence[Result], now: datetime) -> Iterator[Step]:
        """Write results; rows that this run no longer holds, or under another key, are left alone."""
        params = {**self._params, "now": now}
        alike = defaultdict[tuple[Queue, bool], list[Result]](list)
        for result in results:
            alike[result.queue, result.plainly_sent].append(result)
        for (queue, sent), rows in alike.items():
            columns = _sent_columns(rows) if sent else _columns(rows)
            yield Step(self._texts[queue, "record_sent" if sent else "record"], {**params, **columns})

    def moving(self, moves: Sequence[Move]) -> list[Step]:
        """Store where Telegram groups have gone."""
        return [Step(self._texts[Queue.DELIVERIES, "move_telegram"], move._asdict()) for move in moves]

    def finding_held(self, queue: Queue, ids: Sequence[int]) -> Step:
        """Tell which of these rows somebody else holds."""
        return Step(self._texts[queue, "held"], {"ids": ids})

    def give_back(self, queue: Queue, ids: Sequence[int]) -> set[int]:
        """Return the attempts that an outage took, one for each time an id is there. The rows that got theirs:
        not those that were sent since, or failed for another reason."""
        params = {"ids": list(ids), "outages": sorted(OUTAGES)}
        return {row.id for row in self.open().all(RowId, statement(queue, "give_back"), params)} if ids else set()


def _sent_columns(results: Sequence[Result]) -> dict[str, list[Any]]:
    """What differs between rows that were sent, as one array a column."""
    return {
        "id": [result.id for result in results],
        "key": [result.key for result in results],
        "attempts": [result.decision.attempts for result in results],
        "provider_message_id": [result.provider_message_id for result in results],
    }


def _columns(results: Sequence[Result]) -> dict[str, list[Any]]:
    """Results as one array a column."""
    return {
        **_sent_columns(results),
        "status": [result.decision.status.value for result in results],
        "reason": [result.decision.reason and result.decision.reason.value for result in results],
        "next_retry_at": [result.decision.next_retry_at for result in results],
        "detail": [result.detail for result in results],
        "keep_key": [result.decision.keep_key for result in results],
    }
