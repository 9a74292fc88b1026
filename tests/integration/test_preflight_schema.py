"""Preflight names each table, column and constraint that is not as the code needs it, on a real schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from psycopg2 import sql

from src.db import migrate
from src.db.catalogue import catalogue, differences
from src.db.connection import Database, Session
from src.db.contract import CONTRACT, Check, Relation, Unique
from src.errors import Finding
from src.settings import Secret
from tests.database import Server
from tests.factories import World

TABLES = [relation for relation in CONTRACT if relation.name != "alert_plan_channels"]
COLUMNS = [(relation, column) for relation in TABLES for column in relation.columns]
UNIQUES = [(relation, unique) for relation in TABLES for unique in relation.unique]
CHECKS = [(relation, check) for relation in TABLES for check in relation.checks if check.required]


def identity(value: object) -> str | None:
    if isinstance(value, Relation):
        return value.name
    if isinstance(value, Unique):
        return "+".join(value.columns)
    return value.column if isinstance(value, Check) else None


@pytest.fixture(scope="module")
def module_session(server: Server, template: str) -> Iterator[Session]:
    with server.new_database(template) as name, Database(Secret(server.url_of(name))).session() as session:
        yield session


@pytest.fixture
def session(module_session: Session) -> Iterator[Session]:
    """One database for all of these tests: each undoes what it did."""

    class UndoError(Exception):
        pass

    with suppress(UndoError), module_session.transaction():
        yield module_session
        raise UndoError


def told(session: Session) -> list[Finding]:
    return differences(catalogue(session), pending=False)


def drop_constraints(session: Session, table: str, kinds: str, column: str, columns: int) -> None:
    """Drop the constraints of these kinds that are on `columns` columns, this one among them."""
    names = session.value(
        """
        SELECT array_agg(c.conname::text)
        FROM pg_constraint AS c
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.conrelid = to_regclass(%(table)s) AND strpos(%(kinds)s, c.contype::text) > 0
            AND a.attname = %(column)s AND cardinality(c.conkey) = %(columns)s
        """,
        {"table": table, "kinds": kinds, "column": column, "columns": columns},
    )
    for name in names:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {} CASCADE")
        session.execute(statement.format(sql.Identifier(table), sql.Identifier(name)))


def test_a_migrated_database_is_as_the_code_needs_it(session: Session) -> None:
    assert told(session) == []


@pytest.mark.parametrize("relation", TABLES, ids=identity)
def test_a_missing_table_is_named(session: Session, relation: Relation) -> None:
    session.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(relation.name)))
    findings = told(session)
    assert f"{relation.name} is missing" in findings[0].text or relation.name == "plan_settings"
    assert {finding.code for finding in findings} == {"schema.table_missing"}


def test_a_missing_view_is_named(session: Session) -> None:
    session.execute("DROP VIEW alert_plan_channels")
    (finding,) = told(session)
    assert (finding.code, finding.text.split(":")[0]) == ("schema.table_missing", "alert_plan_channels is missing")


@pytest.mark.parametrize(("relation", "column"), COLUMNS, ids=identity)
def test_a_missing_column_is_named(session: Session, relation: Relation, column: str) -> None:
    statement = sql.SQL("ALTER TABLE {} DROP COLUMN {} CASCADE")
    session.execute(statement.format(sql.Identifier(relation.name), sql.Identifier(column)))
    texts = [finding.text for finding in told(session) if finding.code == "schema.column_missing"]
    mend = f"ALTER TABLE {relation.name} ADD COLUMN {column} {relation.columns[column].value[0]}"
    assert texts == [f"{relation.name}.{column} is missing: {mend}"]


@pytest.mark.parametrize(("relation", "unique"), UNIQUES, ids=identity)
def test_a_missing_unique_constraint_is_named(session: Session, relation: Relation, unique: Unique) -> None:
    drop_constraints(session, relation.name, "pu", unique.columns[0], len(unique.columns))
    (finding,) = told(session)
    columns = ", ".join(unique.columns)
    assert finding.code == "schema.unique_missing"
    assert finding.text.startswith(f"{relation.name} has no unique constraint on ({columns})")


@pytest.mark.parametrize(("relation", "check"), CHECKS, ids=identity)
def test_a_missing_check_is_named_and_mended_as_told(session: Session, relation: Relation, check: Check) -> None:
    drop_constraints(session, relation.name, "c", check.column, 1)
    (finding,) = told(session)
    assert (finding.code, finding.text.split(":")[0]) == (
        "schema.check_missing",
        f"{relation.name}.{check.column} has no CHECK",
    )
    session.execute(finding.text.split(": ", 1)[1])
    assert told(session) == []


@pytest.mark.parametrize("damage", ["ADD", "VALIDATE"])
def test_a_constraint_that_is_missing_or_not_valid_is_named_and_mended_as_told(session: Session, damage: str) -> None:
    """Without it what is queued again by other means would never be found, and nobody would know."""
    session.execute("ALTER TABLE user_alert_deliveries DROP CONSTRAINT user_alert_deliveries_open_check")
    world = World(session)
    row = world.delivery(world.user(), world.alert_event(), failure_reason="timeout")
    migration = (migrate.DIRECTORY / "0011_open_rows.sql").read_text(encoding="utf-8")
    if damage == "VALIDATE":
        session.execute(migration)
    (finding,) = told(session)
    assert finding.code == "schema.check_missing"
    assert "user_alert_deliveries has no valid constraint user_alert_deliveries_open_check" in finding.text
    if damage == "ADD":
        session.execute(migration)
    session.execute("ALTER TABLE user_alert_deliveries VALIDATE CONSTRAINT user_alert_deliveries_open_check")
    assert told(session) == []
    assert world.value("SELECT failure_reason FROM user_alert_deliveries WHERE id = %(id)s", id=row) is None


MENDED = [
    "ALTER TABLE alert_events DROP COLUMN score",
    "ALTER TABLE user_alert_deliveries ALTER COLUMN attempts DROP DEFAULT, ALTER COLUMN attempts TYPE text",
    "ALTER TABLE user_alert_digests DROP CONSTRAINT user_alert_digests_digest_key_key",
]


@pytest.mark.parametrize("damage", MENDED)
def test_the_mend_that_is_told_mends(session: Session, damage: str) -> None:
    session.execute(damage)
    (finding,) = told(session)
    session.execute(finding.text.split(": ", 1)[1])
    assert told(session) == []


OTHER_SHAPES = {
    "narrow types": "ALTER TABLE risk_indices ALTER COLUMN id TYPE integer",
    "varchar": "ALTER TABLE user_alert_deliveries ALTER COLUMN claimed_by TYPE varchar(36)",
    "naive times": "ALTER TABLE user_alert_deliveries ALTER COLUMN sent_at TYPE timestamp",
    "more columns": "ALTER TABLE alert_events ADD COLUMN raw_input jsonb NOT NULL DEFAULT '{}'",
    "a domain": "CREATE DOMAIN plan_code AS text; ALTER TABLE user_plans ALTER COLUMN plan TYPE plan_code",
    "more statuses": "ALTER TABLE user_alert_deliveries DROP CONSTRAINT user_alert_deliveries_status_check,"
    " ADD CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'skipped', 'read'))",
    "a stricter unique constraint": "ALTER TABLE user_alert_deliveries"
    " DROP CONSTRAINT user_alert_deliveries_alert_event_id_user_id_channel_delive_key,"
    " ADD UNIQUE (alert_event_id, user_id, channel)",
    "another check": "ALTER TABLE user_alert_deliveries ADD CHECK (status <> 'lost')",
}


@pytest.mark.parametrize("shape", OTHER_SHAPES)
def test_what_the_code_can_live_with_is_no_difference(session: Session, shape: str) -> None:
    session.execute(OTHER_SHAPES[shape])
    assert told(session) == []


BROKEN_SHAPES = {
    "ALTER TABLE user_plans ALTER COLUMN plan TYPE integer USING 1": "schema.column_type",
    "ALTER TABLE user_alert_deliveries ADD COLUMN tenant integer NOT NULL": "schema.column_unfilled",
    "ALTER TABLE alert_events ADD COLUMN user_id bigint": "schema.user_column",
    "ALTER TABLE alert_events ADD COLUMN owner bigint REFERENCES users (id)": "schema.user_column",
    "ALTER TABLE user_alert_digests DROP CONSTRAINT user_alert_digests_status_check,"
    " ADD CHECK (status IN ('queued', 'sent'))": "schema.check_narrow",
    "ALTER TABLE user_alert_digests DROP CONSTRAINT user_alert_digests_digest_key_key,"
    " ADD UNIQUE (digest_key) DEFERRABLE": "schema.unique_missing",
    "ALTER TABLE user_alert_digests DROP CONSTRAINT user_alert_digests_digest_key_key;"
    "CREATE UNIQUE INDEX ON user_alert_digests (digest_key) WHERE status = 'queued'": "schema.unique_missing",
    "ALTER TABLE user_alert_digests DROP CONSTRAINT user_alert_digests_digest_key_key;"
    "CREATE UNIQUE INDEX ON user_alert_digests (lower(digest_key))": "schema.unique_missing",
}


@pytest.mark.parametrize("damage", BROKEN_SHAPES)
def test_what_would_break_a_run_is_a_difference(session: Session, damage: str) -> None:
    session.execute(damage)
    assert [finding.code for finding in told(session)] == [BROKEN_SHAPES[damage]]
