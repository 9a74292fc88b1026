"""From what an alert says to what a person reads: Jinja2 templates, everything from outside escaped.

Pure and deterministic: the same content gives the same bytes, so that a repeat under an idempotency key
is the same request. What is too long is shortened: mails stay under 100 KB (Gmail clips at 102), Telegram
under its 4,096 characters, SMS within two segments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from src.alerts.channels.lengths import TELEGRAM_LIMIT, cut_sms, cut_telegram, shorten, telegram_units
from src.alerts.messages import DigestContent, Driver, EventContent, Rendered
from src.alerts.models import ChannelName, Period
from src.settings import Settings

MAX_HTML_BYTES = 100_000
MAX_SUBJECT, MAX_TITLE, MAX_URL, MAX_DRIVERS = 150, 200, 500, 3
MAX_HEADLINE, MAX_BODY = 500, 2000
MAX_DIGEST_HEADLINE, MAX_DIGEST_BODY = 200, 400
MAX_SMS_URL = 60

# Controls, surrogates, and the marks that turn the direction of all that follows (which `dir=auto` needs not).
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Severity:
    """How a severity is named and coloured (white on `colour` keeps WCAG AA contrast)."""

    label: str
    colour: str
    sign: str


SEVERITIES = {
    5: Severity("Critical", "#b91c1c", "🔴"),
    4: Severity("High", "#c2410c", "🟠"),
    3: Severity("Elevated", "#a16207", "🟡"),
    2: Severity("Moderate", "#1d4ed8", "🔵"),
    1: Severity("Low", "#475569", "⚪"),
}
ALERT_TYPES = {
    "HIGH_IMPACT_EVENT": "High-impact event",
    "REGIONAL_RISK_SPIKE": "Regional risk spike",
    "ASSET_RISK_SPIKE": "Asset risk spike",
}


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as the templates show it: clean text, still to be escaped."""

    headline: str
    paragraphs: tuple[str, ...]
    region: str
    assets: str
    severity: Severity
    kind: str
    score: int | None
    when: str
    drivers: tuple[Driver, ...]


class Renderer:
    """Templates bound to the settings that show in messages: time zone and base URL."""

    def __init__(self, settings: Settings) -> None:
        self._zone = settings.zone
        self._app_url = settings.app_base_url
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.get_template

    def instant(self, content: EventContent, channel: ChannelName) -> Rendered:
        """One alert."""
        event = self._view(content, MAX_HEADLINE, MAX_BODY)
        subject = shorten(f"{event.severity.label} alert · {event.region}: {event.headline}", MAX_SUBJECT)
        if channel is ChannelName.SMS:
            link = f" {self._app_url}" if self._app_url and len(self._app_url) <= MAX_SMS_URL else ""
            return Rendered(subject, cut_sms(self._render("sms.txt.j2", event=event).strip(), link))
        if channel is ChannelName.TELEGRAM:
            return Rendered(subject, cut_telegram(self._render("telegram_instant.html.j2", event=event)))
        text, html = (self._render(f"mail_instant.{form}.j2", event=event, subject=subject) for form in ("txt", "html"))
        return Rendered(subject, text, html)

    def digest(self, content: DigestContent, channel: ChannelName) -> Rendered:
        """Several alerts: as many in full as there is room for, then how many more. SMS has no digests."""
        title = self._title(content)
        alerts = f"{content.total} alert{'' if content.total == 1 else 's'}"
        subject = f"{title}: {alerts}"
        events = [self._view(event, MAX_DIGEST_HEADLINE, MAX_DIGEST_BODY) for event in content.events]
        shown = {"title": title, "alerts": alerts, "subject": subject, "total": content.total}

        def render(template: str) -> Callable[[Sequence[EventView]], str]:
            return lambda fitting: self._render(template, events=fitting, **shown)

        if channel is ChannelName.TELEGRAM:
            return Rendered(subject, _fit(render("telegram_digest.html.j2"), events, _fits_telegram))
        text = render("mail_digest.txt.j2")(events)
        return Rendered(subject, text, _fit(render("mail_digest.html.j2"), events, _fits_mail))

    def _render(self, template: str, **shown: object) -> str:
        return self._template(template).render(app_url=self._app_url, **shown).strip() + "\n"

    def _view(self, content: EventContent, max_headline: int, max_body: int) -> EventView:
        body = _UNSAFE.sub("", shorten(content.body, max_body))
        return EventView(
            headline=_line(content.headline, max_headline) or "Untitled alert",
            paragraphs=tuple(line for part in body.splitlines() if (line := " ".join(part.split()))),
            region=_line(content.region or "Global", 80),
            assets=_line(", ".join(content.assets), 120),
            severity=SEVERITIES[min(max(content.severity, 1), 5)],
            kind=ALERT_TYPES.get(content.alert_type, "Alert"),
            score=round(min(max(content.score, 0), 100))
            if content.score is not None and isfinite(content.score)
            else None,
            when=self._moment(content.created_at),
            drivers=tuple(_driver(driver) for driver in content.drivers[:MAX_DRIVERS]),
        )

    def _moment(self, moment: datetime) -> str:
        local = moment.astimezone(self._zone)
        return f"{_day(local)}, {local:%H:%M} {local.tzname()}"

    def _title(self, content: DigestContent) -> str:
        start, end = content.window_start.astimezone(self._zone), content.window_end.astimezone(self._zone)
        if content.period is Period.HOURLY:
            return f"Hourly energy-risk digest, {_day(start)}, {start:%H:%M}–{end:%H:%M}"
        return f"Daily energy-risk digest, {_day(start)}"


def _fit(render: Callable[[Sequence[EventView]], str], events: Sequence[EventView], fits: Callable[[str], bool]) -> str:
    """With as many of the events, first ones first, as fit; with one of them in any case."""
    for count in range(len(events), 1, -1):
        if fits(text := render(events[:count])):
            return text
    return render(events[:1])


def _fits_telegram(markup: str) -> bool:
    return telegram_units(markup) <= TELEGRAM_LIMIT


def _fits_mail(html: str) -> bool:
    return len(html.encode()) <= MAX_HTML_BYTES


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _line(text: str, limit: int) -> str:
    return shorten(" ".join(_UNSAFE.sub("", text).split()), limit)


def _driver(driver: Driver) -> Driver:
    """Links only to where a browser goes: a URL that is not http(s) is left out."""
    try:
        parts = urlsplit(driver.source_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and re.fullmatch(r"[!-~]+", driver.source_url)
    except ValueError:
        usable = None
    url = driver.source_url if usable and len(driver.source_url) <= MAX_URL else ""
    return Driver(_line(driver.title, MAX_TITLE), _line(driver.source_name, 80), url)
