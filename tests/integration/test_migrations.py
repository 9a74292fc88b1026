"""Migrations: the ledger's rules, two at once, all or nothing, and a schema that nobody changes by accident."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from src.alerts.models import Phase
from src.db import migrate
from src.db.connection import Database, Session
from src.db.locks import RunLocks
from src.errors import DatabaseError
from tests.factories import NOW, World
from tests.integration.busy import until
from tests.integration.schema_dump import dump
from tests.process import ROOT

GOLDEN = Path(__file__).with_name("golden_schema.txt")
NAMES = [step.name for step in migrate.migrations()]


def names(steps: list[migrate.Migration]) -> list[str]:
    return [step.name for step in steps]


def test_a_migrated_database_has_the_golden_schema(database: Database) -> None:
    """Meant to change? Write what the assertion shows on the left into golden_schema.txt."""
    with database.session() as session:
        assert dump(session) == GOLDEN.read_text(encoding="utf-8")


def test_all_are_applied_in_order_and_then_none(empty_database: Database) -> None:
    assert names(migrate.apply(empty_database)) == NAMES
    assert migrate.apply(empty_database) == []
    with empty_database.session() as session, session.transaction():
        status = migrate.status(session)
    assert ([row.name for row in status.applied], status.pending, status.findings) == (NAMES, (), ())


def test_a_database_without_a_ledger_has_all_of_them_pending(empty_database: Database) -> None:
    with empty_database.session() as session, session.transaction():
        status = migrate.status(session)
    assert (status.applied, names(list(status.pending))) == ((), NAMES)
    assert [finding.code for finding in status.all_findings] == ["schema.pending"]


def test_two_threads_apply_each_migration_once(empty_database: Database) -> None:
    start = threading.Barrier(4)

    def apply(_: int) -> list[str]:
        start.wait()
        return names(migrate.apply(empty_database))

    with ThreadPoolExecutor(4) as pool:
        done = [name for applied in pool.map(apply, range(4)) for name in applied]
    assert sorted(done) == NAMES


def test_two_processes_apply_each_migration_once(empty_database_url: str, empty_database: Database) -> None:
    code = """
import sys
from src.db import migrate
from src.db.connection import Database
from src.settings import Secret
print(*[step.name for step in migrate.apply(Database(Secret(sys.argv[1])))], sep="\\n")
"""
    command = [sys.executable, "-c", code, empty_database_url]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("".join(outputs).split()) == NAMES


def test_a_database_newer_than_the_code_is_refused(database: Database, world: World) -> None:
    world.insert("alerts_schema_migrations", version=9999, name="9999_later", checksum="x")
    with pytest.raises(DatabaseError) as caught:
        migrate.apply(database)
    (finding,) = caught.value.findings
    assert finding.code == "schema.newer"
    assert finding.text == f"the database is at version 9999, this code at {len(NAMES)}: deploy the newer code"


def test_a_file_that_changed_after_it_was_applied_is_named(database: Database, world: World) -> None:
    world.execute("UPDATE alerts_schema_migrations SET checksum = 'x' WHERE version = 3")
    with pytest.raises(DatabaseError) as caught:
        migrate.apply(database)
    assert [finding.code for finding in caught.value.findings] == ["schema.changed_migration"]
    assert NAMES[2] in caught.value.findings[0].text


def test_a_step_that_fails_leaves_nothing_and_those_before_it_stay(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = migrate.migrations()
    broken = migrate.Migration(2, "0002_broken", "CREATE TABLE half (id int); SELECT 1 / 0")
    monkeypatch.setattr(migrate, "migrations", lambda: [steps[0], broken])
    with pytest.raises(DatabaseError) as caught:
        migrate.apply(empty_database)
    assert caught.value.findings[0].code == "database.error"
    with empty_database.session() as session, session.transaction():
        assert session.value("SELECT to_regclass('half')") is None
        assert [row.name for row in migrate.status(session).applied] == [steps[0].name]
    monkeypatch.undo()
    assert names(migrate.apply(empty_database)) == NAMES[1:]


def test_a_busy_table_is_tried_again(
    empty_database_url: str, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads `users` for longer than two attempts wait."""
    steps = migrate.migrations()
    with monkeypatch.context() as first:
        first.setattr(migrate, "migrations", lambda: steps[:1])
        migrate.apply(empty_database)
    reader = psycopg2.connect(empty_database_url)
    reader.cursor().execute("SELECT count(*) FROM users")
    failures: list[str] = []
    attempt = migrate._apply_next

    def watched(session: Session) -> migrate.Migration | None:
        try:
            return attempt(session)
        except DatabaseError as error:
            failures.append(error.findings[0].code)
            if len(failures) == 2:
                reader.close()
            raise

    monkeypatch.setattr(migrate, "_apply_next", watched)
    monkeypatch.setattr(migrate, "TABLE_LOCK_SECONDS", 1)
    assert names(migrate.apply(empty_database)) == NAMES[1:]
    assert failures == ["database.locked", "database.locked"]


def test_a_table_that_stays_busy_ends_in_a_clear_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = migrate.Migration(len(NAMES) + 1, "blocked", "ALTER TABLE users ADD COLUMN more text")
    steps = [*migrate.migrations(), blocked]
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    monkeypatch.setattr(migrate, "TABLE_LOCK_SECONDS", 1)
    monkeypatch.setattr(migrate, "ATTEMPTS", 2)
    with database.session() as reader, reader.transaction():
        reader.value("SELECT count(*) FROM users")
        with pytest.raises(DatabaseError) as caught:
            migrate.apply(database)
    assert [finding.code for finding in caught.value.findings] == ["database.locked"]


def test_a_migration_waits_for_a_run(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of another version may be sending: what it is to write must still be as it knows it."""
    monkeypatch.setattr(migrate, "TABLE_LOCK_SECONDS", 1)
    monkeypatch.setattr(migrate, "ATTEMPTS", 2)
    for phase in Phase:
        with RunLocks(empty_database, "a run") as run:
            assert run.try_phase(phase)
            with pytest.raises(DatabaseError) as caught:
                migrate.apply(empty_database)
        (finding,) = caught.value.findings
        assert str(finding) == "database.locked: a run is under way: when it has ended, run this again"
    assert names(migrate.apply(empty_database)) == NAMES


def test_no_run_goes_on_during_a_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = migrate.Migration(len(NAMES) + 1, "blocked", "LOCK TABLE users")
    steps = [*migrate.migrations(), blocked]
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    with ThreadPoolExecutor(1) as pool, database.session() as reader:
        with reader.transaction():
            reader.value("SELECT count(*) FROM users")
            applied = pool.submit(migrate.apply, database)
            until(
                lambda: reader.value("SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted") == 1
            )
            for phase in Phase:
                with RunLocks(database, "a run") as run:
                    assert not run.try_phase(phase)
        assert names(applied.result()) == ["blocked"]


OFFERS = [
    ("enterprise", "email", 30, True, True),
    ("enterprise", "sms", 30, False, True),
    ("enterprise", "telegram", 30, True, True),
    ("free", "email", 0, True, False),
    ("personal", "email", 1, True, False),
    ("pro", "email", 15, True, False),
    ("pro", "sms", 15, False, False),
    ("pro", "telegram", 15, True, False),
    ("trader", "email", 3, True, False),
    ("trader", "telegram", 8, True, False),
]


def test_a_new_database_has_the_plans_of_the_product(world: World) -> None:
    rows = world.rows(
        "SELECT plan_code, channel, instants_per_day, has_digest, hourly FROM alert_plan_channels ORDER BY 1, 2"
    )
    assert [tuple(row.values()) for row in rows] == OFFERS


PLANS = {
    '{"email": {"max_per_day": 4, "realtime_limit": 9}}': ("email", 4),
    '{"email": {"max_per_day": 9, "realtime_limit": 4}}': ("email", 4),
    '{"email": {"max_per_day": 4}}': ("email", 4),
    '{"email": {}}': ("email", 7),
    "{}": ("email", 7),
    "[]": ("email", 7),
    '{"email": {"max_per_day": "many", "realtime_limit": -2}}': ("email", 0),
    '{"email": {"max_per_day": 1e12}}': ("email", 1_000_000),
    '{"telegram": {"enabled": true}}': ("telegram", 7),
    '{"telegram": {"enabled": "true"}}': ("telegram", None),
    '{"sms": {"enabled": false}}': ("sms", None),
}


@pytest.mark.parametrize("config", PLANS)
def test_what_a_plan_offers_is_read_leniently(world: World, config: str) -> None:
    channel, instants = PLANS[config]
    world.insert("plan_settings", plan_code="odd", max_email_alerts_per_day=7, delivery_config=config)
    offered = world.rows(
        "SELECT instants_per_day FROM alert_plan_channels WHERE plan_code = 'odd' AND channel = %(channel)s",
        channel=channel,
    )
    assert offered == ([] if instants is None else [{"instants_per_day": instants}])
    world.execute("UPDATE plan_settings SET is_active = false WHERE plan_code = 'odd'")
    assert world.value("SELECT count(*) FROM alert_plan_channels WHERE plan_code = 'odd'") == 0


def test_the_plan_prints_the_sql_and_changes_nothing(empty_database: Database) -> None:
    with empty_database.session() as session:
        with session.transaction():
            plan = migrate.plan(session)
        assert dump(session) == ""
    assert names(list(plan.status.pending)) == NAMES
    assert all(f"-- {step.name}\nBEGIN;\n{step.sql}" in plan.sql for step in migrate.migrations())
    assert {finding.code for finding in plan.differences} == {"schema.table_missing"}
    assert plan.duplicates == ()


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("queued", {"failure_reason": "timeout"}),
        ("sending", {"sent_at": NOW}),
    ],
)
def test_an_open_row_that_phase_c_would_not_find_is_refused(world: World, status: str, columns: dict[str, Any]) -> None:
    """As one that was queued again by hand might be. Of rows that are not the engine's nothing is asked."""
    user, event = world.user(), world.alert_event()
    with pytest.raises(DatabaseError, match="user_alert_deliveries_open_check"):
        world.delivery(user, event, status=status, **columns)
    world.delivery(user, event, "account", status=status, **columns)
    world.delivery(user, event, kind="geri", status=status, **columns)


def test_the_printed_plan_runs_as_it_stands(empty_database_url: str, empty_database: Database) -> None:
    with empty_database.session() as session, session.transaction():
        text = migrate.plan(session).sql
    with closing(psycopg2.connect(empty_database_url)) as connection:
        connection.autocommit = True  # the text opens and ends its own transactions
        connection.cursor().execute(text)
    golden = GOLDEN.read_text(encoding="utf-8")
    start = golden.index("table alerts_schema_migrations")
    ledger = golden[start : golden.index("\ntable ", start) + 1]
    with empty_database.session() as session:
        assert dump(session) == golden.replace(ledger, "")
