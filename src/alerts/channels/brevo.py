"""Email through Brevo: `POST /v3/smtp/email`, one message or up to a hundred as `messageVersions`.

The idempotency key is in the JSON body's `headers`; a repeat within its window is refused with
`duplicate_parameter`: what was accepted before, its id unknown. Brevo's documents allow 1,000 versions
a call; a hundred keep a request within a few megabytes and little at stake when one goes unanswered.
It fills in variables wherever content has them ("Send a message with dynamic content" in its guides): ours has none.
Headers of a version are not in Brevo's reference; django-anymail's tests against Brevo show that they work.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from src.alerts.channels.base import CheckedChannel, Limits
from src.alerts.channels.classification import CONTENT, QUOTA, SENT_BEFORE, SETUP, Codes, classify, for_each, sent_as
from src.alerts.channels.endpoints import Sender
from src.alerts.channels.http import Http
from src.alerts.channels.lengths import shorten
from src.alerts.channels.mail import subject_of, unsubscribe_headers
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName

CODES: Codes = {
    "duplicate_parameter": SENT_BEFORE,
    "not_enough_credits": QUOTA,
    "unauthorized": SETUP,
    "permission_denied": SETUP,
    "account_under_validation": SETUP,
    "reseller_permission_denied": SETUP,
    "invalid_parameter": CONTENT,
    "missing_parameter": CONTENT,
    "out_of_range": CONTENT,
}


LONGEST_NAME = 70
_VARIABLE = re.compile(r"\{(?=[{%])")  # the first brace of what Brevo would fill in, or refuse


class BrevoChannel(CheckedChannel):
    name = ChannelName.EMAIL
    provider = "brevo"
    # 1,000 single calls a second, but 100 a minute with versions: the slower one, since batches are the rule.
    limits = Limits(requests_per_second=100 / 60, max_batch=100, key_window=timedelta(minutes=30))

    def __init__(self, base_url: str, api_key: str, sender: Sender) -> None:
        self._http = Http(base_url, {"api-key": api_key, "Accept": "application/json"})
        self._sender = {"email": sender.address} | ({"name": shorten(sender.name, LONGEST_NAME)} if sender.name else {})

    async def deliver(self, messages: Sequence[Message], key: str) -> list[Outcome]:
        reply = await self._http.post_json("/v3/smtp/email", self._payload(messages, key))
        outcome = classify(self.provider, reply, reply.get("code"), CODES)
        if outcome.verdict is not Verdict.SENT:
            return for_each(outcome, len(messages))
        return sent_as(reply.get("messageIds") or [reply.get("messageId")], len(messages))

    async def close(self) -> None:
        await self._http.close()

    def _payload(self, messages: Sequence[Message], key: str) -> dict[str, Any]:
        first = messages[0]
        payload = {"sender": self._sender, **_content(first)}
        headers = {"idempotencyKey": key}
        if len(messages) == 1:
            return {**payload, "to": [{"email": first.to}], "headers": headers | unsubscribe_headers(first)}
        versions = [_version(message, _content(first)) for message in messages]
        return {**payload, "headers": headers, "messageVersions": versions}


def _content(message: Message) -> dict[str, str]:
    content = {"subject": subject_of(message), "htmlContent": message.body.html, "textContent": message.body.text}
    return {name: _VARIABLE.sub("{\u200b", text) for name, text in content.items()}


def _version(message: Message, common: dict[str, str]) -> dict[str, Any]:
    """Only what differs from the common content: instants of one event share all of it."""
    version: dict[str, Any] = {"to": [{"email": message.to}]}
    version |= {name: value for name, value in _content(message).items() if value != common[name]}
    if headers := unsubscribe_headers(message):
        version["headers"] = headers
    return version
