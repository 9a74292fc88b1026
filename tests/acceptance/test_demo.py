"""The demo as a newcomer runs it: from nothing to tables and mails on disk, whatever is configured here."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.process import ROOT, Finished, Runner, wait_for
from tests.terminal import on_terminal

INVOKE = ("--search-root", str(ROOT), "demo")
HOSTILE = {
    "DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/production",
    "ALERTS_TRANSPORT": "live",
    "ALERTS_SEND_ALLOWLIST_USER_IDS": "not,a,list",
    "ALERTS_V2_ENABLED": "maybe",
    "CI": "true",
}


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A directory with a `.env` of somebody's own, and variables that must not matter."""
    directory = tmp_path_factory.mktemp("newcomer")
    (directory / ".env").write_text("ALERTS_SEND_ALLOWLIST_USER_IDS=999\nALERTS_TIMEZONE=Mars/Olympus\n")
    return Runner(directory, HOSTILE)


def demo(newcomer: Runner, *arguments: str) -> Finished:
    return newcomer.run(*INVOKE, *arguments, module="invoke", timeout=120)


@pytest.fixture(scope="module")
def day(newcomer: Runner) -> Finished:
    """The demo of 8 March 2022, in a directory where there was one before; it may take 30 seconds."""
    old = newcomer.directory / "outbox" / "demo" / "delivery-1000.eml"
    old.parent.mkdir(parents=True)
    old.write_text("of the last demo")
    return newcomer.run(*INVOKE, module="invoke", timeout=30, COLUMNS="200")


def rows(table: str) -> list[list[str]]:
    """The cells of every line of a table."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if line.startswith("│")
    ]


def test_it_ends_well_and_is_healthy(day: Finished) -> None:
    assert (day.exit_code, day.stderr) == (0, "")
    assert "preflight: 0 errors, 0 warnings" in day.stdout
    assert "Health: pass." in day.stdout


def test_alerts_are_traced_to_real_events_and_prices(day: Finished) -> None:
    table = day.stdout.partition("Alerts")[2].partition("Who would")[0]
    text = " ".join(" ".join(cells) for cells in rows(table))
    assert "United States bans imports of Russian oil and gas" in text
    assert "Brent at 133.18 $/barrel" in text
    assert "5.40 % of newspaper articles in 2022-02" in text


def test_everybody_is_listed_with_what_they_would_have_got_and_the_file_to_open(
    newcomer: Runner, day: Finished
) -> None:
    table = rows(day.stdout.partition("Who would")[2])
    by_user = {cells[0]: cells for cells in table if cells[0]}
    assert len(by_user) == 10
    assert by_user["2 free"][2:] == ["mail digest: the plan has no instants", "1", "digest-1.eml"]
    assert by_user["9 trader"][2].startswith("nothing; nearest: no. 7")
    outbox = newcomer.directory / "outbox" / "demo"
    named = [cells[4].split()[0] for cells in table if cells[4]]
    assert len(named) > 8
    assert all((outbox / name).exists() for name in named)


def test_the_files_are_messages_to_the_invented_users(newcomer: Runner, day: Finished) -> None:
    outbox = newcomer.directory / "outbox" / "demo"
    mails = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in outbox.glob("*.eml")]
    assert mails
    assert all(str(mail["To"]).endswith("@example.com") for mail in mails)
    assert any("bans imports of Russian oil" in str(mail["Subject"]) for mail in mails)
    others = [json.loads(file.read_text()) for file in outbox.glob("*.json")]
    assert {message["channel"] for message in others} == {"telegram", "sms"}
    assert not (outbox / "delivery-1000.eml").exists()


def test_days_are_replayed_one_run_each(newcomer: Runner) -> None:
    done = demo(newcomer, "--from", "2022-02-22", "--to", "2022-02-25")
    assert done.exit_code == 0
    table = rows(done.stdout.partition("Day by day")[2].partition("Alerts")[0])
    assert [cells[0] for cells in table] == ["Tue 22 Feb 2022", "Wed 23 Feb 2022", "Thu 24 Feb 2022", "Fri 25 Feb 2022"]
    new, again, instants, moved, _, digests, items = ([int(cells[column]) for cells in table] for column in range(1, 8))
    assert all(new)
    assert again[0] == 0
    assert sum(again) >= 2  # the news of the 22nd and of the 24th, a day later
    assert all(instants)
    assert all(moved)  # beyond a quota
    assert digests[0] == items[0] == 0
    assert all(digests[1:])
    files = len(list((newcomer.directory / "outbox" / "demo").iterdir()))
    assert files == sum(instants) + sum(digests)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--as-of", "yesterday"],
        ["--as-of", "2012-01-01"],
        ["--as-of", "2030-01-01"],
        ["--from", "2022-03-02"],
        ["--from", "2022-03-02", "--to", "2022-03-01"],
        ["--as-of", "2022-03-02", "--to", "2022-03-03"],
    ],
)
def test_days_that_cannot_be_told_are_wrong_usage(arguments: list[str], newcomer: Runner) -> None:
    done = demo(newcomer, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "✗ usage" in done.stderr


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_its_server(number: signal.Signals, exit_code: int, newcomer: Runner) -> None:
    days = ("--from", "2022-01-01", "--to", "2022-03-12")
    process = newcomer.start(*INVOKE, *days, module="invoke", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    while "preflight" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    assert wait_for(process, 20).exit_code == exit_code
    assert not (newcomer.directory / ".postgres" / "postmaster.pid").exists()


def picture(file: Path) -> str:
    """What a picture shows, without the time that things took."""
    text = "\n".join(re.findall(r"<text [^>]*>([^<]*)</text>", file.read_text(encoding="utf-8")))
    return re.sub(r"\d+\.\d&#160;s", "N&#160;s", text)


def on_screen(newcomer: Runner, *arguments: str, answers: Mapping[str, str] | None = None) -> Finished:
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **newcomer.environ, "TERM": "xterm"}
    command = [sys.executable, "-m", "invoke", *INVOKE, *arguments]
    return on_terminal(command, cwd=newcomer.directory, environ=environ, answers=answers or {}, timeout=120)


def test_a_replay_on_a_terminal_shows_a_bar(newcomer: Runner) -> None:
    done = on_screen(newcomer, "--from", "2022-02-23", "--to", "2022-02-24")
    assert done.exit_code == 0
    assert re.search(r"2022-02-24.*━.* 50%", done.stdout)


def test_ctrl_c_ends_it_without_a_word(newcomer: Runner) -> None:
    days = ("--from", "2022-01-01", "--to", "2022-03-12")
    done = on_screen(newcomer, *days, answers={"preflight": "\x03"})
    assert done.exit_code == 130
    assert not re.search("Traceback|✗", done.stdout)
    assert not (newcomer.directory / ".postgres" / "postmaster.pid").exists()


def test_another_demo_begins_anew_and_shows_what_the_picture_in_the_readme_shows(newcomer: Runner) -> None:
    assert demo(newcomer, "--svg", "demo.svg").exit_code == 0
    shown, ours = picture(newcomer.directory / "demo.svg"), picture(ROOT / "examples" / "demo.svg")
    assert shown == ours, "stale: invoke demo --svg examples/demo.svg"
    (newcomer.directory / "demo.svg").unlink()


def test_it_leaves_nothing_but_its_two_directories(newcomer: Runner, day: Finished) -> None:
    assert {path.name for path in newcomer.directory.iterdir()} == {".env", ".postgres", "outbox"}
    assert {path.name for path in (newcomer.directory / "outbox").iterdir()} <= {"demo"}
