"""The admin API over real HTTP: what it answers, whom it refuses, and how it fails."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extras import Json

from src.alerts.health import health
from src.alerts.rollout import Rollout
from src.errors import Finding
from tests.factories import NOW, World
from tests.serving import ENGINE, TOKEN, Answer, Client, api_settings, serving

PATHS = ("runs", "runs/1", "health", "activity", "metrics", "openapi.json")
RUN = {"run_id": "5f1d", "phase": "all", "status": "success", "started_at": NOW, "duration_ms": 2210}
COUNTS = {"sent": 12, "failed": 0, "retried": 1, "skipped": 1, "stop_reason": None}


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    with serving(api_settings(database_url), warnings=(Finding("config.url_unusable", "…"),)) as client:
        yield client


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer.body
    document = answer.document
    assert (document["status"], document["code"]) == (status, code)
    assert document.keys() == {"type", "title", "status", "detail", "code"}
    assert document["detail"]


def test_runs_are_listed_newest_first_and_as_many_as_asked(client: Client, world: World) -> None:
    for number in range(3):
        started = NOW + timedelta(minutes=number)
        world.insert("alerts_engine_runs", **{**RUN, "run_id": f"run-{number}", "started_at": started}, counts=COUNTS)
    runs = client.get("runs?limit=2").document["runs"]
    assert [run["run_id"] for run in runs] == ["run-2", "run-1"]
    assert runs[0]["counts"] == COUNTS
    assert runs[0]["started_at"] == "2026-01-16T12:02:00Z"


def test_a_run_comes_with_its_phases(client: Client, world: World) -> None:
    world.insert("alerts_engine_runs", **RUN)
    for minute, phase in enumerate("abdc"):
        started = NOW + timedelta(minutes=minute)
        item = {"run_id": "5f1d", "phase": phase, "status": "success", "started_at": started}
        world.insert("alerts_engine_run_items", **item, counts={"events_created": minute})
    document = client.get("runs/5f1d").document
    assert document["run"]["duration_ms"] == 2210
    assert [phase["phase"] for phase in document["phases"]] == ["a", "b", "d", "c"]
    assert document["phases"][3]["counts"] == {"events_created": 3}


def test_health_is_the_documents(client: Client, world: World, database_url: str) -> None:
    world.delivery(world.user(), world.alert_event(fanned_out=True))
    world.insert("alerts_engine_runs", **RUN, counts=COUNTS)
    settings = api_settings(database_url)
    expected = health(settings, [], [Finding("config.url_unusable", "…")], Rollout.combine(None, 1000), NOW)
    assert client.get("health").document == expected
    assert expected["last_run"]["run_id"] == "5f1d"


def test_health_looks_through_the_allowlist_of_the_server(database_url: str, world: World) -> None:
    world.delivery(world.user(), world.alert_event(fanned_out=True))
    with serving(api_settings(database_url, allowlist=frozenset({999}))) as client:
        assert client.get("health").document["held"] == 1


def test_activity_adds_up_runs_by_hour_and_channel(client: Client, world: World) -> None:
    for run_id, minutes, sent in (("a", 0, 3), ("b", 61, 4), ("c", 110, 5), ("old", 23 * 60 + 1, 100)):
        started = NOW - timedelta(minutes=minutes)
        world.insert("alerts_engine_runs", **{**RUN, "run_id": run_id, "started_at": started})
        counts: dict[str, Any] = {"by_channel": {"email": {"sent": sent, "failed": 1}, "fax": {"sent": 9}, "sms": None}}
        world.insert("alerts_engine_run_items", run_id=run_id, phase="c", status="success", counts=counts)
        world.insert("alerts_engine_run_items", run_id=run_id, phase="a", status="success", counts=counts)
    hours = client.get("activity").document["hours"]
    assert [hour["start"] for hour in (hours[0], hours[-1])] == ["2026-01-15T13:00:00Z", "2026-01-16T12:00:00Z"]
    sent = {hour["start"][11:13]: hour["channels"]["email"] for hour in hours if hour["channels"]["email"]["sent"]}
    assert sent == {"12": {"sent": 3, "failed": 1}, "10": {"sent": 9, "failed": 2}}


@pytest.mark.parametrize("counts", [None, [], "x", 7, {"by_channel": []}, {"by_channel": {"email": {"sent": "many"}}}])
def test_activity_survives_what_other_software_left(client: Client, world: World, counts: Any) -> None:
    world.insert("alerts_engine_runs", **RUN)
    statement = "INSERT INTO alerts_engine_run_items (run_id, phase, status, counts) VALUES ('5f1d', 'c', 'x', %(c)s)"
    world.execute(statement, c=None if counts is None else Json(counts))
    answer = client.get("activity")
    assert answer.status == 200
    assert not any(channel["sent"] for hour in answer.document["hours"] for channel in hour["channels"].values())


def test_failures_are_told_by_reason_and_code_with_a_mend(client: Client, world: World) -> None:
    event = world.alert_event(fanned_out=True)
    for _ in range(2):
        world.delivery(
            world.user(), event, status="failed", failure_reason="timeout", last_error="brevo timeout", claimed_at=NOW
        )
    world.digest(1, status="failed", failure_reason="blocked_by_user", last_error="telegram 403", channel="telegram")
    world.delivery(1, event, "account", status="failed", last_error="anna@example.com")
    world.delivery(2, event, "sms", status="failed", last_error="+31612345678", adopted=True)
    world.delivery(1, event, "sms", status="failed", failure_reason=None)
    answer = client.get("activity")
    assert b"example.com" not in answer.body
    assert b"+316" not in answer.body
    failures = [(row["queue"], row["channel"], row["reason"], row["count"]) for row in answer.document["failures"]]
    assert failures == [
        ("deliveries", "email", "timeout", 2),
        ("deliveries", "sms", "unknown", 1),
        ("digests", "telegram", "blocked_by_user", 1),
    ]
    assert answer.document["mends"].keys() == {"timeout", "blocked_by_user"}


def test_metrics_are_what_prometheus_reads(client: Client, world: World) -> None:
    event = world.alert_event(fanned_out=True, created_at=NOW - timedelta(minutes=20))
    world.delivery(world.user(), event, created_at=NOW - timedelta(minutes=20))
    world.delivery(world.user(), event, status="sent")
    world.insert("alerts_engine_runs", **RUN, counts=COUNTS, finished_at=NOW)
    world.insert("alerts_engine_run_items", run_id="5f1d", phase="c", status="success", duration_ms=1500)
    answer = client.get("metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert all(family.type == "gauge" and family.documentation for family in families)
    values = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    assert values["alerts_deliveries", "email", "instant", "sent"] == 1
    assert values["alerts_oldest_queued_seconds", "deliveries"] == 1200
    assert ("alerts_oldest_queued_seconds", "digests") not in values
    assert values["alerts_last_success_timestamp_seconds",] == NOW.timestamp()
    assert values["alerts_last_run_duration_seconds",] == 2.21
    assert values["alerts_last_run_phase_duration_seconds", "c"] == 1.5
    assert values["alerts_last_run_messages", "sent"] == 12
    assert [values["alerts_health", status] for status in ("pass", "warn", "fail")] == [0, 1, 0]


def test_metrics_of_a_new_database_are_read_too(client: Client) -> None:
    families = list(text_string_to_metric_families(client.get("metrics").body.decode()))
    assert {family.name for family in families} >= {"alerts_health", "alerts_deliveries", "alerts_held"}


def test_retrying_reports_unless_it_is_told_to_execute(client: Client, world: World) -> None:
    event = world.alert_event(fanned_out=True)
    failed = world.delivery(world.user(), event, status="failed", failure_reason="timeout", attempts=5)
    world.delivery(world.user(), event, status="failed", failure_reason="invalid_destination")
    status = "SELECT status FROM user_alert_deliveries WHERE id = %(id)s"
    report = {"eligible": {"email": {"timeout": 1}}, "left": {"invalid_destination": 1}, "requeued": 0}
    assert client.post("retry_failed?kind=deliveries").document == report
    assert world.value(status, id=failed) == "failed"
    assert client.post("retry_failed?kind=digests&execute=true").document["requeued"] == 0
    done = client.post("retry_failed?kind=deliveries&since_hours=1&execute=true")
    assert done.document == {**report, "requeued": 1}
    assert world.value(status, id=failed) == "queued"


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_answered_without_the_token(client: Client, path: str) -> None:
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), "é"):
        answer = replace(client, token=token).get(path)
        assert_problem(answer, 401, "api.unauthorized")
        assert "www-authenticate" in answer.headers


def test_retrying_wants_the_token_before_anything_else(client: Client, world: World) -> None:
    delivery = world.delivery(world.user(), world.alert_event(), status="failed", failure_reason="timeout")
    stranger = replace(client, token=None)
    assert_problem(stranger.post("retry_failed?kind=deliveries&execute=true"), 401, "api.unauthorized")
    assert_problem(stranger.post("retry_failed"), 401, "api.unauthorized")
    assert world.value("SELECT status FROM user_alert_deliveries WHERE id = %(id)s", id=delivery) == "failed"


def test_a_token_in_the_address_opens_nothing(client: Client) -> None:
    stranger = replace(client, token=None)
    assert stranger.get(f"runs?x-internal-token={TOKEN}&token={TOKEN}").status == 401


@pytest.mark.parametrize("path", PATHS)
def test_a_server_without_a_token_is_never_open(database_url: str, path: str) -> None:
    with serving(api_settings(database_url, secrets={})) as client:
        for token in (None, "", "None", TOKEN):
            assert_problem(replace(client, token=token).get(path), 503, "api.no_token")


@pytest.mark.parametrize(
    "path",
    [
        "runs?limit=0", "runs?limit=201", "runs?limit=x", "runs?limit=", "runs?limit=99999999999999999999",
        "activity?hours=0", "activity?hours=169", "runs/%00", "runs/a%20b", "runs/" + "a" * 101, "runs/%D9%A4",
    ],
)  # fmt: skip
def test_parameters_are_bounded(client: Client, path: str) -> None:
    assert_problem(client.get(path), 422, "http.invalid")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?kind=users",
        "?kind=digests&since_hours=0",
        "?kind=digests&since_hours=169",
        "?kind=digests&execute=perhaps",
    ],
)
def test_parameters_of_retrying_are_bounded(client: Client, query: str) -> None:
    assert_problem(client.post(f"retry_failed{query}"), 422, "http.invalid")


def test_what_is_not_there_is_a_problem_too(client: Client) -> None:
    assert_problem(client.get("runs/unknown"), 404, "run.unknown")
    assert_problem(client.get("nothing"), 404, "http.not_found")
    assert_problem(client.get("/"), 404, "http.not_found")
    assert_problem(client.get("/docs"), 404, "http.not_found")
    assert_problem(client.get("/openapi.json"), 404, "http.not_found")
    refused = client.ask("DELETE", "runs")
    assert_problem(refused, 405, "http.method")
    assert refused.headers["allow"] == "GET"


def test_an_error_nobody_foresaw_is_a_problem_without_its_text(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("anna@example.com")

    monkeypatch.setattr("src.api.engine.history.list_runs", fail)
    answer = client.get("runs")
    assert_problem(answer, 500, "internal")
    assert "RuntimeError at test_api.py" in caplog.text
    assert "example.com" not in caplog.text + answer.body.decode()


@pytest.mark.parametrize("path", ["health", "runs", "", "dashboard.js", "nothing", "/alerts/unsubscribe/x"])
def test_every_answer_carries_the_security_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS[:-1])
@pytest.mark.parametrize("url", [None, "postgresql://u:secret@127.0.0.1:1/x", "nonsense secret"])
def test_a_database_that_is_down_is_said_at_once(url: str | None, path: str) -> None:
    with serving(api_settings(url)) as client:
        began = time.monotonic()
        answer = client.get(path)
        assert time.monotonic() - began < 1
    assert answer.status == 503
    assert answer.document["code"].startswith("database.")
    assert b"secret" not in answer.body


def test_a_database_that_does_not_answer_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        with serving(api_settings(url)) as client, ThreadPoolExecutor(12) as pool:
            began = time.monotonic()
            answers = list(pool.map(client.get, ["health"] * 12))
            assert time.monotonic() - began < 6
            assert {answer.status for answer in answers} == {503}
            assert {answer.document["code"] for answer in answers} <= {"database.unreachable", "database.busy"}


def test_a_schema_that_is_missing_is_a_problem(empty_database_url: str) -> None:
    with serving(api_settings(empty_database_url)) as client:
        for path in ("health", "runs", "activity"):
            assert_problem(client.get(path), 503, "schema.mismatch")


def test_few_connections_serve_many_requests(client: Client, world: World) -> None:
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        while not done.is_set():
            most = max(most, world.value(count) - 1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(client.get, ["health", "runs", "activity", "metrics"] * 16))
    done.set()
    watcher.join()
    assert {answer.status for answer in answers} == {200}
    assert most <= 8  # a connection that is closed is counted for a moment longer


def test_the_log_names_routes_and_not_addresses(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "src"), serving(api_settings(database_url)) as client:
        client.get("runs?limit=7&token=pasted-secret")
        client.get("/pasted-secret")
        client.get("runs/pasted-secret")
        client.get("/alerts/unsubscribe/pasted-secret")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("src.")]
    assert [line.rpartition(",")[0] for line in lines] == [
        f"GET {ENGINE}/runs 200",
        "GET (no such address) 404",
        f"GET {ENGINE}/runs/{{run_id}} 404",
        "GET /alerts/unsubscribe/{token} 404",
    ]
