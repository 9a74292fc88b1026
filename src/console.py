"""The engine's documents for people, as rich tables and lists.

Import this module only where a person looks: rich takes longer to load than a preflight. Data is never
read as markup. The documents are those of the design's section 3, made by the same code, so their keys
are taken for granted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress
from rich.table import Table as RichTable
from rich.text import Text

from src.alerts.models import Phase, RunStatus

WIDE = 130
Document = Mapping[str, Any]


class State(StrEnum):
    """How a thing stands; the value is the sign that people see."""

    GOOD = "✓"
    DOUBTFUL = "!"
    BAD = "✗"


_STYLES = {State.GOOD: "green", State.DOUBTFUL: "yellow", State.BAD: "bold red"}
_PHASES = {
    Phase.GENERATE: "A generate",
    Phase.FANOUT: "B fan out",
    Phase.DIGEST: "D digests",
    Phase.SEND: "C send",
}
_RUN_STATES = {RunStatus.SUCCESS: State.GOOD, RunStatus.FAILED: State.BAD}
_HEALTH_STATES = {"pass": State.GOOD, "warn": State.DOUBTFUL, "fail": State.BAD}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a doctor's list, and the mend that stands under it."""

    state: State
    title: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Plain cells, None as a dash. `numbers` stand to the right; these and `names` are not broken into lines."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: Sequence[str] = ()
    names: Sequence[str] = ()


class Screen(Console):
    """Prints data as it is, never as markup. Pipes and pictures are `WIDE`, unless COLUMNS says otherwise."""

    def __init__(self, *, stderr: bool = False, record: bool = False) -> None:
        super().__init__(stderr=stderr, record=record, markup=False, highlight=False, emoji=False)
        if record or not (self.is_terminal or "COLUMNS" in os.environ):
            self.width = WIDE

    def save_picture(self, path: str, title: str) -> None:
        """What this screen has shown, as an SVG."""
        self.save_svg(path, title=title, unique_id="screen")


def print_lines(lines: Iterable[Line], screen: Console | None = None) -> None:
    """✓ good, ! doubtful, ✗ bad."""
    out = screen or Screen()
    for line in lines:
        out.print(Text.assemble((line.state, _STYLES[line.state]), " ", line.title))
        if line.mend:
            out.print(Padding.indent(Text(line.mend), 4))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, if that is a terminal: tell it what is under way, how much is done, of how much."""
    with Progress(console=Screen(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("")
        yield lambda title, done, total: progress.update(task, description=title, completed=done, total=total)


def print_table(table: Table, screen: Console | None = None) -> None:
    """A table; without rows nothing."""
    if not table.rows:
        return
    grid = RichTable(title=table.title, title_justify="left", title_style="bold", header_style="bold")
    for column in table.columns:
        justify: Literal["right", "left"] = "right" if column in table.numbers else "left"
        whole = column in (*table.numbers, *table.names)
        grid.add_column(column, justify=justify, no_wrap=whole, overflow="fold")
    for row in table.rows:
        grid.add_row(*("–" if cell is None else str(cell) for cell in row))
    (screen or Screen()).print(grid)


def print_preflight(document: Document, screen: Console | None = None) -> None:
    """The preflight document as a doctor's list."""
    print_lines(_preflight_lines(document), screen)


def print_health(document: Document, screen: Console | None = None) -> None:
    """The health document: the verdict, the queue, the day by channel."""
    out = screen or Screen()
    out.print(_headline(_HEALTH_STATES[document["status"]], f"health: {document['status']}", document["generated_at"]))
    statuses = ("queued", "sending", "sent", "failed", "skipped", "batched")
    rows = [(name, *(counts.get(status) for status in statuses)) for name, counts in _health_counts(document) if counts]
    print_table(Table("Messages", ("what", *statuses), rows, numbers=statuses), out)
    oldest = document["oldest_queued_minutes"]
    out.print(f"Oldest due: delivery {_minutes(oldest['deliveries'])}, digest {_minutes(oldest['digests'])}.")
    out.print(f"Held: {document['held'] or 0}. Stuck in sending: {document['stuck_sending'] or 0}.")
    if last := document["last_run"]:
        totals = in_words(last["totals"]) or "nothing to send"
        out.print(f"Last run: {last['status']}, phase {last['phase']}, {last['started_at']}: {totals}.")
    print_lines(_findings(document), out)


def print_run(document: Document, screen: Console | None = None) -> None:
    """The run document: the outcome, what each phase counted, who got something if an allowlist is active."""
    out = screen or Screen()
    kind = "dry run, nothing was changed or sent" if document["dry_run"] else f"run {document['run_id']}"
    state = _RUN_STATES.get(document["status"], State.DOUBTFUL)
    out.print(_headline(state, f"{document['status']}: phase {document['phase']}", f"{kind}, {_seconds(document)}"))
    rows = [
        (
            _PHASES.get(item["phase"], item["phase"]),
            item["status"],
            _seconds(item),
            in_words(item["counts"]) or "nothing",
        )
        for item in document["phases"]
    ]
    print_table(Table("", ("phase", "status", "took", "counted"), rows, numbers=("took",)), out)
    if document["recipients"]:
        print_table(recipients(document), out)
    out.print(f"In all: {in_words(document['totals']) or 'nothing to send'}.")
    if document["stop_reason"]:
        out.print(f"Stopped by {document['stop_reason']}.")
    print_lines(_findings(document), out)


def recipients(document: Document) -> Table:
    """Who got something, or in a dry run would have: ids, channels and counts, never addresses."""
    title = "Would get" if document["dry_run"] else "Got"
    rows = [(row["user_id"], row["channel"], row["instants"], row["digests"]) for row in document["recipients"]]
    return Table(title, ("user", "channel", "instants", "digests"), rows, numbers=("user", "instants", "digests"))


def in_words(counts: Mapping[str, Any], prefix: str = "") -> str:
    """What is not zero, in words: `deliveries sent 12, digests sent 3`."""
    parts = []
    for key, value in counts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            parts.append(in_words(value, f"{name} "))
        elif isinstance(value, list):
            parts.append(f"{name} {', '.join(map(str, value))}" if value else "")
        elif value:
            parts.append(name if value is True else f"{name} {value}")
    return ", ".join(filter(None, parts))


def _preflight_lines(document: Document) -> Iterator[Line]:
    yield _verdict(document["db_ok"], "the database answers", State.BAD, "the database does not answer")
    yield _verdict(document["migrations_ok"], "the schema is as needed", State.BAD, "the schema is not as needed")
    for channel, configured in document["channels_configured"].items():
        yield _verdict(configured, f"{channel} is configured", State.DOUBTFUL, f"{channel} is not configured")
    rollout = document["rollout"]
    who = f"may reach {_known(rollout['users_eligible'])} of {_known(rollout['users_total'])} users"
    scope = "allowlist active" if rollout["allowlist_active"] else "everybody"
    kind = "dry run" if rollout["dry_run"] else "run"
    cap = f"at most {_known(rollout['max_send_per_run'])} messages"
    yield Line(State.GOOD, f"{kind} of phase {rollout['phase']}: {scope}, {who}, {cap}")
    yield from _findings(document)


def _findings(document: Document) -> Iterator[Line]:
    for state, entries in ((State.DOUBTFUL, document["warnings"]), (State.BAD, document["errors"])):
        for entry in entries:
            code, _, mend = entry.partition(": ")
            yield Line(state, code, mend)


def _health_counts(document: Document) -> Iterator[tuple[str, Mapping[str, int]]]:
    for channel, kinds in (document["deliveries_24h"] or {}).items():
        for kind, counts in kinds.items():
            yield f"{channel} {'instants' if kind == 'instant' else 'for digests'}, 24 h", counts
    for channel, counts in (document["digests_7d"] or {}).items():
        yield f"{channel} digests, 7 days", counts


def _headline(state: State, title: str, detail: str) -> Text:
    return Text.assemble((f"{state} {title}", _STYLES[state]), f"  ({detail})")


def _seconds(item: Document) -> str:
    return f"{item['duration_ms'] / 1000:.1f} s"


def _minutes(value: float | None) -> str:
    return "none" if value is None else f"{value:g} min"


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _verdict(good: bool, title: str, otherwise: State, other_title: str) -> Line:
    return Line(State.GOOD, title) if good else Line(otherwise, other_title)
