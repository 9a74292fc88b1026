"""What a channel's traffic with the database keeps, and for how long."""

from __future__ import annotations

import time
from typing import Any, cast

from src.alerts.models import MessageStatus
from src.alerts.phases.outbound import Queue, Result
from src.alerts.phases.traffic import Traffic
from src.alerts.retry import Decision
from src.errors import DatabaseError, Finding


def test_a_result_is_offered_before_it_can_be_given_up() -> None:
    """One that comes in after others were offered for long enough."""
    nothing = cast(Any, None)
    traffic = Traffic(nothing, nothing, nothing, nothing, wake=lambda: None)
    traffic.fail(DatabaseError(Finding("database.unreachable", "gone")))
    traffic.give_up = time.monotonic() - 1
    traffic.answered([Result(Queue.DELIVERIES, 7, None, Decision(MessageStatus.SENT))], 1)
    traffic.drop()
    assert traffic.busy
