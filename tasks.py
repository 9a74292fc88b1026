"""Tasks for `invoke`: they start this project's commands, and hand on exit codes and signals. The logic is in src/."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from src.ops import child, show


def _finish(exit_code: int) -> None:
    if exit_code:
        raise Exit(code=exit_code)


def _module(name: str, *arguments: str) -> None:
    _finish(child.run(child.python(name, *arguments)).exit_code)


def _flags(**options: object) -> list[str]:
    """Options that were given, as flags: `max_send=5` is `--max-send 5`, True is the flag alone."""
    flags: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            flags.append(flag)
        elif isinstance(value, list):
            flags += [part for item in value for part in (flag, item)]
        elif value not in (None, False):
            flags += [flag, str(value)]
    return flags


@task(
    help={
        "phase": "the run that is meant to follow: a, b, c, d or all",
        "dry_run": "that run is to be a dry run",
        "json": "the document, also on a terminal",
    }
)
def preflight(_: Context, phase: str = "all", dry_run: bool = False, json: bool = False) -> None:
    """Check everything that a run needs. Sends nothing, changes nothing."""
    _finish(show.preflight(*_flags(phase=phase, dry_run=dry_run), as_json=json))


@task(help={"check": "exit code 1 if the status is fail", "json": "the document, also on a terminal"})
def health(_: Context, check: bool = False, json: bool = False) -> None:
    """Show how the engine is doing: the queue, the day, the last run."""
    _finish(show.health(as_json=json, check=check))


@task(
    iterable=["user"],
    help={
        "phase": "a generate, b fan out, c send, d build digests, or all",
        "dry_run": "simulate: the counts of a real run, nothing changed or sent",
        "since_hours": "a and b look back this long (24)",
        "batch_size": "rows per claim in c (200)",
        "max_send": "send at most so many messages",
        "user": "only this user id; may be repeated",
        "log_json": "logs as JSON, the result as one JSON document",
    },
)
def run(
    _: Context,
    user: Sequence[str],
    phase: str | None = None,
    dry_run: bool = False,
    since_hours: str | None = None,
    batch_size: str | None = None,
    max_send: str | None = None,
    log_json: bool = False,
) -> None:
    """Run the engine once."""
    flags = _flags(
        phase=phase, dry_run=dry_run, since_hours=since_hours, batch_size=batch_size, max_send=max_send,
        allowlist=",".join(user) or None, log_json=log_json,
    )  # fmt: skip
    _module("src.alerts.runner", *flags)


@task(
    iterable=["user"],
    help={
        "user": "a user id; may be repeated",
        "plan": "everybody on this plan, or --percent of them",
        "percent": "a stable share of users; a larger one holds the smaller one",
        "max_send": "send at most so many messages (10)",
        "yes": "do not ask before the live run",
        "history": "show earlier rollouts instead",
    },
)
def rollout(
    _: Context,
    user: Sequence[str],
    plan: str | None = None,
    percent: str | None = None,
    max_send: str | None = None,
    yes: bool = False,
    history: bool = False,
) -> None:
    """Let a few people through first: preflight, dry run, question, live run, proof that nobody else was touched."""
    flags = _flags(user=list(user), plan=plan, percent=percent, max_send=max_send, yes=yes, history=history)
    _module("src.ops.rollout", *flags)


@task(
    help={
        "as_of": "one day, such as 2022-03-08 (the default)",
        "from_": "replay from this day, one run a day",
        "to": "the last day of the replay",
        "svg": "also save what is shown as a picture in this file",
    }
)
def demo(
    _: Context, as_of: str | None = None, from_: str | None = None, to: str | None = None, svg: str | None = None
) -> None:
    """Show the engine on real history: its own PostgreSQL, invented users, messages as files."""
    _module("src.demo", *_flags(as_of=as_of, **{"from": from_}, to=to, svg=svg))


@task(help={"user": "a user id", "event": "the id of an alert event", "json": "as a JSON document"})
def explain(_: Context, user: str, event: str, json: bool = False) -> None:
    """Say why a user hears of an event or not, gate by gate and channel by channel."""
    _module("src.ops.reach", "explain", *_flags(user=user, event=event, json=json))


@task(help={"since_hours": "events of so many hours", "yes": "do not ask before fanning out"})
def backfill(_: Context, since_hours: str, yes: bool = False) -> None:
    """Fan out events again that the environment's allowlist kept from the rest; shows how many first."""
    _module("src.ops.reach", "backfill", *_flags(since_hours=since_hours, yes=yes))


@task(help={"run": "one run with its phases", "limit": "how many (20)"})
def runs(_: Context, run: str | None = None, limit: str | None = None) -> None:
    """Show what ran, newest first, or one run in detail."""
    _module("src.ops.history", "runs", *_flags(run=run, limit=limit))


@task(
    help={
        "kind": "deliveries or digests",
        "since_hours": "look back this long (24)",
        "yes": "do not ask before queueing",
    }
)
def retry_failed(_: Context, kind: str = "deliveries", since_hours: str | None = None, yes: bool = False) -> None:
    """Queue again what failed for transient reasons; shows how many first."""
    _module("src.ops.history", "retry-failed", *_flags(kind=kind, since_hours=since_hours, yes=yes))


@task(help={"older_than": "an age in days, such as 90d"})
def prune(_: Context, older_than: str) -> None:
    """Delete finished rows that are old; what waits, and what digests refer to, stays."""
    _module("src.ops.history", "prune", *_flags(older_than=older_than))


@task(help={"host": "address to listen on (127.0.0.1: this machine only)", "port": "port (8000)"})
def serve(_: Context, host: str | None = None, port: str | None = None) -> None:
    """Serve the admin API and the dashboard until Ctrl-C."""
    _module("src.api.serve", *_flags(host=host, port=port))


@task
def doctor(_: Context) -> None:
    """Check this work place: Python, packages, Docker, ports, .env."""
    _module("src.ops.doctor")


@task(
    help={
        "plan": "print the SQL instead of running it",
        "include_old": "send what was queued before the engine took over, too",
    }
)
def migrate(_: Context, plan: bool = False, include_old: bool = False) -> None:
    """Bring the database to what this code needs, by additions only."""
    _module("src.ops.database", "migrate", *_flags(plan=plan, include_old=include_old))


@task
def status(_: Context) -> None:
    """Show what is applied, what is missing and what stands in the way."""
    _module("src.ops.database", "status")


@task
def psql(_: Context) -> None:
    """Open a prompt on the database."""
    _module("src.ops.database", "psql")


namespace = Collection(
    preflight, health, run, rollout, demo, runs, retry_failed, explain, backfill, prune, serve, doctor,
    db=Collection("db", migrate, status, psql),
)  # fmt: skip
