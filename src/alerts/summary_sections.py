"""The parts of the job summary below its first line, each from the documents of DESIGN's contracts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from src.alerts.documents import Document
from src.alerts.markdown import amount, escaped, folded, table
from src.alerts.models import ChannelName, Kind, Phase, StopReason

MAX_FINDINGS = 20
MAX_COUNTS = 60
MAX_RECIPIENTS = 100

STOPPED = {
    StopReason.SIGNAL: "stopped by a signal",
    StopReason.DEADLINE: "time limit reached",
    StopReason.MAX_SEND: "cap reached",
    StopReason.CHANNEL_HALTED: "channel halted",
}
PHASES = {
    Phase.GENERATE: "A generate",
    Phase.FANOUT: "B fan out",
    Phase.DIGEST: "D build digests",
    Phase.SEND: "C send",
}
CHARTED = ("sent", "queued", "sending", "failed", "skipped", "batched")


def sections(
    preflight: Document, run: Document, health: Document, errors: Sequence[str], warnings: Sequence[str]
) -> list[str]:
    """Markdown blocks in reading order; those that would be empty are left out."""
    blocks = [
        _findings("Errors", errors),
        _totals(run),
        _facts(preflight, run, health),
        _findings("Warnings", warnings),
        _channels(preflight, run, health),
        _chart(health),
        folded("Phases and counts", _phases(run)),
        folded("Who was reached", _recipients(run)),
        folded("Reports and run", _origin(preflight, run, health)),
    ]
    return ["\n".join(block) for block in blocks if block]


def stop_reason(run: Document) -> str:
    """Why the run ended before its work did; empty if it did not."""
    reason = run.text("stop_reason")
    return STOPPED[StopReason(reason)] if reason in set(StopReason) else ""


def _phase(run: Document, phase: Phase) -> Document:
    return next((entry for entry in run.each("phases") if entry.text("phase") == phase), Document(state="missing"))


def _totals(run: Document) -> list[str]:
    """This run's totals, then its deliveries and digests apart."""
    if not run.present:
        return []
    columns = ("sent", "failed", "retried", "skipped")
    totals = run.below("totals")
    rows = [["**this run**", *(amount(totals.number(column)) for column in columns)]]
    for kind in ("deliveries", "digests"):
        counts = _phase(run, Phase.SEND).below("counts", kind)
        skipped = sum(counts.count(key) for key in counts.data if key.startswith("skipped_"))
        if counts.present:
            rows.append([kind, *(amount(counts.number(column)) for column in columns[:-1]), amount(skipped)])
    return table(["", *columns], rows)


def _facts(preflight: Document, run: Document, health: Document) -> list[str]:
    rollout = Document({**preflight.below("rollout").data, **run.below("rollout").data})
    allowlist = {True: "**active**", False: "off", None: "unknown"}[rollout.flag("allowlist_active")]
    reach = f"{amount(rollout.number('users_eligible'))} of {amount(rollout.number('users_total'))} users"
    stopped = stop_reason(run) or {True: "yes", False: "no", None: "unknown"}[run.flag("stopped_early")]
    return [
        f"- **Oldest queued, minutes:** alerts {_oldest(health, 'deliveries')}, digests {_oldest(health, 'digests')}",
        f"- **Digests, 7 days:** {_digests(health, 'queued')} queued, {_digests(health, 'sent')} sent",
        f"- **Held:** {amount(health.number('held'))} · **stuck in sending:** {amount(health.number('stuck_sending'))}",
        f"- **Rollout:** allowlist {allowlist}, reach {reach}, cap {amount(rollout.number('max_send_per_run'))}",
        f"- **Stopped early:** {stopped}",
        f"- **Health:** {escaped(health.text('status')) or 'unknown'}",
    ]


def _oldest(health: Document, kind: str) -> str:
    return amount(health.number("oldest_queued_minutes", kind), "none" if health.present else "unknown")


def _digests(health: Document, status: str) -> str:
    digests = health.below("digests_7d")
    return amount(sum(digests.count(name, status) for name in ChannelName) if digests.present else None)


def _findings(title: str, texts: Sequence[str]) -> list[str]:
    """Each as its code and its mend."""
    lines = []
    for text in texts[:MAX_FINDINGS]:
        code, _, mend = text.partition(": ")
        lines.append(f"- `{code}` {escaped(mend)}" if re.fullmatch(r"[a-z0-9_.]{1,60}", code) else f"- {escaped(text)}")
    if len(texts) > MAX_FINDINGS:
        lines.append(f"- and {len(texts) - MAX_FINDINGS:,} more")
    return [f"### {title}", "", *lines] if lines else []


def _channels(preflight: Document, run: Document, health: Document) -> list[str]:
    if not (preflight.present or run.present or health.present):
        return []
    header = (
        "channel",
        "configured",
        "sent now",
        "failed now",
        "sent 24 h",
        "failed 24 h",
        "queued 24 h",
        "digests queued",
    )
    sending = _phase(run, Phase.SEND).below("counts", "by_channel")
    rows = []
    for name in ChannelName:
        configured = {True: "yes", False: "no", None: "–"}[preflight.flag("channels_configured", name)]
        now = [amount(sending.number(name, status)) for status in ("sent", "failed")]
        day = [
            amount(_day(health, status, name) if health.present else None) for status in ("sent", "failed", "queued")
        ]
        rows.append([name, configured, *now, *day, amount(health.number("digests_7d", name, "queued"))])
    return ["### Channels", "", *table(header, rows)]


def _day(health: Document, status: str, *channels: ChannelName) -> int:
    """Deliveries of the last 24 hours, both kinds, in a status."""
    return sum(health.count("deliveries_24h", name, kind, status) for name in channels for kind in Kind)


def _chart(health: Document) -> list[str]:
    """A pie takes positive numbers only, so a quiet day has no chart."""
    slices = {status: _day(health, status, *ChannelName) for status in CHARTED}
    lines = [f'    "{status}" : {count}' for status, count in slices.items() if count > 0]
    return ["```mermaid", "pie showData title Deliveries of the last 24 hours", *lines, "```"] if lines else []


def _phases(run: Document) -> list[str]:
    rows = []
    for phase, title in PHASES.items():
        entry = _phase(run, phase)
        if entry.present:
            counts = [f"{key} {amount(value)}" for key, value in islice(_flat(entry.below("counts")), MAX_COUNTS)]
            duration = amount(entry.number("duration_ms"))
            rows.append([title, escaped(entry.text("status")), duration, ", ".join(counts) or "–"])
    return table(["phase", "status", "ms", "counts"], rows) if rows else []


def _flat(counts: Document, prefix: str = "", depth: int = 3) -> Iterator[tuple[str, float]]:
    """Numbers other than zero, with the keys that lead to them, as deep as the engine writes them."""
    for key in counts.data:
        if not re.fullmatch(r"\w{1,40}", key, re.ASCII):
            continue
        value = counts.number(key)
        if value:
            yield f"{prefix}{key}", value
        elif depth > 1:
            yield from _flat(counts.below(key), f"{prefix}{key}.", depth - 1)


def _recipients(run: Document) -> list[str]:
    """User ids, which is all that a document knows of anybody."""
    rows = [
        [
            str(entry.count("user_id")),
            entry.text("channel"),
            *(amount(entry.number(key)) for key in ("instants", "digests")),
        ]
        for entry in islice(run.each("recipients"), MAX_RECIPIENTS)
        if entry.text("channel") in set(ChannelName)
    ]
    return table(["user", "channel", "alerts", "digests"], rows) if rows else []


def _origin(preflight: Document, run: Document, health: Document) -> list[str]:
    last = health.below("last_run")
    return [
        f"- reports: preflight {preflight.state}, run {run.state}, health {health.state}",
        f"- run: {escaped(run.text('run_id')) or '–'}, started {escaped(run.text('started_at')) or '–'},"
        f" {amount(run.number('duration_ms'))} ms",
        f"- last run on record: {escaped(last.text('run_id')) or '–'}, {escaped(last.text('status')) or '–'}",
        f"- last success: {escaped(health.text('last_success_at')) or '–'}",
    ]
