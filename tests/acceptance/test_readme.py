"""The README is true: its tasks and files exist, CI runs its commands, and its first message arrives."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from copy import deepcopy

from tasks import namespace
from tests.process import ROOT, Runner
from tests.providers.process import Provider
from tests.providers.smtp import smtp_server

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```$", TEXT, flags=re.MULTILINE | re.DOTALL)
INVOKE = ("--search-root", str(ROOT))


def test_every_task_that_is_told_exists_and_every_task_is_told() -> None:
    told = set(re.findall(r"invoke ([a-z][a-z.-]+)", TEXT)) | set(re.findall(r"`(db\.[a-z]+)`", TEXT))
    assert told == set(namespace.task_names)


def test_every_option_that_is_told_exists() -> None:
    for name, options in re.findall(r"invoke ([a-z][a-z.-]*)((?: --[^`\n]+)?)", TEXT):
        known = deepcopy(namespace[name]).get_arguments()  # which takes the help texts away
        flags = {f"--{flag.replace('_', '-').strip('-')}" for argument in known for flag in argument.names}
        assert set(re.findall(r"--[a-z-]+", options.partition("&&")[0])) <= flags, name


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_variable_that_is_told_is_one() -> None:
    known = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"`([A-Z0-9_]{4,})=", TEXT)) <= known


def test_ci_finds_the_two_commands_where_it_looks() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (look,) = re.findall(r"sed -n '([^']+)' README.md", script)
    commands = subprocess.run(["sed", "-n", look, ROOT / "README.md"], capture_output=True, text=True, check=True)
    first, second, *rest = commands.stdout.splitlines()
    assert first.endswith("pip install -r requirements-dev.txt && invoke demo")
    assert (second, rest) == ("nox", [])


def first_message(runner: Runner, url: str, **live: str) -> None:
    """Follow the README, from an empty database to a message."""
    environ = {"DATABASE_URL": url, "ALERTS_TRANSPORT": "live", **live}

    def invoke(*arguments: str) -> str:
        done = runner.run(*INVOKE, *arguments, module="invoke", **environ)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    invoke("db.migrate")
    invoke("preflight")
    (statements,) = re.findall(r"<<'SQL'\n(.*)SQL\n", BLOCKS[2], flags=re.DOTALL)
    psql = [sys.executable, "-m", "invoke", *INVOKE, "db.psql"]
    subprocess.run(psql, input=statements.encode(), env={**os.environ, **environ}, capture_output=True, check=True)
    assert "every row that the run created or claimed belongs to them" in invoke("rollout", "--user", "1", "--yes")


def test_the_first_message_arrives_through_telegram(
    runner: Runner, empty_database_url: str, provider: Provider
) -> None:
    first_message(runner, empty_database_url, TELEGRAM_BOT_TOKEN="1:token", **provider.environ)
    (message,) = provider.accepted
    assert (message["provider"], message["to"]) == ("telegram", "123456789")
    assert "A first alert" in message["text"]


def test_the_first_message_arrives_through_ones_own_mail_server(runner: Runner, empty_database_url: str) -> None:
    async def send() -> list[str]:
        async with smtp_server() as server:
            mail = {
                "EMAIL_PROVIDER": "smtp",
                "EMAIL_FROM": "you@example.com",
                "SMTP_URL": f"smtp://127.0.0.1:{server.port}",
            }
            await asyncio.to_thread(first_message, runner, empty_database_url, **mail)
            return server.recipients

    assert asyncio.run(send()) == ["you@example.com"]
