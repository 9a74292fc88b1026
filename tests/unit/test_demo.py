"""The demo's people reach nobody, and its tables tell what happened to them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from src.alerts.models import AlertType
from src.demo import story
from src.demo.people import PEOPLE
from src.demo.replay import DaySummary
from src.demo.world import Delivery

ROWS = [person.row() for person in PEOPLE]


def test_there_is_somebody_on_every_plan() -> None:
    assert {person.plan for person in PEOPLE} == {"free", "personal", "trader", "pro", "enterprise"}


def test_addresses_are_under_example_com() -> None:
    assert all(re.fullmatch(r"[a-z]+\.\d+@example\.com", row["email"]) for row in ROWS)


def test_numbers_are_from_the_range_that_is_reserved_for_fiction() -> None:
    numbers = [row["phone_number"] for row in ROWS if row["phone_number"]]
    assert numbers
    assert all(re.fullmatch(r"\+1\d{3}55501\d\d", number) for number in numbers)


def test_chat_ids_are_none_that_telegram_gives() -> None:
    chats = [int(row["telegram_chat_id"]) for row in ROWS if row["telegram_chat_id"]]
    assert chats
    assert all(2**52 < chat < 10**16 for chat in chats)


def test_all_alert_types_are_asked_for_by_somebody() -> None:
    assert {interest.alert_type for person in PEOPLE for interest in person.interests} == set(AlertType)


def delivery(user_id: int, alert_id: int, **columns: Any) -> Delivery:
    defaults = {"channel": "email", "kind": "instant", "status": "sent", "reason": None, "file": None}
    return Delivery(user_id, alert_id, **{**defaults, **columns})


WHY = "no wish for {}".format


def test_everybody_is_in_the_table_of_people_also_who_got_nothing() -> None:
    table = story.people_table([], Path("outbox"), WHY)
    assert [row[0] for row in table.rows] == [f"{person.id} {person.plan}" for person in PEOPLE]
    assert [row[2] for row in table.rows] == [f"nothing; nearest: no wish for {person.id}" for person in PEOPLE]


def test_messages_of_one_kind_share_a_row_that_names_a_file() -> None:
    rows = [
        delivery(5, 1, file="delivery-9.eml"),
        delivery(5, 2, file="delivery-10.eml"),
        delivery(5, 1, channel="sms", status="skipped", reason="missing_destination"),
        delivery(5, 3, channel="telegram", kind="digest", status="queued"),
    ]
    table = story.people_table(rows, Path("outbox"), WHY)
    first, second, third = [row for row in table.rows if row[0] in ("5 pro", "")]
    assert first[2:] == ("mail", "1, 2", "delivery-9.eml +1")
    assert second[2:] == ("SMS (skipped: missing destination)", "1", "")
    assert third[2:] == ("Telegram digest: the plan has no instants (waiting)", "3", "")


def test_alerts_in_one_digest_count_as_one_file() -> None:
    rows = [delivery(2, number, kind="digest", file="digest-1.eml") for number in (1, 2, 3)]
    (row,) = [row for row in story.people_table(rows, Path("outbox"), WHY).rows if row[0] == "2 free"]
    assert row[2:] == ("mail digest: the plan has no instants", "1, 2, 3", "digest-1.eml")


def test_a_digest_says_why_it_is_one() -> None:
    def got(user_id: int, *rows: Delivery) -> list[object]:
        return [row[2] for row in story.people_table(rows, Path("outbox"), WHY).rows if row[3]]

    digest = {"kind": "digest", "file": "digest-1.eml"}
    assert got(8, delivery(8, 1, **digest)) == ["mail digest, as chosen"]
    beyond = "mail digest: beyond the plan's instants of the day"
    assert got(3, delivery(3, 1), delivery(3, 2, **digest)) == ["mail", beyond]


def test_a_day_is_summed_up_from_the_document_of_its_run() -> None:
    counts: dict[str, dict[str, Any]] = {
        "a": {"events_created": 7, "events_skipped": 1},
        "b": {"moved_to_digest": 2, "deliveries_skipped_quota": 3},
        "d": {"digest_items_attached": 9},
        "c": {"deliveries": {"sent": 35}, "digests": {"sent": 4}},
    }
    document = {"phases": [{"phase": phase, "counts": found} for phase, found in counts.items()]}
    summary = DaySummary.of(date(2022, 3, 8), document)
    (row,) = story.days_table([summary]).rows
    assert row == ("Tue 08 Mar 2022", 7, 1, 35, 2, 3, 4, 9)
