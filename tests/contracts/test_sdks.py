"""Our requests, field by field, against those that the providers' own SDKs make for the same message."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import brevo
import brevo.transactional_emails as brevo_types
import httpx
import pytest
import resend
import telegram
import twilio.rest

from tests.integration.channel_calls import BODY, PUBLIC, SECRETS, messages, send
from tests.providers.answers import Answer
from tests.providers.process import Provider

KEY = "11111111-2222-4333-8444-555555555555"
SENDER = PUBLIC["EMAIL_FROM"]
# What belongs to a client, not to a request.
OF_THE_CLIENT = re.compile("host|user-agent|accept.*|connection|content-length|x-twilio-client|x-fern-.*")


def both(recorder: Provider) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SDK's request and ours, in that order."""
    theirs, ours = recorder.requests
    for request in (theirs, ours):
        headers = {name.lower(): value for name, value in request["headers"].items()}
        request["headers"] = {name: value for name, value in headers.items() if not OF_THE_CLIENT.fullmatch(name)}
        del request["at"]
    return theirs, ours


def resend_params(count: int) -> list[resend.Emails.SendParams]:
    return [
        {"from": SENDER, "to": [message.to], "subject": BODY.subject, "html": BODY.html, "text": BODY.text}
        for message in messages("resend", count)
    ]


@pytest.fixture
def resend_sdk(recorder: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "api_url", recorder.url)
    monkeypatch.setattr(resend, "api_key", SECRETS["RESEND_API_KEY"])


@pytest.mark.usefixtures("resend_sdk")
def test_resend_single(recorder: Provider) -> None:
    resend.Emails.send(resend_params(1)[0], {"idempotency_key": KEY})
    recorder.script("resend")
    send("resend", recorder.url, messages("resend"), KEY)
    theirs, ours = both(recorder)
    assert ours == theirs


@pytest.mark.usefixtures("resend_sdk")
def test_resend_batch(recorder: Provider) -> None:
    resend.Batch.send(resend_params(3), {"idempotency_key": KEY, "batch_validation": "permissive"})
    send("resend", recorder.url, messages("resend", 3), KEY)
    theirs, ours = both(recorder)
    assert ours == theirs
    assert len(recorder.accepted) == 3, "under one key the SDK's request and ours are the same to the provider"


@pytest.fixture
def brevo_sdk(recorder: Provider) -> Iterator[brevo.Brevo]:
    with httpx.Client() as client:
        yield brevo.Brevo(api_key=SECRETS["BREVO_API_KEY"], base_url=f"{recorder.url}/v3", httpx_client=client)


def test_brevo_single(recorder: Provider, brevo_sdk: brevo.Brevo) -> None:
    brevo_sdk.transactional_emails.send_transac_email(
        sender=brevo_types.SendTransacEmailRequestSender(name="EnergyRiskIQ", email="alerts@example.org"),
        to=[brevo_types.SendTransacEmailRequestToItem(email=messages("brevo")[0].to)],
        subject=BODY.subject,
        html_content=BODY.html,
        text_content=BODY.text,
        headers={"idempotencyKey": KEY},
    )
    send("brevo", recorder.url, messages("brevo"), KEY)
    theirs, ours = both(recorder)
    assert ours == theirs


def test_brevo_versions(recorder: Provider, brevo_sdk: brevo.Brevo) -> None:
    item = brevo_types.SendTransacEmailRequestMessageVersionsItem
    to = brevo_types.SendTransacEmailRequestMessageVersionsItemToItem
    brevo_sdk.transactional_emails.send_transac_email(
        sender=brevo_types.SendTransacEmailRequestSender(name="EnergyRiskIQ", email="alerts@example.org"),
        subject=BODY.subject,
        html_content=BODY.html,
        text_content=BODY.text,
        headers={"idempotencyKey": KEY},
        message_versions=[item(to=[to(email=message.to)]) for message in messages("brevo", 3)],
    )
    send("brevo", recorder.url, messages("brevo", 3), KEY)
    theirs, ours = both(recorder)
    assert ours == theirs


def test_telegram(recorder: Provider) -> None:
    """The SDK sends a form whose nested values are JSON; we send JSON. The fields are the same."""

    async def with_the_sdk() -> None:
        bot = telegram.Bot(SECRETS["TELEGRAM_BOT_TOKEN"], base_url=f"{recorder.url}/bot")
        await bot.request.initialize()
        await bot.send_message(
            chat_id=int(messages("telegram")[0].to),
            text=BODY.text,
            parse_mode="HTML",
            link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
        )
        await bot.request.shutdown()

    result = {"message_id": 7, "date": 0, "chat": {"id": 1, "type": "private"}}
    recorder.script("telegram", Answer(body={"ok": True, "result": result}, accepts=True))
    asyncio.run(with_the_sdk())
    send("telegram", recorder.url, messages("telegram"))
    theirs, ours = both(recorder)
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in ours["content"].items()}
    assert {**form, "link_preview_options": json.loads(form["link_preview_options"])} == {
        **theirs["content"],
        "link_preview_options": json.loads(theirs["content"]["link_preview_options"]),
    }
    assert ours["path"] == theirs["path"]


def test_twilio(recorder: Provider) -> None:
    client = twilio.rest.Client(SECRETS["TWILIO_ACCOUNT_SID"], SECRETS["TWILIO_AUTH_TOKEN"])
    client.api.base_url = recorder.url
    with client.http_client.session:
        client.messages.create(to=messages("twilio")[0].to, from_=PUBLIC["TWILIO_PHONE_NUMBER"], body=BODY.text)
    send("twilio", recorder.url, messages("twilio"))
    theirs, ours = both(recorder)
    assert ours == theirs
