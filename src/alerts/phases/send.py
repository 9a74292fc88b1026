"""Phase C: send what is queued. Instants before digests, severest and oldest first, channels side by side.

What may be sent twice after a crash is at most what was in flight, and nothing through a provider that
takes an idempotency key, within its window (see `outbound` for the mechanism). A broken channel halts
alone (`breaker`); the cap counts what was, or may have been, accepted (`rollout.SendBudget`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from src.alerts.channels.base import Channel, CheckedChannel
from src.alerts.channels.configuration import configuration
from src.alerts.channels.registry import open_channels
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason, StopReason
from src.alerts.phases.breaker import Pacer
from src.alerts.phases.contents import Contents
from src.alerts.phases.context import PhaseContext
from src.alerts.phases.judge import Judge
from src.alerts.phases.outbound import Left, Outbound, Queue, statement
from src.alerts.phases.pump import Pump
from src.alerts.phases.tally import Tally
from src.alerts.rendering import Renderer
from src.alerts.rollout import SendBudget
from src.db.connection import Session
from src.errors import DatabaseError, Finding, StoppedError

log = logging.getLogger(__name__)

EXPIRE_CHUNK = 5000
PING_SECONDS = 1.0
COLLECT_AFTER = 20_000
"""How many more objects make Python look for garbage while sending. After its usual 700, with 32 requests in flight,
it looks at every twentieth and finds nothing: a twentieth of the time."""


@dataclass(frozen=True, slots=True)
class SendReport:
    """What phase C leaves for the run document beside its counts."""

    counts: dict[str, Any]
    recipients: list[dict[str, Any]] | None
    errors: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Expired:
    channel: str


class SimulatedChannel(CheckedChannel):
    """Stands in for a channel in a dry run: accepts whatever could be sent, reaches nobody."""

    def __init__(self, real: Channel) -> None:
        self._real = real
        self.name = real.name
        self.provider = real.provider
        self.limits = replace(real.limits, requests_per_second=None, seconds_per_destination=0, seconds_per_group=0)

    async def deliver(self, messages: Sequence[Message], key: str) -> list[Outcome]:  # noqa: ARG002 - as `Channel` has it
        """Accept."""
        return [Outcome(Verdict.SENT) for _ in messages]

    async def close(self) -> None:
        await self._real.close()


def run(context: PhaseContext) -> SendReport:
    """Send. When the database is lost meanwhile, that is an error of the report; what was in flight is recovered
    by a later run. Raises DatabaseError when it is lost before anything could be sent."""
    tally = Tally(by_recipient=context.rollout.allowed is not None)
    now = context.clock()
    with context.database.session() as session:
        _prepare(session, context, tally, now)
    budget = SendBudget(context.rollout.max_send)
    with _rare_collections(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        pumps = runner.run(_pump(context, tally, budget))
    failures = [pump.error for pump in pumps if pump.error]
    due = 0
    try:
        with context.database.session() as session:
            due = _count_left(session, context, tally, {pump.judge.channel.name for pump in pumps})
    except DatabaseError as error:
        failures.append(error)
    tally.stop_reason = context.stop.reason or (StopReason.MAX_SEND if due and budget.spent else None)
    tally.halted = sorted(pump.judge.channel.name for pump in pumps if pump.judge.breaker.halted)
    if tally.stop_reason is None and tally.halted:
        tally.stop_reason = StopReason.CHANNEL_HALTED
    found = [_halted(pump) for pump in pumps if pump.judge.breaker.halted]
    found += [finding for pump in pumps for finding in pump.traffic.findings]
    for failure in failures:
        if not isinstance(failure, StoppedError):
            found += failure.findings
    return SendReport(tally.counts(), tally.recipients(), tuple(dict.fromkeys(found)))


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector look less often, and not again and again at what is loaded by now."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which sends a third more in the same time; asyncio's own where there is no uvloop (Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _prepare(session: Session, context: PhaseContext, tally: Tally, now: datetime) -> None:
    """Recover what runs that are gone left, and expire what waits for channels that are not configured."""
    with session.transaction(by_index=True):
        for queue in Queue:
            tally.recovered += session.execute(statement(queue, "recover"), {"run_id": context.run_id})
    held = [name.value for name, state in configuration(context.settings).items() if not state.complete]
    params = {
        "channels": held,
        "now": now,
        "oldest": now - context.settings.max_age,
        "allowed": context.rollout.allowed_ids,
        "limit": EXPIRE_CHUNK,
    }
    for queue in Queue:
        expired = EXPIRE_CHUNK
        while held and expired == EXPIRE_CHUNK and context.proceed():
            with session.transaction():
                rows = session.all(_Expired, statement(queue, f"expire_held_{queue}"), params)
            expired = len(rows)
            for row in rows:
                tally.refused(queue, ChannelName(row.channel), FailureReason.EXPIRED)


async def _pump(context: PhaseContext, tally: Tally, budget: SendBudget) -> list[Pump]:
    """Run all channels to their end, whatever happens to one of them."""
    renderer = Renderer(context.settings)
    channels = _channels(context)
    pumps: list[Pump] = []
    try:
        pumps += [_make(channel, context, tally, budget, renderer) for channel in channels]
        keeper = asyncio.create_task(_keep_locks(context, pumps))
        ends = await asyncio.gather(*(pump.run() for pump in pumps), return_exceptions=True)
        keeper.cancel()
    finally:
        for pump in pumps:
            pump.outbound.close()
        await asyncio.gather(*(channel.close() for channel in channels))
    for end in ends:
        if end:
            raise end
    return pumps


def _channels(context: PhaseContext) -> list[Channel]:
    channels: list[Channel] = list(open_channels(context.settings).values())
    return [SimulatedChannel(channel) for channel in channels] if context.database.simulate else channels


def _make(channel: Channel, context: PhaseContext, tally: Tally, budget: SendBudget, renderer: Renderer) -> Pump:
    rollout, settings = context.rollout, context.settings
    outbound = Outbound(context.database, context.run_id, channel, rollout.allowed_ids)
    for queue, number in outbound.settle_unknown(settings.resend_unknown, context.clock()).items():
        tally.settled(queue, channel.name, 0 if settings.resend_unknown else number)
    per_request, rate = channel.limits.max_batch, channel.limits.requests_per_second
    if wished := settings.rate_limits.get(channel.name):
        per_request = max(min(per_request, wished // 60), 1)  # at most a second's worth at once
        rate = wished / 60 / per_request
    pacer = Pacer(
        None if context.database.simulate else rate,
        per_destination=channel.limits.seconds_per_destination,
        per_group=channel.limits.seconds_per_group,
    )
    judge = Judge(channel, settings, budget, tally, pacer, per_request)
    return Pump(outbound, Contents(renderer, channel.name, settings), context, judge)


async def _keep_locks(context: PhaseContext, pumps: Sequence[Pump]) -> None:
    """Stop all channels when the run's locks are gone: another run may have begun."""
    while True:
        try:
            await asyncio.to_thread(context.locks.ping)
        except DatabaseError as error:
            for pump in pumps:
                pump.traffic.fail(error)
            return
        await asyncio.sleep(PING_SECONDS)


def _count_left(session: Session, context: PhaseContext, tally: Tally, open_names: set[ChannelName]) -> int:
    """Count what stays queued, for channels that are configured and others; the number due now."""
    due = 0
    params = {"now": context.clock(), "allowed": context.rollout.allowed_ids}
    with session.transaction():
        for queue in Queue:
            for left in session.all(Left, statement(queue, "count_left"), params):
                configured = left.channel in open_names
                tally.add(queue, "left_queued" if configured else "held_not_configured", left.queued)
                due += left.due if configured else 0
    return due


def _halted(pump: Pump) -> Finding:
    name, breaker = pump.judge.channel.name, pump.judge.breaker
    detail = f" ({breaker.detail})" if breaker.detail else ""
    return Finding(f"channel.halted.{name}", f"{name} was halted, {breaker.halted}{detail}: {breaker.mend}")
