"""The preflight document as the real process prints it, with its exit code."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn
from syrupy.assertion import SnapshotAssertion

from tests.database import Server
from tests.documents import document_snapshot
from tests.factories import NOW, World
from tests.integration.splitter import Splitter
from tests.process import Finished, Runner

LIVE = {
    "ALERTS_TRANSPORT": "live",
    "BREVO_API_KEY": "xkeysib-1",
    "EMAIL_FROM": "alerts@example.com",
    "TELEGRAM_BOT_TOKEN": "1:a",
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "b",
    "TWILIO_PHONE_NUMBER": "+15005550006",
}
KEYS = {"schema_version", "db_ok", "migrations_ok", "channels_configured", "rollout", "warnings", "errors"}
ROLLOUT_KEYS = {"phase", "dry_run", "allowlist_active", "users_eligible", "users_total", "max_send_per_run"}


def codes(entries: list[str]) -> list[str]:
    return [entry.partition(": ")[0] for entry in entries]


def checked(finished: Finished) -> dict[str, Any]:
    """The document, which has all its keys and goes with the exit code."""
    document = finished.document
    assert set(document) == KEYS
    assert set(document["rollout"]) == ROLLOUT_KEYS
    assert finished.exit_code == (1 if document["errors"] else 0)
    return document


def test_all_well(runner: Runner, world: World, snapshot: SnapshotAssertion) -> None:
    world.user()
    assert checked(runner.run("--preflight", **LIVE)) == document_snapshot(snapshot)


def test_an_empty_database(runner: Runner, empty_database_url: str, snapshot: SnapshotAssertion) -> None:
    document = checked(runner.run("--preflight", DATABASE_URL=empty_database_url))
    assert document == document_snapshot(snapshot)


def test_an_unreachable_database(runner: Runner, snapshot: SnapshotAssertion) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    document = checked(runner.run("--preflight", DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/x"))
    assert document == document_snapshot(snapshot)


def test_no_channel(runner: Runner, world: World, snapshot: SnapshotAssertion) -> None:
    world.user()
    assert checked(runner.run("--preflight", ALERTS_TRANSPORT="live")) == document_snapshot(snapshot)


def test_a_bad_allowlist(runner: Runner, world: World, snapshot: SnapshotAssertion) -> None:
    """Nobody may be reached then."""
    world.user()
    document = checked(runner.run("--preflight", ALERTS_SEND_ALLOWLIST_USER_IDS="42,abc"))
    assert document == document_snapshot(snapshot)
    assert document["rollout"]["users_eligible"] == 0


BAD_ALLOWLISTS = ["42,abc", ",", "42,,43", "4 2", "-1", "0x2A", "٤٢", "0", "9223372036854775808", "42,", " "]


@pytest.mark.parametrize("value", BAD_ALLOWLISTS)
def test_a_malformed_allowlist_is_refused_without_its_text(runner: Runner, value: str) -> None:
    finished = runner.run("--preflight", ALERTS_SEND_ALLOWLIST_USER_IDS=value)
    document = checked(finished)
    assert "allowlist.malformed" in codes(document["errors"])
    assert document["rollout"]["allowlist_active"] is True
    assert "abc" not in finished.stdout + finished.stderr


BAD_SETTINGS = {
    "ALERTS_MAX_SEND_PER_RUN": "-1",
    "ALERTS_DIGEST_HOUR": "24",
    "ALERTS_V2_ENABLED": "yes",
    "EMAIL_PROVIDER": "pigeon",
    "ALERTS_SEND_CONCURRENCY": "1e3",
}


def test_variables_that_do_not_parse_are_all_named_and_nothing_else_is_hidden(runner: Runner, world: World) -> None:
    world.user()
    document = checked(runner.run("--preflight", **BAD_SETTINGS))
    assert codes(document["errors"]) == ["config.invalid"] * len(BAD_SETTINGS)
    assert all(any(f" {name} " in f"{entry} " for entry in document["errors"]) for name in BAD_SETTINGS)
    assert document["rollout"]["users_total"] == 1
    assert (document["db_ok"], document["migrations_ok"]) == (True, True)


def test_an_unknown_time_zone_and_an_unusable_url_are_warnings(runner: Runner) -> None:
    document = checked(runner.run("--preflight", ALERTS_TIMEZONE="Mars/Base", ALERTS_APP_BASE_URL="app.example.com"))
    assert document["errors"] == []
    assert set(codes(document["warnings"])) == {"config.url_unusable", "config.timezone_unknown"}


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql://[", "mysql://localhost/x", "host=127.0.0.1 port=x"])
def test_a_url_that_is_none(runner: Runner, url: str) -> None:
    document = checked(runner.run("--preflight", DATABASE_URL=url))
    assert document["db_ok"] is False
    assert document["rollout"]["users_total"] is None
    assert codes(document["errors"])[0].startswith("database.")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("mode", ["--preflight", "--health"])
def test_a_host_that_does_not_answer_is_given_up_on_within_ten_seconds(
    runner: Runner, silent_port: int, mode: str
) -> None:
    began = time.monotonic()
    finished = runner.run(mode, DATABASE_URL=f"postgresql://someone:hunter2@127.0.0.1:{silent_port}/x")
    assert time.monotonic() - began < 10
    assert (finished.exit_code, codes(finished.document["errors"])) == (1, ["database.unreachable"])
    assert "hunter2" not in finished.stdout + finished.stderr


@pytest.fixture
def limited_role(server: Server, database_url: str) -> Iterator[dict[str, str]]:
    """A role that owns nothing, and the URL with which it connects: `{"name": …, "url": …}`."""
    name = "alerts_test_limited"
    server.administer(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'hunter2'").format(sql.Identifier(name)))
    try:
        yield {"name": name, "url": make_dsn(**{**parse_dsn(database_url), "user": name, "password": "hunter2"})}
    finally:
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.commit()
        server.administer(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_that_may_only_read(runner: Runner, world: World, limited_role: dict[str, str]) -> None:
    world.execute(
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(limited_role["name"]))
    )
    document = checked(runner.run("--preflight", DATABASE_URL=limited_role["url"]))
    assert set(codes(document["errors"])) == {"database.read_only"}
    assert "database.read_only: the role lacks INSERT, UPDATE on user_alert_deliveries:" in " ".join(document["errors"])
    assert "the role lacks UPDATE on users: GRANT UPDATE ON users TO that role" in " ".join(document["errors"])
    assert (document["db_ok"], document["migrations_ok"]) == (False, True)


def test_a_role_that_may_store_a_chats_new_id_and_nothing_else_of_a_user(
    runner: Runner, world: World, limited_role: dict[str, str]
) -> None:
    for right in ("SELECT ON ALL TABLES IN SCHEMA public", "UPDATE (telegram_chat_id) ON users"):
        world.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(right), sql.Identifier(limited_role["name"])))
    document = checked(runner.run("--preflight", DATABASE_URL=limited_role["url"]))
    assert "users:" not in " ".join(document["errors"])


def test_a_role_that_may_nothing(runner: Runner, limited_role: dict[str, str]) -> None:
    document = checked(runner.run("--preflight", DATABASE_URL=limited_role["url"]))
    assert set(codes(document["errors"])) == {"database.no_access"}
    assert (document["db_ok"], document["migrations_ok"]) == (False, False)


def test_a_role_whose_transactions_are_read_only(runner: Runner, world: World, database_url: str) -> None:
    name = psycopg2.extensions.parse_dsn(database_url)["dbname"]
    world.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name)))
    document = checked(runner.run("--preflight"))
    assert (document["db_ok"], codes(document["errors"])) == (False, ["database.read_only"])
    run = runner.run("--phase", "all", "--log-json")
    assert (run.exit_code, "database.read_only" in codes(run.document["errors"])) == (1, True)


def test_a_wrong_password_appears_nowhere(runner: Runner, limited_role: dict[str, str]) -> None:
    finished = runner.run("--preflight", DATABASE_URL=limited_role["url"].replace("hunter2", "hunter3"))
    if finished.exit_code == 0 or "database.no_access" in finished.stdout:
        pytest.skip("this server asks for no password")
    assert codes(checked(finished)["errors"]) == ["database.unreachable"]
    assert "hunter" not in finished.stdout + finished.stderr
    assert "password" in finished.stdout


TABLES = (
    "users", "user_plans", "plan_settings", "user_alert_prefs", "user_alert_channels", "events", "risk_indices",
    "asset_risk", "alert_events", "user_alert_deliveries", "user_alert_digests", "user_alert_digest_items",
    "alerts_engine_runs", "alerts_engine_run_items", "alerts_schema_migrations",
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_named_and_nothing_breaks(runner: Runner, world: World, table: str) -> None:
    world.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(table)))
    document = checked(runner.run("--preflight"))
    expected = {"schema.pending"} if table == "alerts_schema_migrations" else {"schema.table_missing"}
    assert set(codes(document["errors"])) == expected
    assert table in document["errors"][0] or expected == {"schema.pending"} or table == "plan_settings"
    assert (document["db_ok"], document["migrations_ok"]) == (True, False)
    health = runner.run("--health")
    assert set(codes(health.document["errors"])) <= {"schema.mismatch"}


def test_newer_and_older_schemas_are_errors(runner: Runner, world: World) -> None:
    world.insert("alerts_schema_migrations", version=9999, name="9999_later", checksum="x")
    assert codes(checked(runner.run("--preflight"))["errors"]) == ["schema.newer"]
    world.execute("DELETE FROM alerts_schema_migrations WHERE version >= 8")
    document = checked(runner.run("--preflight"))
    assert "schema.pending" in codes(document["errors"])
    assert document["migrations_ok"] is False


def test_a_sequence_that_is_behind_its_table_is_an_error_that_the_message_mends(runner: Runner, world: World) -> None:
    """An insert would meet a row that has its id, and be taken for a duplicate."""
    world.alert_event(id=1000)
    world.insert("alerts_engine_runs", id=7, run_id="7", status="success", started_at=NOW)
    errors = checked(runner.run("--preflight"))["errors"]
    assert codes(errors) == ["schema.sequence_behind"] * 2
    for entry in errors:
        world.rows(entry.rpartition(": ")[2])
    assert checked(runner.run("--preflight"))["errors"] == []
    assert world.alert_event() == 1001


def test_an_event_with_a_user_is_an_error(runner: Runner, world: World) -> None:
    world.execute("ALTER TABLE alert_events ADD COLUMN user_id bigint")
    assert codes(checked(runner.run("--preflight"))["errors"]) == ["schema.user_column"]


def test_the_rollout_is_that_of_the_run_to_come(runner: Runner, world: World) -> None:
    """Flags narrow it; ids that are no users are named."""
    first, second = world.user(), world.user()
    allowed = f"{first}, {second},999"
    finished = runner.run(
        "--preflight", "--phase", "c", "--dry-run", "--allowlist", f"{first},999,1000", "--max-send", "7",
        ALERTS_SEND_ALLOWLIST_USER_IDS=allowed,
    )  # fmt: skip
    document = checked(finished)
    assert document["rollout"] == {
        "phase": "c",
        "dry_run": True,
        "allowlist_active": True,
        "users_eligible": 1,
        "users_total": 2,
        "max_send_per_run": 7,
    }
    assert codes(document["warnings"]) == ["rollout.allowlist_active", "rollout.unknown_users"]
    assert "no users: 999:" in document["warnings"][1]


def test_nobody_is_eligible_where_flag_and_environment_have_nobody_in_common(runner: Runner, world: World) -> None:
    first, second = world.user(), world.user()
    finished = runner.run("--preflight", "--allowlist", str(first), ALERTS_SEND_ALLOWLIST_USER_IDS=str(second))
    assert checked(finished)["rollout"]["users_eligible"] == 0


def run_record(world: World, number: int, sent: Any, **columns: Any) -> None:
    counts = json.dumps({"sent": sent})
    world.insert("alerts_engine_runs", run_id=str(number), status="success", started_at=NOW, counts=counts, **columns)


def test_the_blast_radius_is_held_against_the_runs_that_sent(runner: Runner, world: World) -> None:
    world.execute("INSERT INTO users (email) SELECT n || '@example.com' FROM generate_series(1, 25) AS n")

    def warnings(*flags: str) -> list[str]:
        return codes(checked(runner.run("--preflight", *flags))["warnings"])

    assert warnings() == ["rollout.blast_radius"]
    for number, sent in enumerate((0, "many", None, [3], 2)):
        run_record(world, number, sent)
    assert warnings() == ["rollout.blast_radius"]
    run_record(world, 10, 99, dry_run=True)
    assert warnings() == ["rollout.blast_radius"]
    run_record(world, 11, 3)
    assert warnings() == []
    assert warnings("--max-send", "24") == ["rollout.more_than_cap"]
    assert warnings("--max-send", "24", "--phase", "b") == []


# Which connections are split, and whether the others go to two databases by turns.
POOLERS: dict[str, tuple[Callable[[int], bool], bool]] = {
    "splits every transaction": (lambda _: True, False),
    "splits those of one connection": (lambda number: number == 0, False),
    "spreads connections over servers": (lambda _: False, True),
}


@pytest.mark.parametrize("pooler", POOLERS)
def test_a_pooler_under_which_locks_only_seem_to_hold_is_found_out(
    runner: Runner, server: Server, template: str, database_url: str, pooler: str
) -> None:
    """Two runs would work at once there."""
    target = parse_dsn(database_url)
    if target.get("password"):
        pytest.skip("the stand-in for a pooler knows no passwords")
    split, spread = POOLERS[pooler]
    with server.new_database(template) as other:
        databases = [target["dbname"], other] if spread else []
        with Splitter(target, split=split, databases=databases) as splitter:
            pooled = make_dsn(**{**target, "host": "127.0.0.1", "port": str(splitter.port), "sslmode": "disable"})
            document = checked(runner.run("--preflight", DATABASE_URL=pooled))
    assert document["db_ok"] is False
    assert codes(document["errors"]) == ["locks.do_not_hold"]


def test_a_proxy_that_changes_nothing_is_fine(runner: Runner, database_url: str) -> None:
    target = parse_dsn(database_url)
    if target.get("password"):
        pytest.skip("the stand-in for a pooler knows no passwords")
    with Splitter(target, split=lambda _: False) as splitter:
        pooled = make_dsn(**{**target, "host": "127.0.0.1", "port": str(splitter.port), "sslmode": "disable"})
        document = checked(runner.run("--preflight", DATABASE_URL=pooled))
    assert (document["db_ok"], document["errors"]) == (True, [])
