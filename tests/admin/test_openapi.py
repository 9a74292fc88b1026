"""The admin API holds what its OpenAPI description promises, to a fuzzer and on a day's data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import schemathesis

from src.alerts.models import ChannelName
from src.alerts.unsubscribe import unsubscribe_url
from tests.serving import ENGINE, TOKEN, Client, api_settings


def test_a_fuzzer_finds_nothing_that_is_not_described(client: Client, tmp_path: Path) -> None:
    """Also that each route wants the token, that other methods are refused, and that bad values are."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{client.url}{ENGINE}/openapi.json"]
    options = ["--header", f"x-internal-token: {TOKEN}", "--checks", "all", "--max-examples", "25", "--no-color"]
    options += ["--generation-deterministic"]
    fuzzer = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert fuzzer.returncode == 0, fuzzer.stdout + fuzzer.stderr
    assert "8 selected / 8 total" in fuzzer.stdout


def test_answers_on_real_data_are_as_described(client: Client) -> None:
    """What a fuzzer cannot guess: ids of runs and links."""
    headers = {"x-internal-token": TOKEN}
    described = schemathesis.openapi.from_url(f"{client.url}{ENGINE}/openapi.json", headers=headers)
    link = unsubscribe_url(api_settings(None), 1, ChannelName.EMAIL)
    assert link is not None
    runs = client.get("runs?limit=200").document["runs"]
    cases = [described[f"{ENGINE}/{path}"]["GET"].Case() for path in ("runs", "health", "activity", "metrics")]
    one = described[f"{ENGINE}/runs/{{run_id}}"]["GET"]
    cases += [one.Case(path_parameters={"run_id": run["run_id"]}) for run in runs]
    token = {"token": link.rpartition("/")[2]}
    links = described["/alerts/unsubscribe/{token}"]
    cases += [links[method].Case(path_parameters=token) for method in ("GET", "POST")]
    for case in cases:
        case.call_and_validate(headers=headers)
    assert len(runs) == 144
