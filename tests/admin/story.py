"""A day in the life of the engine, as rows: runs every ten minutes, news in the morning and the evening, one outage."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.factories import World

USERS = 60
HALTED = (
    "channel.halted.sms: sms was halted, credentials refused (twilio 401 20003): correct TWILIO_ACCOUNT_SID and"
    " TWILIO_AUTH_TOKEN, and run again"
)
_ROLLOUT = {"allowlist_active": False, "max_send_per_run": 1000}
_DELIVERIES = """
INSERT INTO user_alert_deliveries (
    user_id, alert_event_id, channel, status, priority, created_at, sent_at, failure_reason, last_error, claimed_at
)
SELECT id, %(event)s, %(channel)s, %(status)s, 4, %(at)s,
    CASE WHEN %(status)s = 'sent' THEN %(at)s::timestamptz END, %(reason)s, %(detail)s, %(at)s
FROM users
ORDER BY id
LIMIT %(number)s OFFSET %(skip)s
"""


def tell(world: World, now: datetime) -> None:
    """Fill a migrated database with the 24 hours before `now`."""
    for _ in range(USERS):
        world.user()
    first = now - timedelta(hours=24) + timedelta(minutes=4)
    for number in range(144):
        _run(world, number, first + timedelta(minutes=10 * number))
    event = world.alert_event(fanned_out=True, created_at=now - timedelta(minutes=3))
    _deliveries(world, event, now - timedelta(minutes=3), "email", 7, "queued")
    _digests(world, now)


def _run(world: World, number: int, at: datetime) -> None:
    """One run: the busier, the closer to the news; run 96 finds Twilio refusing the key."""
    busy = 26 * math.exp(-(((number - 62) / 14) ** 2)) + 15 * math.exp(-(((number - 118) / 9) ** 2)) + 1.2
    sent = {"email": round(busy), "telegram": round(busy * 0.55), "sms": round(busy * 0.2) if number % 3 == 0 else 0}
    if number % 4:
        sent = dict.fromkeys(sent, 0)
    if number == 96:
        sent["sms"] = 0
    failed = {"email": int(number in (52, 60, 64)), "telegram": 2 * int(number == 68), "sms": 0}
    halted = number == 96
    counts = _counts(sent, failed, halted)
    _record(world, number, at, counts, HALTED if halted else None)
    if not any(sent.values()) and not any(failed.values()):
        return
    event = world.alert_event(fanned_out=True, created_at=at)
    for channel, many in sent.items():
        _deliveries(world, event, at, channel, many, "sent")
        reason, detail = ("blocked_by_user", "telegram 403") if channel == "telegram" else ("timeout", "brevo timeout")
        _deliveries(world, event, at, channel, failed[channel], "failed", reason, detail, skip=many)


def _counts(sent: dict[str, int], failed: dict[str, int], halted: bool) -> dict[str, Any]:
    by_channel = {
        name: {"sent": sent[name], "failed": failed[name], "retried": 0, "skipped": 0}
        for name in sent
        if sent[name] or failed[name]
    }
    total, lost = sum(sent.values()), sum(failed.values())
    return {
        "deliveries": {"queued_selected": total + lost, "sent": total, "failed": lost, "retried": 0, "left_queued": 0},
        "digests": {"queued_selected": 0, "sent": 0, "failed": 0, "retried": 0, "left_queued": 0},
        "by_channel": by_channel, "halted_channels": ["sms"] if halted else [], "recovered": 0,
        "stopped_early": False, "stop_reason": "channel_halted" if halted else None,
    }  # fmt: skip


def _record(world: World, number: int, at: datetime, counts: dict[str, Any], error: str | None) -> None:
    run_id, status = str(UUID(int=number)), "failed" if error else "success"
    sent = counts["deliveries"]["sent"]
    took = 900 + 37 * (number % 11) + 22 * sent
    totals = {name: counts["deliveries"][name] for name in ("sent", "failed", "retried")}
    world.insert(
        "alerts_engine_runs", run_id=run_id, triggered_by="github_actions_schedule", phase="all", dry_run=False,
        started_at=at, finished_at=at + timedelta(milliseconds=took), duration_ms=took, status=status,
        counts=totals | {"skipped": 0, "stop_reason": counts["stop_reason"]}, error_summary=error,
        git_sha="5f0c2a9d41b7e6", actor=None, rollout=_ROLLOUT, created_at=at,
    )  # fmt: skip
    found = int(bool(sent))
    phases: dict[str, tuple[int, dict[str, Any]]] = {
        "a": (40, {"events_created": found, "events_skipped": 3, "by_type": {"HIGH_IMPACT_EVENT": found}}),
        "b": (210, {"events_processed": found, "users_considered": USERS * found, "deliveries_created": sent}),
        "d": (35, {"digests_created": 0, "digest_items_attached": 0, "deliveries_marked_batched": 0}),
        "c": (took - 285, counts),
    }
    for phase, (milliseconds, counted) in phases.items():
        world.insert(
            "alerts_engine_run_items", run_id=run_id, phase=phase, started_at=at, finished_at=at,
            duration_ms=milliseconds, status=status if phase == "c" else "success", counts=counted,
            error_summary=error if phase == "c" else None,
        )  # fmt: skip


def _deliveries(
    world: World, event: int, at: datetime, channel: str, number: int, status: str, reason: str | None = None,
    detail: str | None = None, skip: int = 0,
) -> None:  # fmt: skip
    params = {"event": event, "at": at, "channel": channel, "number": number, "status": status}
    world.execute(_DELIVERIES, **params, reason=reason, detail=detail, skip=skip)


def _digests(world: World, now: datetime) -> None:
    """Yesterday's, one for each of twelve users."""
    end = now.replace(hour=0, minute=0, second=0, microsecond=0)
    event = world.alert_event(fanned_out=True, created_at=end - timedelta(hours=2))
    for user_id in range(1, 13):
        item = world.delivery(user_id, event, kind="digest", created_at=end - timedelta(hours=2))
        world.digest(user_id, [item], window=(end - timedelta(days=1), end), status="sent", created_at=end)
