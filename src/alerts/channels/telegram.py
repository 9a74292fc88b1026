"""Telegram: `POST /bot{token}/sendMessage`, one message a request, no idempotency key.

The Bot API's only code is the status; what kind of 400 or 403 it is stands in fixed phrases at the
beginning of `description`, which are compared whole, never searched for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from src.alerts.channels.base import Limits, SingleChannel
from src.alerts.channels.classification import BLOCKED, CONTENT, DEAD, TRANSIENT, Codes, classify, sent
from src.alerts.channels.http import Http, NoReply, Reply
from src.alerts.channels.lengths import cut_telegram, telegram_plain
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName, FailureReason

# The beginning of `description` → the word that stands for it in the table and the logs.
PHRASES = {
    "Bad Request: can't parse entities": "unparsable_entities",
    "Bad Request: message is too long": "too_long",
    "Bad Request: message text is empty": "empty_text",
    "Bad Request: text must be non-empty": "empty_text",
    "Bad Request: chat not found": "chat_not_found",
    "Bad Request: user not found": "chat_not_found",
    "Bad Request: PEER_ID_INVALID": "chat_not_found",
    "Bad Request: not enough rights": "no_rights",
    "Bad Request: have no rights": "no_rights",
    "Bad Request: need administrator rights": "no_rights",
    "Bad Request: CHAT_WRITE_FORBIDDEN": "no_rights",
    "Forbidden: user is deactivated": "user_deactivated",
    "Forbidden: the group chat was deleted": "chat_deleted",
}
CODES: Codes = {
    "unparsable_entities": CONTENT,
    "too_long": CONTENT,
    "empty_text": CONTENT,
    "chat_not_found": DEAD,
    "no_rights": BLOCKED,
    "user_deactivated": DEAD,
    "chat_deleted": DEAD,
    "bad_request": CONTENT,
    "forbidden": BLOCKED,  # blocked by the user, kicked from the group, never started: always about this chat
    (403, ""): TRANSIENT,  # and so is one whose words did not come, if it is Telegram's: a wrong token gets 401 or 404
}
KINDS = {400: "bad_request", 403: "forbidden"}


class TelegramChannel(SingleChannel):
    name = ChannelName.TELEGRAM
    provider = "telegram"
    limits = Limits(requests_per_second=30, seconds_per_destination=1, seconds_per_group=3)

    def __init__(self, base_url: str, token: str) -> None:
        self._http = Http(base_url, {})
        self._path = f"/bot{quote(token, safe=':')}/sendMessage"

    async def close(self) -> None:
        await self._http.close()

    async def deliver_one(self, message: Message) -> Outcome:
        markup = cut_telegram(message.body.text)
        reply = await self._post({"chat_id": _chat(message.to), "text": markup, "parse_mode": "HTML"})
        if _code(reply) == "unparsable_entities":
            # Refused for certain, so a second request cannot send twice.
            reply = await self._post({"chat_id": _chat(message.to), "text": telegram_plain(markup)})
        if reply.accepted:
            return sent(reply.get("result", "message_id"))
        outcome = classify(self.provider, reply, _code(reply), CODES)
        moved_to = reply.get("parameters", "migrate_to_chat_id")
        if isinstance(moved_to, int) and outcome.verdict is Verdict.FAILED:
            detail = "telegram 400 migrated"
            return Outcome(Verdict.RETRY, FailureReason.INVALID_DESTINATION, detail=detail, moved_to=str(moved_to))
        return outcome

    async def _post(self, content: dict[str, Any]) -> Reply | NoReply:
        return await self._http.post_json(self._path, {**content, "link_preview_options": {"is_disabled": True}})


def _chat(to: str) -> int | str:
    return to if to.startswith("@") else int(to)


def _code(reply: Reply | NoReply) -> str | None:
    """The table's word for a refusal; None unless Telegram itself refused (its body says `ok: false`)."""
    if isinstance(reply, NoReply) or reply.accepted or reply.get("ok") is not False:
        return None
    description = str(reply.get("description"))
    words = (word for phrase, word in PHRASES.items() if description.startswith(phrase))
    return next(words, KINDS.get(reply.status))
