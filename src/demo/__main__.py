"""`python -m src.demo`: the engine on real history, from an empty database to messages in files.

One day: the evening run of that day, and the run of the next morning, which brings the digests. Several
days: one run each evening.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta

from src import console
from src.console import Line, Screen, State
from src.demo import story
from src.demo.history import History
from src.demo.replay import EVENING, MORNING, DaySummary, Engine
from src.demo.world import World, at
from src.errors import Finding, UsageError
from src.ops.command import concluded

DEFAULT_DAY = date(2022, 3, 8)
"""The United States ban Russian oil; Brent settles at its highest since 2008."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo with these arguments; the exit code."""
    return concluded(lambda: _main(_parser().parse_args(argv)))


def _main(options: argparse.Namespace) -> int:
    history = History()
    first, last = _days(options, history)
    screen = Screen(record=options.svg is not None)
    _show(screen, history, first, last)
    if options.svg:
        screen.save_picture(options.svg, "invoke demo")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.demo", description="The engine on real history.")
    parser.add_argument("--as-of", metavar="DAY", help=f"one day (default {DEFAULT_DAY})")
    parser.add_argument("--from", dest="first", metavar="DAY", help="replay from this day, a run a day …")
    parser.add_argument("--to", dest="last", metavar="DAY", help="… to this one")
    parser.add_argument("--svg", metavar="FILE", help="also save the screen as a picture")
    return parser


def _days(options: argparse.Namespace, history: History) -> tuple[date, date]:
    """The first and the last day. Raises UsageError for anything that history cannot tell."""
    if options.as_of and (options.first or options.last):
        raise UsageError(Finding("usage", "say --as-of, or --from and --to"))
    if bool(options.first) != bool(options.last):
        raise UsageError(Finding("usage", "--from and --to belong together"))
    try:
        first = date.fromisoformat(options.first or options.as_of or DEFAULT_DAY.isoformat())
        last = date.fromisoformat(options.last) if options.last else first
    except ValueError:
        raise UsageError(Finding("usage", "a day looks like 2022-03-08")) from None
    if not history.first_day <= first <= last <= history.last_day:
        limits = f"from {history.first_day} to {history.last_day}, the first before the last"
        raise UsageError(Finding("usage", f"the data under examples/ tells days {limits}"))
    return first, last


def _show(screen: Screen, history: History, first: date, last: date) -> None:
    began = time.monotonic()
    world = World.create(history, at(first, EVENING))
    engine = Engine(world.url)
    engine.empty_outbox()
    if first > history.first_day:
        world.live_through(first - timedelta(days=1))  # indices compare with the day before
    _done(
        screen, "embedded PostgreSQL in .postgres/: a new database, migrated, with invented users of every plan", began
    )
    began = time.monotonic()
    checked = engine.preflight(at(first, EVENING))
    _done(screen, f"preflight: {len(checked['errors'])} errors, {len(checked['warnings'])} warnings", began)
    began = time.monotonic()
    if first == last:
        _one_day(world, engine, first)
        _done(screen, f"runs of {first} at {EVENING:%H:%M} and of the next morning at {MORNING:%H:%M} UTC", began)
    else:
        summaries = _replay(world, engine, first, last)
        _done(screen, f"{len(summaries)} runs, one each day at {EVENING:%H:%M} UTC", began)
        console.print_table(story.days_table(summaries), screen)
    alerts, evening = world.alerts(last), at(last, EVENING)
    health = engine.health(at(last + timedelta(days=1), MORNING) if first == last else evening)
    console.print_table(story.alerts_table(world, alerts), screen)
    deliveries = world.deliveries(last)
    people = story.people_table(deliveries, engine.outbox, lambda user_id: world.nearest_miss(user_id, alerts, evening))
    console.print_table(people, screen)
    screen.print(
        f"Health: {health['status']}. Every message is a file in {engine.outbox}/: nothing was sent to anybody."
    )


def _one_day(world: World, engine: Engine, day: date) -> None:
    world.live_through(day)
    engine.run(at(day, EVENING))
    engine.run(at(day + timedelta(days=1), MORNING))


def _replay(world: World, engine: Engine, first: date, last: date) -> list[DaySummary]:
    summaries: list[DaySummary] = []
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    with console.progress_bar() as advance:
        for done, day in enumerate(days):
            advance(f"{day}", done, len(days))
            world.live_through(day)
            summaries.append(DaySummary.of(day, engine.run(at(day, EVENING))))
    return summaries


def _done(screen: Screen, title: str, began: float) -> None:
    console.print_lines([Line(State.GOOD, f"{title} ({time.monotonic() - began:.1f} s)")], screen)


if __name__ == "__main__":
    sys.exit(main())
