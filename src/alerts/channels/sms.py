"""SMS through Twilio: `POST …/Messages.json`, a form, one message a request, no idempotency key.

Codes: Twilio's error dictionary. A 500 may come after Twilio took the message, so its outcome is unknown.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from src.alerts.channels.base import Limits, SingleChannel
from src.alerts.channels.classification import (
    BLOCKED,
    CONTENT,
    DEAD,
    QUOTA,
    RATE,
    SETUP,
    TRANSIENT,
    UNSETTLED,
    Codes,
    classify,
    sent,
)
from src.alerts.channels.http import Http
from src.alerts.channels.lengths import cut_sms
from src.alerts.messages import Message, Outcome, Verdict
from src.alerts.models import ChannelName

CODES: Codes = {
    "20429": RATE,  # too many requests
    "21611": RATE,  # the sender's queue is full
    "20500": UNSETTLED,  # internal error
    "20503": TRANSIENT,  # service unavailable
    "63038": QUOTA,  # the day's limit of the account
    "20005": QUOTA,  # the account is not active
    "20003": SETUP,  # authentication
    "20404": SETUP,  # no such account
    "21606": SETUP,  # the sender's number is not ours
    "21212": SETUP,  # the sender's number is none
    "21603": SETUP,  # no sender given
    "21408": SETUP,  # the country is not enabled
    "21608": SETUP,  # a trial account, an unverified number
    "21211": DEAD,  # no valid number
    "21614": DEAD,  # no mobile number
    "21610": BLOCKED,  # opted out with STOP
    "21612": DEAD,  # no route from this sender to this number
    "21617": CONTENT,  # too long
    "21602": CONTENT,  # empty
}


class TwilioChannel(SingleChannel):
    name = ChannelName.SMS
    provider = "twilio"
    # Twilio documents about one segment a second for a US long code, and a message has up to two (`cut_sms`).
    limits = Limits(requests_per_second=0.5)

    def __init__(self, base_url: str, account_sid: str, auth_token: str, from_number: str) -> None:
        credentials = b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._http = Http(base_url, {"Authorization": f"Basic {credentials}"})
        self._path = f"/2010-04-01/Accounts/{quote(account_sid, safe='')}/Messages.json"
        self._from = from_number

    async def close(self) -> None:
        await self._http.close()

    async def deliver_one(self, message: Message) -> Outcome:
        fields = {"To": message.to, "From": self._from, "Body": cut_sms(message.body.text)}
        reply = await self._http.post_form(self._path, fields)
        outcome = classify(self.provider, reply, reply.get("code"), CODES)
        return sent(reply.get("sid")) if outcome.verdict is Verdict.SENT else outcome
