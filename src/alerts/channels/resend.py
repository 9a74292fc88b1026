"""Email through Resend: `POST /emails`, several at once `POST /emails/batch`.

The header `Idempotency-Key` protects for 24 hours and replays the first answer. A batch is validated
permissively: what is refused is named by its index, the rest is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from src.alerts.channels.base import CheckedChannel, Limits
from src.alerts.channels.classification import (
    CONTENT,
    QUOTA,
    RATE,
    SENT_BEFORE,
    SETUP,
    UNSETTLED,
    Codes,
    Rule,
    classify,
    for_each,
    sent,
    sent_as,
)
from src.alerts.channels.endpoints import Sender
from src.alerts.channels.http import Http
from src.alerts.channels.mail import subject_of, unsubscribe_headers
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason

CODES: Codes = {
    "rate_limit_exceeded": RATE,
    "daily_quota_exceeded": QUOTA,
    "monthly_quota_exceeded": QUOTA,
    # The same key came with another body before: that one was accepted, for rendering under a key is fixed.
    "invalid_idempotent_request": SENT_BEFORE,
    # The first request under this key is still under way: no outage, and its outcome is not known yet.
    "concurrent_idempotent_requests": Rule(Verdict.RETRY, FailureReason.RATE_LIMITED, unknown=True),
    "application_error": UNSETTLED,
    "internal_server_error": UNSETTLED,
    "missing_api_key": SETUP,
    "restricted_api_key": SETUP,
    "invalid_api_key": SETUP,
    "invalid_from_address": SETUP,
    (403, "validation_error"): SETUP,  # the sender's domain is not verified
    "validation_error": CONTENT,
    "missing_required_field": CONTENT,
}
UNREADABLE = Outcome(Verdict.RETRY, FailureReason.RATE_LIMITED, unknown=True, detail="resend 200 unreadable")


class ResendChannel(CheckedChannel):
    name = ChannelName.EMAIL
    provider = "resend"
    limits = Limits(requests_per_second=5, max_batch=100, key_window=timedelta(hours=24))

    def __init__(self, base_url: str, api_key: str, sender: Sender) -> None:
        self._http = Http(base_url, {"Authorization": f"Bearer {api_key}"})
        self._from = sender.formatted

    async def deliver(self, messages: Sequence[Message], key: str) -> list[Outcome]:
        emails = [self._email(message) for message in messages]
        headers = {"Idempotency-Key": key}
        if len(emails) == 1:
            reply = await self._http.post_json("/emails", emails[0], headers)
        else:
            reply = await self._http.post_json("/emails/batch", emails, {**headers, "x-batch-validation": "permissive"})
        outcome = classify(self.provider, reply, reply.get("name"), CODES)
        if outcome.verdict is not Verdict.SENT:
            return for_each(outcome, len(messages))
        if len(emails) == 1:
            return [sent(reply.get("id"))]
        if not reply.accepted:  # but it was before, under this key
            return sent_as(None, len(messages))
        return _each_of_batch(reply.get("data"), reply.get("errors"), len(messages))

    async def close(self) -> None:
        await self._http.close()

    def _email(self, message: Message) -> dict[str, Any]:
        email = {
            "from": self._from,
            "to": [message.to],
            "subject": subject_of(message),
            "html": message.body.html,
            "text": message.body.text,
        }
        headers = unsubscribe_headers(message)
        return {**email, "headers": headers} if headers else email


def _each_of_batch(data: object, errors: object, count: int) -> list[Outcome]:
    """`errors` names the refused by index; `data` has the ids of the others, in order. An answer that cannot be read,
    or does not add up, does not tell who was refused: the same request, under its key, gets it once more."""
    if not isinstance(data, list) or not isinstance(errors, list | None):
        return [UNREADABLE] * count
    ids = [item.get("id") for item in data if isinstance(item, dict)]
    named = [error.get("index") if isinstance(error, dict) else None for error in errors or ()]
    if not all(type(index) is int and 0 <= index < count for index in named):  # True is an int, too, and no index
        return [UNREADABLE] * count
    refused = set(named)
    if len(ids) + len(refused) != count:
        return [UNREADABLE] * count
    accepted = iter(sent_as(ids, len(ids)))
    rejection = Outcome(Verdict.FAILED, FailureReason.CONTENT_REJECTED, detail="resend 200 refused_in_batch")
    return [rejection if index in refused else next(accepted) for index in range(count)]
