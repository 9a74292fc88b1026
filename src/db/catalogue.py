"""What the catalogue says of the schema, and how that differs from the contract. One query.

A unique constraint on fewer columns than the contract names is as good, and so is the index on the
engine's own rows that migration 0006 makes where other writers must not be hindered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.db.connection import Session, load_queries
from src.db.contract import CONTRACT, Check, Relation, Unique
from src.errors import Finding

_SQL = load_queries(Path(__file__).parent / "sql", "catalogue")


class Found(NamedTuple):
    """What the catalogue says of a relation."""

    name: str
    present: bool
    columns: Mapping[str, str]
    must_be_given: list[str]
    checks: list[dict[str, str]]
    constraints: list[str]
    uniques: list[dict[str, Any]]
    user_columns: list[str]
    privileges: list[str]

    def has_unique(self, relation: Relation, unique: Unique) -> bool:
        return any(
            set(index["columns"]) <= set(unique.columns)
            if not index["partial"]
            else index["name"] == relation.own_rows_index(unique)
            for index in self.uniques
        )


def catalogue(session: Session) -> dict[str, Found]:
    """The relations of the contract as they are."""
    names = [relation.name for relation in CONTRACT]
    return {found.name: found for found in session.all(Found, _SQL["catalogue"], {"names": names})}


def differences(found: Mapping[str, Found], *, pending: bool) -> list[Finding]:
    """What is not as the code needs it, each with its mend.

    `pending`: migrations wait to be applied, and are the first thing to try.
    """
    return [
        Finding(code, f"{text}: {'run invoke db.migrate' if pending else mend}")
        for relation in CONTRACT
        for code, text, mend in _differences(relation, found[relation.name])
    ]


def _differences(relation: Relation, found: Found) -> Iterator[tuple[str, str, str]]:
    """Code, what is wrong, and how to mend it by hand."""
    name = relation.name
    if not found.present:
        yield "schema.table_missing", f"{name} is missing", "restore it, or create it as src/db/migrations does"
        return
    yield from _columns_differ(relation, found)
    for check in relation.checks:
        yield from _check_differs(name, check, found)
    for constraint, migration in relation.constraints:
        if constraint not in found.constraints:
            validate = f"ALTER TABLE {name} VALIDATE CONSTRAINT {constraint}"
            mend = f"run src/db/migrations/{migration}.sql again, then {validate}"
            yield "schema.check_missing", f"{name} has no valid constraint {constraint}", mend
    for unique in relation.unique:
        if not found.has_unique(relation, unique):
            columns = ", ".join(unique.columns)
            mend = f"ALTER TABLE {name} ADD UNIQUE ({columns})"
            yield "schema.unique_missing", f"{name} has no unique constraint on ({columns})", mend
    missing = [privilege for privilege in relation.privileges if privilege not in found.privileges]
    if missing:
        rights = ", ".join(missing)
        code = "database.no_access" if "SELECT" in missing else "database.read_only"
        yield code, f"the role lacks {rights} on {name}", f"GRANT {rights} ON {name} TO that role"


def _columns_differ(relation: Relation, found: Found) -> Iterator[tuple[str, str, str]]:
    name = relation.name
    for column, family in relation.columns.items():
        actual = found.columns.get(column)
        if actual is None:
            mend = f"ALTER TABLE {name} ADD COLUMN {column} {family.value[0]}"
            yield "schema.column_missing", f"{name}.{column} is missing", mend
        elif actual not in family.value:
            wanted = family.value[0]
            mend = f"ALTER TABLE {name} ALTER COLUMN {column} TYPE {wanted} USING {column}::{wanted}"
            yield "schema.column_type", f"{name}.{column} is {actual}, not {wanted}", mend
    if "INSERT" in relation.privileges:
        for column in sorted(set(found.must_be_given) - (set(relation.columns) - {"id"})):
            mend = f"give it a default, or ALTER TABLE {name} ALTER COLUMN {column} DROP NOT NULL"
            yield "schema.column_unfilled", f"the engine does not fill {name}.{column}, which is NOT NULL", mend
    if name == "alert_events":
        named = [column for column in found.columns if re.search(r"(^|_)users?(_|$)", column)]
        for column in sorted({*named, *found.user_columns}):
            mend = f"move it to user_alert_deliveries, then ALTER TABLE alert_events DROP COLUMN {column}"
            yield "schema.user_column", f"alert_events.{column} names a user, and events are global", mend


def _check_differs(name: str, check: Check, found: Found) -> Iterator[tuple[str, str, str]]:
    """A CHECK that lists some of the literals has to list them all."""
    lists = [_literals(actual["definition"]) for actual in found.checks if actual["column"] == check.column]
    relevant = [listed for listed in lists if listed & check.literals]
    mend = f"ALTER TABLE {name} ADD CHECK ({check.condition})"
    if check.required and not relevant:
        yield "schema.check_missing", f"{name}.{check.column} has no CHECK", mend
    for refused in (check.literals - listed for listed in relevant):
        if refused:
            text = f"the CHECK on {name}.{check.column} refuses {', '.join(sorted(refused))}"
            yield "schema.check_narrow", text, f"drop it, then {mend}"


def _literals(definition: str) -> frozenset[str]:
    """What a CHECK lists, as words or as an array; nothing for one that excludes instead."""
    if "<>" in definition:
        return frozenset()
    quoted = (word for text in re.findall(r"'([^']*)'", definition) for word in re.split(r"[{},]", text))
    return frozenset(quoted) | frozenset(re.findall(r"\b\d+\b", definition))
