"""From a provider's reply to what the engine does: tables of data, and the few lines that read them.

Only the status and the body's own code decide, never words found somewhere in a text. A 2xx was
sent, whatever its body (but see `resend` for the members of a batch). The tables follow the
providers' documents, one per channel module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from src.alerts.channels.http import NoReply, Reply
from src.alerts.messages import Outcome, Verdict
from src.alerts.models import FailureReason

SHORTEST_WAIT, USUAL_WAIT, LONGEST_WAIT = 1.0, 5.0, 3600.0  # seconds; a provider's word is taken within these


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a table: what to do, why, and whether the provider may have taken the message."""

    verdict: Verdict
    reason: FailureReason | None = None
    unknown: bool = False


SENT_BEFORE = Rule(Verdict.SENT)
RATE = Rule(Verdict.WAIT, FailureReason.RATE_LIMITED)
TRANSIENT = Rule(Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE)
UNSETTLED = Rule(Verdict.RETRY, FailureReason.PROVIDER_UNAVAILABLE, unknown=True)
QUOTA = Rule(Verdict.HALT, FailureReason.ACCOUNT)
SETUP = Rule(Verdict.HALT, FailureReason.CREDENTIALS)
DEAD = Rule(Verdict.FAILED, FailureReason.INVALID_DESTINATION)
BLOCKED = Rule(Verdict.FAILED, FailureReason.BLOCKED_BY_USER)
CONTENT = Rule(Verdict.FAILED, FailureReason.CONTENT_REJECTED)

# What a status means (RFC 9110) where the provider's own code says nothing better.
STATUSES: Mapping[int, Rule] = {
    401: SETUP,
    402: QUOTA,
    403: SETUP,
    404: SETUP,
    405: SETUP,
    408: Rule(Verdict.RETRY, FailureReason.TIMEOUT),
    413: CONTENT,
    429: RATE,
    503: TRANSIENT,  # not handled, it says
}

Codes = Mapping[str | tuple[int, str], Rule]


def classify(provider: str, reply: Reply | NoReply, code: object, codes: Codes) -> Outcome:
    """The outcome of a request. `code` is the body's own (None: it has none); in `codes`, a code
    together with a status goes before the code alone, and both before the status."""
    if isinstance(reply, NoReply):
        verdict = Verdict.HALT if reply.reason is FailureReason.CREDENTIALS else Verdict.RETRY
        return Outcome(verdict, reply.reason, unknown=reply.unknown, detail=f"{provider} {reply.detail}")
    if reply.accepted:
        return Outcome(Verdict.SENT)
    word = str(code) if isinstance(code, str | int) and re.fullmatch(r"[a-z_]{1,40}|\d{1,5}", str(code)) else ""
    rule = codes.get((reply.status, word)) or codes.get(word) or STATUSES.get(reply.status)
    if rule is None and reply.status >= 500:  # a server, or a gateway, that failed may have done its work before
        rule = UNSETTLED
    elif rule is None:  # a refusal without a code of the provider's comes from something in between
        rule = CONTENT if reply.status >= 400 and word else TRANSIENT
    return Outcome(
        rule.verdict,
        rule.reason,
        wait_seconds=wait_seconds(reply) if rule.verdict is Verdict.WAIT else None,
        unknown=rule.unknown,
        detail=" ".join(filter(None, (provider, str(reply.status), word))),
    )


def for_each(outcome: Outcome, count: int) -> list[Outcome]:
    """A whole request's outcome for each of its messages. A batch that is refused for what one of its
    members says or for where it goes must not fail the others: it is sent again in smaller ones."""
    if count > 1 and outcome.verdict is Verdict.FAILED:
        outcome = outcome._replace(verdict=Verdict.SPLIT)
    return [outcome] * count


def sent_as(ids: object, count: int) -> list[Outcome]:
    """Messages that were accepted, with their ids if the provider gave one for each."""
    known = ids if isinstance(ids, list) and len(ids) == count else [None] * count
    return [sent(value) for value in known]


def sent(message_id: object) -> Outcome:
    """A message that was accepted, with its id if the provider gave one."""
    text = str(message_id)[:200] if isinstance(message_id, (str, int)) else ""
    return Outcome(Verdict.SENT, provider_message_id=text if text and text.isprintable() else None)


def wait_seconds(reply: Reply) -> float:
    """How long a provider asks to wait: the body's `retry_after` (Telegram), `Retry-After`, then what is
    left of the rate limit's window (`ratelimit-reset` IETF draft, `x-sib-ratelimit-reset` Brevo)."""
    headers = reply.headers
    told = (
        reply.get("parameters", "retry_after"),
        _retry_after(headers.get("retry-after"), headers.get("date")),
        headers.get("ratelimit-reset"),
        headers.get("x-sib-ratelimit-reset"),
    )
    seconds = next((number for value in told if (number := _number(value)) is not None), USUAL_WAIT)
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def _retry_after(value: str | None, date: str | None) -> object:
    """`Retry-After` in seconds; a date counts from the reply's own `Date`, so no clock is asked."""
    if value is None or date is None or _number(value) is not None:
        return value
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def _number(value: object) -> float | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
