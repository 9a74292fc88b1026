"""The schema contract: the words it asks for are the code's, and differences are told with their mend."""

from __future__ import annotations

import pytest

from src.alerts.models import AlertType, ChannelName, Kind, MessageStatus, Period, Phase, RunStatus
from src.db.catalogue import Found, differences
from src.db.contract import CONTRACT, Check, Family, Relation, Unique
from src.db.migrate import DIRECTORY, migrations

RELATIONS = {relation.name: relation for relation in CONTRACT}
WORDS = {
    ("alert_events", "alert_type"): set(AlertType),
    ("user_alert_deliveries", "status"): set(MessageStatus),
    ("user_alert_deliveries", "channel"): {*ChannelName, "account"},
    ("user_alert_deliveries", "delivery_kind"): set(Kind),
    ("user_alert_digests", "status"): set(MessageStatus),
    ("user_alert_digests", "channel"): {"email", "telegram"},
    ("user_alert_digests", "period"): set(Period),
    ("alerts_engine_runs", "phase"): {*Phase, "all"},
    ("alerts_engine_runs", "status"): set(RunStatus),
    ("alerts_engine_run_items", "phase"): set(Phase),
    ("alerts_engine_run_items", "status"): set(RunStatus),
}


def test_the_contract_asks_for_the_words_that_the_code_writes() -> None:
    declared = {(r.name, check.column): set(check.literals) for r in CONTRACT for check in r.checks}
    assert declared == WORDS | {("alert_events", "severity"): {"1", "5"}}


@pytest.mark.parametrize(("table", "column"), WORDS)
def test_the_migration_widens_checks_to_the_same_words(table: str, column: str) -> None:
    text = (DIRECTORY / "0004_checks.sql").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if f"('{table}', '{column}', ARRAY" in line]
    assert set(line.split("ARRAY[")[1].split("]")[0].replace("'", "").split(", ")) == WORDS[table, column]


def test_the_migration_guards_own_rows_under_the_conditions_of_the_contract() -> None:
    text = (DIRECTORY / "0006_unique.sql").read_text(encoding="utf-8").replace("''", "'")
    conditions = [unique.own_rows for relation in CONTRACT for unique in relation.unique if unique.own_rows]
    assert len(conditions) == 2
    assert all(f"'{condition}'" in text for condition in conditions)


def test_migrations_are_numbered_without_gaps_and_say_what_they_are_for() -> None:
    files = migrations()
    assert [step.version for step in files] == list(range(1, len(files) + 1))
    assert all(step.sql.startswith("-- ") for step in files)


RELATION = Relation(
    "alert_events",
    {"id": Family.INTEGER, "status": Family.TEXT, "at": Family.TIME},
    ("SELECT", "INSERT"),
    (Check("status", frozenset({"queued", "sent"})),),
    (Unique(("id", "status"), "own"),),
    (("together", "0001_it"),),
)
FOUND = Found(
    name="alert_events",
    present=True,
    columns={"id": "integer", "status": "character varying", "at": "timestamp without time zone"},
    must_be_given=["status"],
    checks=[
        {"column": "status", "definition": "CHECK ((status = ANY (ARRAY['queued'::text, 'sent'::text, 'x'::text])))"}
    ],
    constraints=["together"],
    uniques=[{"name": "any", "partial": False, "columns": ["id"]}],
    user_columns=[],
    privileges=["SELECT", "INSERT"],
)


def check(definition: str) -> list[dict[str, str]]:
    return [{"column": "status", "definition": definition}]


def index(name: str, *, partial: bool, columns: list[str]) -> list[dict[str, object]]:
    return [{"name": name, "partial": partial, "columns": columns}]


CASES = {
    "as it should be": (FOUND, None),
    "table": (FOUND._replace(present=False), "schema.table_missing: alert_events is missing"),
    "column": (FOUND._replace(columns={"id": "bigint", "status": "text"}), "schema.column_missing: alert_events.at"),
    "type": (
        FOUND._replace(columns={**FOUND.columns, "at": "date"}),
        "schema.column_type: alert_events.at is date, not timestamp with time zone",
    ),
    "no check": (FOUND._replace(checks=[]), "schema.check_missing: alert_events.status has no CHECK"),
    "check on something else": (
        FOUND._replace(checks=check("CHECK ((status <> 'queued'::text))")),
        "schema.check_missing: alert_events.status has no CHECK",
    ),
    "no constraint": (
        FOUND._replace(constraints=["other"]),
        "schema.check_missing: alert_events has no valid constraint together: run src/db/migrations/0001_it.sql again,"
        " then ALTER TABLE alert_events VALIDATE CONSTRAINT together",
    ),
    "narrow check": (
        FOUND._replace(checks=check("CHECK ((status = 'queued'::text))")),
        "schema.check_narrow: the CHECK on alert_events.status refuses sent",
    ),
    "check widened by the migration": (
        FOUND._replace(checks=check("CHECK (((status = 'queued'::text) OR (status = ANY ('{queued,sent}'::text[]))))")),
        None,
    ),
    "unique on more columns": (
        FOUND._replace(uniques=index("any", partial=False, columns=["id", "status", "at"])),
        "schema.unique_missing: alert_events has no unique constraint on (id, status)",
    ),
    "unique on somebody's rows": (
        FOUND._replace(uniques=index("any", partial=True, columns=["id", "status"])),
        "schema.unique_missing: alert_events has no unique constraint on (id, status)",
    ),
    "unique on the engine's own rows": (
        FOUND._replace(uniques=index("alert_events_engine_id_key", partial=True, columns=["id", "status"])),
        None,
    ),
    "unknown column to be given": (
        FOUND._replace(must_be_given=["status", "extra"]),
        "schema.column_unfilled: the engine does not fill alert_events.extra",
    ),
    "id without a default": (
        FOUND._replace(must_be_given=["id"]),
        "schema.column_unfilled: the engine does not fill alert_events.id",
    ),
    "user column by name": (
        FOUND._replace(columns={**FOUND.columns, "user_id": "integer"}),
        "schema.user_column: alert_events.user_id names a user",
    ),
    "user column by foreign key": (
        FOUND._replace(user_columns=["owner"]),
        "schema.user_column: alert_events.owner names a user",
    ),
    "may not write": (
        FOUND._replace(privileges=["SELECT"]),
        "database.read_only: the role lacks INSERT on alert_events: GRANT INSERT ON alert_events TO that role",
    ),
    "may not read": (
        FOUND._replace(privileges=[]),
        "database.no_access: the role lacks SELECT, INSERT on alert_events",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_told_and_nothing_else(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.db.catalogue.CONTRACT", (RELATION,))
    found, expected = CASES[case]
    told = [str(finding) for finding in differences({found.name: found}, pending=False)]
    assert len(told) == (0 if expected is None else 1)
    assert expected is None or told[0].startswith(expected)


def test_before_the_migrations_the_mend_of_each_difference_is_to_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.db.catalogue.CONTRACT", (RELATION,))
    (finding,) = differences({"alert_events": FOUND._replace(checks=[])}, pending=True)
    assert finding.text.endswith(": run invoke db.migrate")
