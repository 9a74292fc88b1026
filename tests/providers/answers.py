"""What the providers are known to answer, as data: the fault server gives these, the tests name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How a reply ends."""

    ANSWER = "answer"
    DROP = "drop"  # the connection is closed without a word
    HALF = "half"  # status and half of the body, then the connection is closed
    STALL = "stall"  # status and half of the body, then nothing, for as long as the client waits
    HANG = "hang"  # nothing, for as long as the client waits


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply. `body` None is the provider's own success; text goes out as it is, all else as JSON.

    `accepts`: the message is taken, whatever the reply says. It is taken after `seconds_before`, and the
    reply leaves `seconds_after` later. `padding` bytes follow the body.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    accepts: bool = False
    ending: Ending = Ending.ANSWER
    seconds_before: float = 0
    seconds_after: float = 0
    padding: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Answer:
        return cls(**{**document, "ending": Ending(document.get("ending", Ending.ANSWER))})


OK = Answer(accepts=True)
"""Taken, and answered as the provider does."""

TRANSPORT = {
    "ok": OK,
    "slow": Answer(accepts=True, seconds_after=0.2),
    "hang": Answer(ending=Ending.HANG),
    "hang_accepted": Answer(ending=Ending.HANG, accepts=True),
    "drop": Answer(ending=Ending.DROP),
    "drop_accepted": Answer(ending=Ending.DROP, accepts=True),
    "half": Answer(ending=Ending.HALF, accepts=True),
    "stall": Answer(ending=Ending.STALL, accepts=True),
    "garbage": Answer(body="<html>\x00 200 {not json", accepts=True),
    "empty": Answer(body="", accepts=True),
    "huge": Answer(padding=10_000_000, accepts=True),
    "nested": Answer(body="[" * 60_000, accepts=True),
    "redirect": Answer(307, "moved", {"Location": "/control/trap"}),
    "redirect_permanent": Answer(301, "moved", {"Location": "/control/trap"}),
    "proxy_400": Answer(400, "<html>400 Bad Request</html>"),
    "proxy_403_huge": Answer(403, "<html>", padding=10_000_000),
    "bare_500": Answer(500, "oops"),
    "bad_gateway": Answer(502, "<html>502</html>"),
    "unavailable": Answer(503, ""),
    "gateway_timeout": Answer(504, ""),
    "bare_429": Answer(429, "slow down"),
    "retry_after": Answer(429, "slow down", {"Retry-After": "7"}),
}
"""What can happen with any of them."""


def _brevo(status: int, code: str, message: str = "no") -> Answer:
    return Answer(status, {"code": code, "message": message})


def _resend(status: int, name: str, **headers: str) -> Answer:
    return Answer(status, {"statusCode": status, "name": name, "message": "no"}, headers)


def _telegram(status: int, description: str, **parameters: int) -> Answer:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    return Answer(status, body | ({"parameters": parameters} if parameters else {}))


def _twilio(status: int, code: int) -> Answer:
    return Answer(status, {"code": code, "message": "no", "more_info": "https://example.com", "status": status})


OWN: Mapping[str, Mapping[str, Answer]] = {
    "brevo": {
        "rate_limited": Answer(429, {"code": "too_many_requests", "message": "no"}, {"x-sib-ratelimit-reset": "12"}),
        "not_enough_credits": _brevo(402, "not_enough_credits"),
        "unauthorized": _brevo(401, "unauthorized", "Key not found"),
        "permission_denied": _brevo(403, "permission_denied"),
        "account_under_validation": _brevo(403, "account_under_validation"),
        "reseller_permission_denied": _brevo(400, "reseller_permission_denied"),
        "invalid_parameter": _brevo(400, "invalid_parameter"),
        "missing_parameter": _brevo(400, "missing_parameter"),
        "out_of_range": _brevo(400, "out_of_range"),
        "duplicate": _brevo(400, "duplicate_parameter", "the request has already been processed"),
        "scheduled": Answer(202, {"messageId": "<scheduled@example.com>"}, accepts=True),
    },
    "resend": {
        "rate_limited": _resend(429, "rate_limit_exceeded", **{"retry-after": "1", "ratelimit-reset": "3"}),
        "window": _resend(429, "rate_limit_exceeded", **{"ratelimit-reset": "3"}),
        "daily_quota": _resend(429, "daily_quota_exceeded"),
        "monthly_quota": _resend(429, "monthly_quota_exceeded"),
        "missing_key": _resend(401, "missing_api_key"),
        "restricted_key": _resend(401, "restricted_api_key"),
        "invalid_key": _resend(403, "invalid_api_key"),
        "domain_not_verified": _resend(403, "validation_error"),
        "validation_error": _resend(422, "validation_error"),
        "validation_error_400": _resend(400, "validation_error"),
        "missing_field": _resend(422, "missing_required_field"),
        "missing_field_400": _resend(400, "missing_required_field"),
        "invalid_from": _resend(422, "invalid_from_address"),
        "other_body": _resend(409, "invalid_idempotent_request"),
        "concurrent": _resend(409, "concurrent_idempotent_requests"),
        "application_error": _resend(500, "application_error"),
        "internal": _resend(500, "internal_server_error"),
    },
    "telegram": {
        "rate_limited": _telegram(429, "Too Many Requests: retry after 9", retry_after=9),
        "unauthorized": _telegram(401, "Unauthorized"),
        "wrong_token": _telegram(404, "Not Found"),
        "blocked": _telegram(403, "Forbidden: bot was blocked by the user"),
        "deactivated": _telegram(403, "Forbidden: user is deactivated"),
        "kicked": _telegram(403, "Forbidden: bot was kicked from the supergroup chat"),
        "never_started": _telegram(403, "Forbidden: bot can't initiate conversation with a user"),
        "no_chat": _telegram(400, "Bad Request: chat not found"),
        "migrated": _telegram(
            400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1001234567890
        ),
        "unparsable": _telegram(400, 'Bad Request: can\'t parse entities: Unsupported start tag "x" at byte offset 5'),
        "accepted_unparsable": _telegram(200, "Bad Request: can't parse entities"),
        "too_long": _telegram(400, "Bad Request: message is too long"),
        "empty_text": _telegram(400, "Bad Request: message text is empty"),
        "no_rights": _telegram(400, "Bad Request: not enough rights to send text messages to the chat"),
        "other_400": _telegram(400, "Bad Request: 500 chat not found bot was blocked by the user"),
        "internal": _telegram(500, "Internal Server Error"),
        "bad_gateway_own": _telegram(502, "Bad Gateway"),
    },
    "twilio": {
        "rate_limited": _twilio(429, 20429),
        "queue_full": _twilio(400, 21611),
        "internal": _twilio(500, 20500),
        "unavailable_own": _twilio(503, 20503),
        "day_limit": _twilio(429, 63038),
        "inactive": _twilio(403, 20005),
        "credentials": _twilio(401, 20003),
        "no_account": _twilio(404, 20404),
        "sender_not_ours": _twilio(400, 21606),
        "sender_invalid": _twilio(400, 21212),
        "sender_missing": _twilio(400, 21603),
        "geography": _twilio(400, 21408),
        "trial": _twilio(400, 21608),
        "no_number": _twilio(400, 21211),
        "no_mobile": _twilio(400, 21614),
        "opted_out": _twilio(400, 21610),
        "no_route": _twilio(400, 21612),
        "too_long": _twilio(400, 21617),
        "empty_text": _twilio(400, 21602),
        "other_400": _twilio(400, 21999),
    },
}
"""What each of them answers in its own words."""

ANSWERS: Mapping[str, Mapping[str, Answer]] = {provider: {**TRANSPORT, **own} for provider, own in OWN.items()}
