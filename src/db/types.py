"""How Python values become SQL and back. Importing this module registers it all with psycopg2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg2.extensions
from psycopg2.extras import Json

psycopg2.extensions.register_adapter(dict, Json)


class _Array:
    """A list as one array literal, several times faster than psycopg2's element by element adaption.

    The statement casts it (`%(ids)s::bigint[]`). Elements are None, numbers, datetimes or texts.
    """

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def getquoted(self) -> bytes:
        items = [str(value) if type(value) is int else _quoted(value) for value in self._values]
        literal = psycopg2.extensions.adapt("{" + ",".join(items) + "}")
        literal.prepare(self._connection)
        return bytes(literal.getquoted())

    def prepare(self, connection: Any) -> None:
        """psycopg2 calls this first; texts are encoded as the connection says."""
        self._connection = connection


def _quoted(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


psycopg2.extensions.register_adapter(list, _Array)


def _utc(value: str | None, cursor: Any) -> datetime | None:
    """Columns without a time zone hold UTC (existing databases have them)."""
    moment = psycopg2.extensions.PYDATETIME(value, cursor)
    return moment.replace(tzinfo=UTC) if moment is not None else None


psycopg2.extensions.register_type(psycopg2.extensions.new_type((1114,), "UTC_TIMESTAMP", _utc))
