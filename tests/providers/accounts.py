"""What the fault server's providers are like: who is written to, what a success looks like, which keys count."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in. `content` is its JSON or form."""

    provider: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    content: Any

    @property
    def key(self) -> str | None:
        """The idempotency key, where the provider takes one."""
        if self.provider == "resend":
            return self.headers.get("Idempotency-Key")
        headers = self.content.get("headers") if self.provider == "brevo" and isinstance(self.content, dict) else None
        return headers.get("idempotencyKey") if isinstance(headers, dict) else None

    @property
    def messages(self) -> Sequence[dict[str, Any]]:
        """One flat record a message: `to`, `subject`, `text`, `html`."""
        return READERS[self.provider](self.content)


def parse(provider: str, path: str, headers: Mapping[str, str], raw: bytes) -> Request:
    is_form = "x-www-form-urlencoded" in headers.get("Content-Type", "")
    content = dict(parse_qsl(raw.decode())) if is_form else json.loads(raw)
    return Request(provider, path, headers, raw, content)


def success(request: Request) -> tuple[int, dict[str, Any]]:
    """What the provider answers when all is well, with an id for each message."""
    ids = [uuid.uuid4().hex for _ in request.messages]
    if request.provider == "brevo":
        mail_ids = [f"<{id_}@smtp-relay.example.com>" for id_ in ids]
        return 201, {"messageIds": mail_ids} if "messageVersions" in request.content else {"messageId": mail_ids[0]}
    if request.provider == "resend":
        return 200, {"data": [{"id": id_} for id_ in ids]} if isinstance(request.content, list) else {"id": ids[0]}
    if request.provider == "telegram":
        return 200, {"ok": True, "result": {"message_id": int(ids[0][:6], 16)}}
    return 201, {"sid": f"SM{ids[0]}", "status": "queued", "num_segments": "1", "error_code": None}


def repeated(request: Request, first_raw: bytes, first: tuple[int, Any] | None) -> tuple[int, Any]:
    """What the provider answers to a key that it has seen, `first` None while that is still under way:
    Resend replays its answer, Brevo refuses."""
    if request.provider == "brevo":
        return 400, {"code": "duplicate_parameter", "message": "the request has already been processed"}
    if first_raw != request.raw:
        return 409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "another body"}
    if first is None:
        return 409, {"statusCode": 409, "name": "concurrent_idempotent_requests", "message": "still under way"}
    return first


def _brevo(content: Any) -> list[dict[str, Any]]:
    versions = content.get("messageVersions") or [{"to": content.get("to")}]
    return [_mail({**content, **version}, "textContent", "htmlContent") for version in versions]


def _resend(content: Any) -> list[dict[str, Any]]:
    return [_mail(email, "text", "html") for email in (content if isinstance(content, list) else [content])]


def _mail(content: Mapping[str, Any], text: str, html: str) -> dict[str, Any]:
    to = content["to"] if isinstance(content["to"], str) else content["to"][0]
    address = to if isinstance(to, str) else to["email"]
    return {"to": address, "subject": content.get("subject"), "text": content.get(text), "html": content.get(html)}


def _telegram(content: Any) -> list[dict[str, Any]]:
    return [{"to": str(content["chat_id"]), "subject": None, "text": content["text"], "html": None}]


def _twilio(content: Any) -> list[dict[str, Any]]:
    return [{"to": content["To"], "subject": None, "text": content["Body"], "html": None}]


READERS: Mapping[str, Callable[[Any], list[dict[str, Any]]]] = {
    "brevo": _brevo,
    "resend": _resend,
    "telegram": _telegram,
    "twilio": _twilio,
}
