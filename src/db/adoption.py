"""Taking over a database that had the product's tables before the engine: what to know, and what to ask.

Migrations mark the rows that were there (`adopted`, `fanout_waived`): the engine neither fans out nor
sends them. `include_old` releases the messages among them that were left queued or sending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql

from src.db.catalogue import Found
from src.db.connection import Database, Session, load_queries
from src.db.contract import CONTRACT, Relation, Unique
from src.errors import Finding

MOST_DUPLICATES = 20
_SQL = load_queries(Path(__file__).parent / "sql", "adoption")


class Left(NamedTuple):
    """Messages of one table that were not finished when the engine took over."""

    queued: int = 0
    sending: int = 0


class OldMessages(NamedTuple):
    deliveries: Left
    digests: Left

    @property
    def findings(self) -> list[Finding]:
        """A warning if there are any."""
        parts = [
            f"{name} ({left.queued} queued, {left.sending} sending)"
            for name, left in (("deliveries", self.deliveries), ("digests", self.digests))
            if left != Left()
        ]
        if not parts:
            return []
        text = f"{' and '.join(parts)} from before the engine are held back: invoke db.migrate --include-old sends them"
        return [Finding("adoption.held_back", text)]


class Released(NamedTuple):
    """How many messages `include_old` handed to the engine."""

    deliveries: int
    digests: int


class _Group(NamedTuple):
    ids: list[int]


def old_messages(session: Session, found: Mapping[str, Found]) -> OldMessages:
    """What was left by whoever sent before; before the migrations, all that is queued or sending."""
    return OldMessages(_left(session, found["user_alert_deliveries"]), _left(session, found["user_alert_digests"]))


def _left(session: Session, table: Found) -> Left:
    if not table.present:
        return Left()
    old = [
        condition
        for column, condition in (
            ("adopted", "adopted"),
            ("sent_at", "sent_at IS NULL"),
            ("delivery_kind", "delivery_kind IN ('instant', 'digest')"),
        )
        if column in table.columns
    ]
    parts = {"table": sql.Identifier(table.name), "old": sql.SQL(" AND ").join(map(sql.SQL, old or ["true"]))}
    return session.one(Left, sql.SQL(_SQL["old_messages"]).format(**parts))


def include_old(database: Database) -> Released:
    """Let the engine send what was left queued or sending, as far as it is not too old by its rules.

    Deliveries that stand in a digest already are not sent on their own. Raises DatabaseError.
    """
    with database.session() as session, session.transaction(seconds=600):
        return Released(session.execute(_SQL["release_deliveries"]), session.execute(_SQL["release_digests"]))


def duplicates(session: Session, found: Mapping[str, Found]) -> list[Finding]:
    """Rows that would break a unique index that is to be created, by their ids, with SQL that mends them."""
    return [
        finding
        for relation in CONTRACT
        for unique in relation.unique
        if _to_be_created(relation, unique, found[relation.name])
        for finding in _duplicates(session, relation, unique)
    ]


def _to_be_created(relation: Relation, unique: Unique, table: Found) -> bool:
    there = {"id", *unique.columns} <= set(relation.columns) & set(table.columns)
    return table.present and there and not table.has_unique(relation, unique)


def _duplicates(session: Session, relation: Relation, unique: Unique) -> Iterator[Finding]:
    name, columns = relation.name, ", ".join(unique.columns)
    parts = {
        "table": sql.Identifier(name),
        "columns": sql.SQL(", ").join(map(sql.Identifier, unique.columns)),
        "own_rows": sql.SQL(unique.own_rows or "true"),
        "keep": sql.SQL("status = 'sent' DESC, id" if "status" in relation.columns else "id"),
    }
    statement = sql.SQL(_SQL["duplicates"]).format(**parts)
    for group in session.all(_Group, statement, {"limit": MOST_DUPLICATES}):
        kept, *others = group.ids
        rows = f"WHERE id IN ({', '.join(map(str, others))})"
        if len(unique.columns) == 1:
            mend = f"UPDATE {name} SET {columns} = {columns} || ':' || id {rows};"  # noqa: S608 - shown, never run
        else:
            mend = f"DELETE FROM {name} {rows};"  # noqa: S608 - likewise
        text = f"{name} {', '.join(map(str, sorted(group.ids)))} have the same ({columns}): keep {kept}: {mend}"
        yield Finding("adoption.duplicates", text)
