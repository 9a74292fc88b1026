"""An existing database of the product is taken over by additions only, and the engine runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from src.db import adoption, migrate
from src.db.adoption import Left, OldMessages, Released
from src.db.catalogue import catalogue, differences
from src.db.connection import Database
from src.errors import DatabaseError
from src.settings import Secret
from tests.database import Server
from tests.factories import NOW, World
from tests.integration.schema_dump import dump
from tests.process import Runner

FILES = Path(__file__).parent / "existing"
VARIANTS = ("old", "newer", "bare")
AT = ("--now", NOW.isoformat())


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def existing_url(server: Server, variant: str) -> Iterator[str]:
    """A database as the product left it, in a time zone that is not UTC."""
    with server.new_database() as name:
        url = server.url_of(name)
        server.administer(sql.SQL("ALTER DATABASE {} SET timezone = 'America/New_York'").format(sql.Identifier(name)))
        execute(url, *((FILES / f"{part}.sql").read_text(encoding="utf-8") for part in ("common", variant)))
        yield url


@pytest.fixture
def existing(existing_url: str) -> Database:
    return Database(Secret(existing_url))


@pytest.fixture
def adopted(existing: Database) -> Iterator[World]:
    """The same, migrated."""
    migrate.apply(existing)
    with existing.session() as session:
        yield World(session)


@pytest.fixture
def runner(existing_url: str, tmp_path: Path) -> Runner:
    return Runner(tmp_path, {"DATABASE_URL": existing_url, "ALERTS_TRANSPORT": "outbox"})


def execute(url: str, *statements: str) -> None:
    """As other software would: in a session of its own, with the database's settings."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


@dataclass(frozen=True)
class Table:
    """What a migration must leave as it is: where the rows are stored, the columns, and the rows themselves,
    with the transaction that wrote them."""

    filenode: int
    columns: list[tuple[Any, ...]]
    rows: list[tuple[Any, ...]]


def tables(url: str, columns: dict[str, list[tuple[Any, ...]]] | None = None) -> dict[str, Table]:
    """All tables, or those in `columns` with these columns."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:

        def rows(statement: str | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

        found = {}
        for name, filenode in rows(
            "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ):
            if columns is not None and name not in columns:
                continue
            described = rows(
                "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
                " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                name,
            )
            kept = [row for row in described if columns is None or row[0] in {column[0] for column in columns[name]}]
            wanted = [sql.Identifier(column) for column in ("ctid", "xmin", *(row[0] for row in kept))]
            statement = sql.SQL("SELECT {}::text FROM {} ORDER BY ctid")
            content = rows(statement.format(sql.SQL("::text, ").join(wanted), sql.Identifier(name)))
            found[name] = Table(filenode, kept, content)
        return found


def test_no_table_column_or_row_is_dropped_changed_or_rewritten(existing_url: str, existing: Database) -> None:
    before = tables(existing_url)
    assert any(table.rows for table in before.values())
    migrate.apply(existing)
    assert tables(existing_url, {name: table.columns for name, table in before.items()}) == before


def test_the_result_is_as_the_code_needs_it_and_stays_so(existing: Database) -> None:
    assert len(migrate.apply(existing)) == len(migrate.migrations())
    assert migrate.apply(existing) == []
    with existing.session() as session, session.transaction():
        assert differences(catalogue(session), pending=False) == []


def test_a_take_over_that_was_cut_off_goes_on_where_it_was(
    existing_url: str, existing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(existing_url)
    steps = migrate.migrations()
    for stop in range(1, len(steps)):
        broken = migrate.Migration(stop + 1, "broken", f"{steps[stop].sql}; SELECT 1 / 0")
        with monkeypatch.context() as patched:
            patched.setattr(migrate, "migrations", lambda last=broken, stop=stop: [*steps[:stop], last])
            with pytest.raises(DatabaseError):
                migrate.apply(existing)
    assert [step.name for step in migrate.apply(existing)] == [steps[-1].name]
    assert tables(existing_url, {name: table.columns for name, table in before.items()}) == before
    with existing.session() as session, session.transaction():
        assert differences(catalogue(session), pending=False) == []


def test_rows_that_were_there_are_marked_and_new_ones_are_not(adopted: World) -> None:
    for table, mark in (("alert_events", "fanout_waived"), ("user_alert_deliveries", "adopted")):
        marks = sql.SQL("SELECT bool_and({}) FROM {}").format(sql.Identifier(mark), sql.Identifier(table))
        assert adopted.value(marks) is True
    event = adopted.alert_event(created_at=NOW)
    assert adopted.value("SELECT fanout_waived FROM alert_events WHERE id = %(id)s", id=event) is False
    delivery = adopted.delivery(42, event)
    assert adopted.value("SELECT adopted FROM user_alert_deliveries WHERE id = %(id)s", id=delivery) is False


@pytest.mark.parametrize("variant", ["old"], indirect=True)
def test_what_is_not_known_is_null(adopted: World) -> None:
    rows = adopted.rows("SELECT DISTINCT email_verified, phone_number FROM users")
    assert rows == [{"email_verified": None, "phone_number": None}]
    runs = adopted.rows("SELECT DISTINCT dry_run, actor, rollout FROM alerts_engine_runs")
    assert runs == [{"dry_run": None, "actor": None, "rollout": None}]


@pytest.mark.parametrize("variant", ["old"], indirect=True)
def test_a_check_that_is_too_narrow_is_widened_and_still_checks(adopted: World) -> None:
    event = adopted.alert_event()
    adopted.delivery(42, event, status="sending")
    adopted.insert("alerts_engine_runs", run_id="1", status="interrupted", started_at=NOW)
    with pytest.raises(DatabaseError, match="user_alert_deliveries_status_check"):
        adopted.delivery(42, event, "sms", status="read")
    assert adopted.value("SELECT bool_and(convalidated) FROM pg_constraint") is True


def test_a_check_that_older_rows_break_is_replaced_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not valid before, so it is not afterwards; new rows are checked."""
    with server.new_database() as name:
        url = server.url_of(name)
        execute(
            url,
            *((FILES / f"{part}.sql").read_text(encoding="utf-8") for part in ("common", "old")),
            "ALTER TABLE user_alert_deliveries DROP CONSTRAINT user_alert_deliveries_status_check",
            "UPDATE user_alert_deliveries SET status = 'lost' WHERE id = 1",
            "ALTER TABLE user_alert_deliveries ADD CONSTRAINT words CHECK (status IN ('queued', 'sent')) NOT VALID",
        )
        database = Database(Secret(url))
        migrate.apply(database)
        with database.session() as session:
            world = World(session)
            assert world.value("SELECT convalidated FROM pg_constraint WHERE conname = 'words'") is False
            world.delivery(42, world.alert_event(), status="sending")
            with pytest.raises(DatabaseError, match="words"):
                world.delivery(42, world.alert_event(), status="lost")


TODAYS_WRITES = {
    "in-app inbox": "INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, status, sent_at)"
    " VALUES (43, 1, 'account', 'sent', now())",
    "instant of an event": "INSERT INTO user_alert_deliveries (user_id, alert_event_id, channel, delivery_kind)"
    " VALUES (41, 2, 'email', 'instant')",
    "event": "INSERT INTO alert_events (alert_type, headline, body, cooldown_key)"
    " VALUES ('DAILY_DIGEST', 'h', 'b', 'k')",
    "user": "INSERT INTO users (email) VALUES ('dan@example.com')",
    "plan": "UPDATE plan_settings SET max_email_alerts_per_day = 9, updated_at = now() WHERE plan_code = 'pro'",
    "twice the same wish": "INSERT INTO user_alert_prefs (user_id, alert_type)"
    " VALUES (43, 'HIGH_IMPACT_EVENT'), (43, 'HIGH_IMPACT_EVENT')",
    "deleting a user": "DELETE FROM users WHERE id = 42",
}
NEWER_WRITES = {
    "other kinds, without an event": "INSERT INTO user_alert_deliveries (user_id, channel, delivery_kind)"
    " VALUES (42, 'email', 'index_digest'), (42, 'email', 'index_digest'), (42, 'sms', 'geri'), (42, 'sms', 'geri')",
    "instants without an event": "INSERT INTO user_alert_deliveries (user_id, channel)"
    " VALUES (42, 'email'), (42, 'email')",
    "event": "INSERT INTO alert_events (alert_type, headline, body, cooldown_key, event_fingerprint)"
    " VALUES ('DAILY_DIGEST', 'h', 'b', 'k', 'k')",
    "a delivery in two digests": "INSERT INTO user_alert_digest_items (digest_id, delivery_id)"
    " VALUES (1, 1), (2, 1), (1, 2), (2, 2)",
    "run": "INSERT INTO alerts_engine_runs (run_id, status) VALUES ('x', 'completed')",
}
NEWER_WRITES = {**TODAYS_WRITES, **NEWER_WRITES}
WRITES = [(variant, name) for variant in ("old", "bare") for name in TODAYS_WRITES] + [
    ("newer", name) for name in NEWER_WRITES
]


@pytest.mark.parametrize(("variant", "write"), WRITES, indirect=["variant"])
def test_what_other_software_writes_today_is_still_accepted(
    existing_url: str, existing: Database, write: str, variant: str
) -> None:
    migrate.apply(existing)
    execute(existing_url, (NEWER_WRITES if variant == "newer" else TODAYS_WRITES)[write])


def test_the_engines_own_rows_are_guarded(adopted: World) -> None:
    event = adopted.alert_event()
    delivery = adopted.delivery(42, event, kind="digest")
    with pytest.raises(DatabaseError, match="23505"):
        adopted.delivery(42, event, kind="digest")
    digests = [
        adopted.digest(42, period=period, window=(NOW - timedelta(days=1), NOW)) for period in ("daily", "hourly")
    ]
    adopted.insert("user_alert_digest_items", digest_id=digests[0], delivery_id=delivery, exclusive=True)
    with pytest.raises(DatabaseError, match="23505"):
        adopted.insert("user_alert_digest_items", digest_id=digests[1], delivery_id=delivery, exclusive=True)


LEFT = {
    "old": OldMessages(Left(3, 0), Left(1, 0)),
    "newer": OldMessages(Left(2, 1), Left(1, 1)),
    "bare": OldMessages(Left(1, 0), Left(0, 0)),
}


def test_the_plan_tells_before_what_would_be_done(existing: Database, variant: str) -> None:
    with existing.session() as session:
        before = dump(session)
        with session.transaction():
            plan = migrate.plan(session)
        assert dump(session) == before
    assert plan.old == LEFT[variant]
    assert plan.duplicates == ()
    told = {str(finding) for finding in plan.differences}
    assert "schema.table_missing: user_alert_channels is missing: run invoke db.migrate" in told
    assert "schema.column_missing: user_alert_deliveries.adopted is missing: run invoke db.migrate" in told
    narrow = "schema.check_narrow: the CHECK on user_alert_deliveries.status refuses sending: run invoke db.migrate"
    assert (narrow in told) == (variant == "old")


@pytest.mark.parametrize("variant", ["bare"], indirect=True)
def test_duplicates_are_listed_with_what_mends_them_before_anything_is_changed(
    existing_url: str, existing: Database, runner: Runner
) -> None:
    execute(
        existing_url,
        "ALTER TABLE alert_events DROP CONSTRAINT alert_events_cooldown_key_key",
        "INSERT INTO alert_events (id, alert_type, headline, body, cooldown_key) VALUES (9, 'X', 'h', 'b', 'legacy-2')",
        "INSERT INTO user_alert_deliveries (id, user_id, alert_event_id, channel, status) VALUES"
        " (11, 42, 1, 'email', 'queued'), (12, 42, 1, 'email', 'failed'), (13, 42, 1, 'sms', 'queued'),"
        " (14, 42, NULL, 'email', 'queued'), (15, 42, NULL, 'email', 'queued')",
        "INSERT INTO user_alert_deliveries (id, user_id, alert_event_id, channel, delivery_kind) VALUES"
        " (16, 42, 1, 'email', 'geri'), (17, 42, 1, 'email', 'geri')",
    )
    with existing.session() as session:
        before = dump(session)
        with pytest.raises(DatabaseError) as caught:
            migrate.apply(existing)
        assert dump(session) == before
    findings = list(caught.value.findings)
    assert {finding.code for finding in findings} == {"adoption.duplicates"}
    assert [finding.text for finding in findings] == [
        "alert_events 2, 9 have the same (cooldown_key): keep 2:"
        " UPDATE alert_events SET cooldown_key = cooldown_key || ':' || id WHERE id IN (9);",
        "user_alert_deliveries 1, 11, 12 have the same (alert_event_id, user_id, channel, delivery_kind): keep 1:"
        " DELETE FROM user_alert_deliveries WHERE id IN (11, 12);",
    ]
    assert set(map(str, findings)) <= set(runner.run("--preflight").document["errors"])
    execute(existing_url, *(finding.text.rpartition(": ")[2] for finding in findings))
    assert len(migrate.apply(existing)) == len(migrate.migrations())


def test_preflight_tells_what_is_held_back(runner: Runner, existing: Database, variant: str) -> None:
    before = runner.run("--preflight")
    assert (before.exit_code, before.document["migrations_ok"]) == (1, False)
    migrate.apply(existing)
    after = runner.run("--preflight")
    assert (after.exit_code, after.document["errors"]) == (0, [])
    for document in (before.document, after.document):
        (held,) = [entry for entry in document["warnings"] if entry.startswith("adoption.")]
        assert held == str(LEFT[variant].findings[0])


def state(world: World) -> list[dict[str, Any]]:
    """What became of the rows from before."""
    return world.rows(
        "SELECT 'delivery' AS what, id, status FROM user_alert_deliveries WHERE created_at < %(now)s"
        " UNION ALL SELECT 'digest', id, status FROM user_alert_digests WHERE created_at < %(now)s ORDER BY 1, 2",
        now=NOW,
    )


def sent(directory: Path) -> int:
    return sum(1 for path in (directory / "outbox").rglob("*") if path.is_file())


def test_the_engine_runs_on_it_and_leaves_the_old_rows_alone(runner: Runner, adopted: World, tmp_path: Path) -> None:
    """Only the news of the day goes out: to everybody on the free plan or better whose address is not refused."""
    before = state(adopted)
    highest = adopted.value("SELECT max(id) FROM user_alert_deliveries")
    run = runner.run("--phase", "all", "--log-json", *AT)
    assert (run.exit_code, run.document["errors"]) == (0, []), run.stderr
    assert state(adopted) == before
    rows = adopted.rows(
        "SELECT user_id, channel, status, headline, d.created_at, d.sent_at, d.claimed_at"
        " FROM user_alert_deliveries AS d JOIN alert_events AS e ON e.id = d.alert_event_id"
        " WHERE d.id > %(highest)s ORDER BY user_id, channel",
        highest=highest,
    )
    assert {row["headline"] for row in rows} == {"Pipeline attacked"}
    assert {(row["user_id"], row["channel"]) for row in rows} >= {(41, "email"), (42, "email"), (42, "telegram")}
    assert all(row["created_at"] == NOW for row in rows)
    assert all(row["sent_at"] == NOW for row in rows if row["status"] == "sent")
    assert sent(tmp_path) == len([row for row in rows if row["status"] == "sent"]) == run.document["totals"]["sent"]


def test_times_without_a_zone_hold_utc_whatever_the_session_says(
    runner: Runner, adopted: World, existing_url: str
) -> None:
    runner.run("--phase", "all", "--log-json", *AT, PGTZ="Asia/Tokyo")
    with closing(psycopg2.connect(existing_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW timezone")
        assert cursor.fetchone() == ("America/New_York",)
        cursor.execute("SELECT created_at::text FROM user_alert_deliveries WHERE NOT adopted")
        written = {row[0] for row in cursor.fetchall()}
    assert written == {"2026-01-16 12:00:00"}
    document = runner.run("--health", *AT).document
    assert document["last_run"]["started_at"] == "2026-01-16T12:00:00Z"
    assert document["last_success_at"] == "2026-01-16T12:00:00Z"


def test_health_says_nothing_of_what_is_held_back(runner: Runner, adopted: World) -> None:
    """Rows that were left an hour ago are neither due, nor held by the allowlist, nor stuck."""
    adopted.execute("UPDATE user_alert_deliveries SET created_at = %(at)s WHERE status <> 'sent'", at=NOW)
    document = runner.run("--health", "--now", (NOW + timedelta(hours=1)).isoformat()).document
    assert (document["held"], document["stuck_sending"]) == (0, 0)
    assert document["oldest_queued_minutes"] == {"deliveries": None, "digests": None}
    assert not any(entry.startswith("sending.") for entry in [*document["errors"], *document["warnings"]])


@pytest.mark.parametrize("variant", ["newer"], indirect=True)
def test_rows_that_other_software_goes_on_writing_are_left_to_it(
    runner: Runner, adopted: World, existing_url: str
) -> None:
    """Of other kinds, of the in-app inbox, or without an event."""
    execute(
        existing_url,
        "UPDATE events SET severity_score = 1",
        "INSERT INTO user_alert_deliveries (user_id, channel, delivery_kind, status, created_at) VALUES"
        " (42, 'email', 'index_digest', 'queued', '2026-01-16 09:00'), (42, 'email', 'geri', 'sending', NULL),"
        " (42, 'account', 'instant', 'queued', '2026-01-16 09:00'), (42, 'email', 'instant', 'queued', NULL),"
        " (42, 'email', 'instant', 'sending', '2026-01-16 09:00'), (42, 'email', 'digest', 'queued', NULL)",
    )
    before = adopted.rows("SELECT * FROM user_alert_deliveries ORDER BY id")
    run = runner.run("--phase", "all", "--log-json", *AT)
    assert (run.exit_code, run.document["totals"]["sent"]) == (0, 0), run.stderr
    assert adopted.rows("SELECT * FROM user_alert_deliveries ORDER BY id") == before
    health = runner.run("--health", *AT).document
    assert (health["status"], health["held"], health["stuck_sending"]) == ("pass", 0, 0)


RELEASED = {"old": Released(3, 1), "newer": Released(2, 2), "bare": Released(1, 0)}
AFTERWARDS = {
    "old": {("delivery", 2): "skipped", ("delivery", 3): "skipped", ("delivery", 5): "sent", ("digest", 1): "sent"},
    "newer": {
        ("delivery", 2): "skipped", ("delivery", 3): "queued", ("delivery", 5): "sent", ("delivery", 6): "queued",
        ("digest", 1): "skipped", ("digest", 2): "sent",
    },
    "bare": {("delivery", 2): "skipped"},
}  # fmt: skip


def test_the_old_messages_are_sent_if_asked_as_far_as_they_are_not_too_old(
    runner: Runner, adopted: World, existing: Database, variant: str
) -> None:
    """Delivery 2 is of an event six days old, and user 43 of the newer database has refused their address;
    what stands in a digest already is not sent on its own, and what does not goes into one."""
    assert adoption.include_old(existing) == RELEASED[variant]
    assert adoption.include_old(existing) == Released(0, 0)
    run = runner.run("--phase", "all", "--log-json", *AT)
    assert (run.exit_code, run.document["errors"]) == (0, []), run.stderr
    became = {(row["what"], row["id"]): row["status"] for row in state(adopted)}
    assert {key: became[key] for key in AFTERWARDS[variant]} == AFTERWARDS[variant]
    document = runner.run("--health", *AT).document
    assert document["errors"] == []


def test_what_was_being_sent_for_a_digest_waits_for_one_once_it_is_released(database: Database, world: World) -> None:
    user, event = world.user(), world.alert_event()
    item = world.delivery(user, event, kind="digest", status="sending", adopted=True)
    instant = world.delivery(user, event, channel="telegram", status="sending", adopted=True)
    assert adoption.include_old(database) == Released(2, 0)
    rows = {row["id"]: row["status"] for row in world.rows("SELECT id, status FROM user_alert_deliveries")}
    assert rows == {item: "queued", instant: "sending"}


def test_what_was_sent_is_neither_counted_nor_released_whatever_its_status(database: Database, world: World) -> None:
    user = world.user()
    sent: dict[str, Any] = {"adopted": True, "sent_at": NOW, "status": "sending"}
    world.delivery(user, world.alert_event(), **sent)
    world.digest(user, **sent)
    with database.session() as session:
        assert migrate.plan(session).old == OldMessages(Left(), Left())
    assert adoption.include_old(database) == Released(0, 0)


def test_two_runs_in_a_row_send_nothing_twice(runner: Runner, adopted: World, tmp_path: Path) -> None:
    runner.run("--phase", "all", "--log-json", *AT)
    first = sent(tmp_path)
    again = runner.run("--phase", "all", "--log-json", *AT)
    assert again.document["totals"]["sent"] == 0
    assert sent(tmp_path) == first > 0
    assert adopted.count("alerts_engine_runs") >= 2
