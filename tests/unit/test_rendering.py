"""What people read: hostile input is harmless, lengths are bounded, the same content gives the same bytes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from src.alerts.channels.lengths import sms_segments, telegram_plain, telegram_units
from src.alerts.messages import DigestContent, Driver, EventContent, Rendered
from src.alerts.models import ChannelName, Period
from src.alerts.rendering import MAX_HTML_BYTES, MAX_SUBJECT, Renderer
from src.settings import Settings

EMAIL, TELEGRAM, SMS = ChannelName.EMAIL, ChannelName.TELEGRAM, ChannelName.SMS
RENDERER = Renderer(Settings(app_base_url="https://app.example.com"))
EVENT = EventContent(
    id=7,
    alert_type="HIGH_IMPACT_EVENT",
    region="Europe",
    assets=(),
    severity=5,
    score=100.0,
    headline="US and UK ban imports of Russian oil",
    body="The United States banned imports with immediate effect.\n\nThe United Kingdom will phase them out.",
    created_at=datetime(2022, 3, 8, 16, 5, tzinfo=UTC),
    drivers=(
        Driver("US bans Russian oil & gas", "Agency", "https://news.example.com/a?b=1&c=2"),
        Driver("Shell withdraws", "Paper", "javascript:alert(1)"),
    ),
)
SPIKE = replace(
    EVENT,
    id=8,
    alert_type="ASSET_RISK_SPIKE",
    assets=("oil",),
    severity=4,
    score=86.4,
    headline="Oil risk at 86 of 100",
)
DIGEST = DigestContent(
    Period.DAILY, datetime(2022, 3, 7, 23, tzinfo=UTC), datetime(2022, 3, 8, 23, tzinfo=UTC), (EVENT, SPIKE), 5
)
HOSTILE = [
    "<script>alert(1)</script>",
    "a & b < c > d \"e\" 'f'",
    "</b></a><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "Öl 🔥🛢️ 👩‍🚒 zero\x00width\x1b[31m",
    "ارتفاع أسعار النفط \u202egnp.exe\u2066",
    "line\r\nBcc: jane@example.com\r\n\r\nbody",
    "x" * 5000,
    "🔥" * 5000,
    "&<>\"'" * 1000,
    "",
    "   \n ",
]
ALL = [(renderer, channel) for renderer in ("instant", "digest") for channel in (EMAIL, TELEGRAM)] + [("instant", SMS)]


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def hostile(text: str) -> EventContent:
    drivers = tuple(Driver(text, text, text) for _ in range(5))
    return replace(EVENT, region=text, assets=(text, text), headline=text, body=text, alert_type=text, drivers=drivers)


def render(kind: str, event: EventContent, channel: ChannelName) -> Rendered:
    if kind == "instant":
        return RENDERER.instant(event, channel)
    return RENDERER.digest(replace(DIGEST, events=(event,) * 20, total=50), channel)


@pytest.mark.parametrize("name", ["instant", "digest"])
@pytest.mark.parametrize("part", ["subject", "text", "html"])
def test_mail(name: str, part: str, snapshot: SnapshotAssertion) -> None:
    rendered = RENDERER.instant(EVENT, EMAIL) if name == "instant" else RENDERER.digest(DIGEST, EMAIL)
    assert getattr(rendered, part) == snapshot


def test_telegram_and_sms(snapshot: SnapshotAssertion) -> None:
    telegram = [RENDERER.instant(SPIKE, TELEGRAM).text, RENDERER.digest(DIGEST, TELEGRAM).text]
    assert [*telegram, RENDERER.instant(SPIKE, SMS).text] == snapshot


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(("kind", "channel"), ALL)
def test_hostile_input_is_harmless(kind: str, channel: ChannelName, text: str) -> None:
    rendered = render(kind, hostile(text), channel)
    assert len(rendered.subject.splitlines()) == 1
    assert len(rendered.subject) <= MAX_SUBJECT
    for shown in (rendered.subject, rendered.text, rendered.html):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    if channel is EMAIL:
        assert len(rendered.html.encode()) <= MAX_HTML_BYTES
        page = Tags(rendered.html)
        assert page.tags <= {
            "html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "h1", "h2", "p", "span", "a",
            "br", "bdi",
        }  # fmt: skip
        assert page.handlers == []
        assert {link.split("/")[2] for link in page.links} == {"app.example.com"}
    if channel is TELEGRAM:
        assert telegram_units(rendered.text) <= 4096
        message = Tags(rendered.text)
        assert message.tags <= {"b", "i", "a"}
        assert set(message.links) <= {"https://app.example.com/alerts/settings"}
    if channel is SMS:
        assert sms_segments(rendered.text) <= 2


@given(st.text(max_size=300))
def test_any_text_renders_and_is_shown_as_text(text: str) -> None:
    rendered = RENDERER.instant(replace(EVENT, headline=text, drivers=()), EMAIL)
    assert "script" not in Tags(rendered.html).tags
    assert RENDERER.instant(hostile(text), TELEGRAM) == RENDERER.instant(hostile(text), TELEGRAM)


def test_markup_in_a_headline_is_read_as_it_was_written() -> None:
    headline = "<b>Gas</b> & \"oil\" 'up'"
    event = replace(EVENT, headline=headline)
    assert headline in "".join(Tags(RENDERER.instant(event, EMAIL).html).text)
    assert headline in telegram_plain(RENDERER.instant(event, TELEGRAM).text)


NO_LINKS = [
    "ftp://a.example",
    "//a.example",
    "data:text/html,x",
    "https://",
    "https://a b",
    'http://a"\nb',
    "http://[x",
    "",
]


@pytest.mark.parametrize("url", [*NO_LINKS, "javascript:alert(1)", "https://a.example/" + "x" * 500])
def test_only_usable_web_links_become_links(url: str) -> None:
    event = replace(EVENT, drivers=(Driver("title", "source", url),))
    for shown in (RENDERER.instant(event, EMAIL).html, RENDERER.instant(event, TELEGRAM).text):
        assert [link for link in Tags(shown).links if not link.startswith("https://app.example.com")] == []


def test_web_links_become_links() -> None:
    for shown in (RENDERER.instant(EVENT, EMAIL).html, RENDERER.instant(EVENT, TELEGRAM).text):
        assert "https://news.example.com/a?b=1&c=2" in Tags(shown).links


def test_quotes_in_a_link_stay_inside_it() -> None:
    url = "https://a.example/\"onclick='x'"
    page = Tags(RENDERER.instant(replace(EVENT, drivers=(Driver("title", "source", url),)), EMAIL).html)
    assert url in page.links
    assert page.handlers == []


@pytest.mark.parametrize(("kind", "channel"), ALL)
def test_without_a_base_url_nothing_links_to_the_app(kind: str, channel: ChannelName) -> None:
    renderer = Renderer(Settings())
    rendered = renderer.instant(EVENT, channel) if kind == "instant" else renderer.digest(DIGEST, channel)
    assert "settings</a>" not in rendered.text + rendered.html
    assert "app.example.com" not in rendered.text + rendered.html


def test_footer_links_to_the_alert_settings() -> None:
    rendered = RENDERER.instant(EVENT, EMAIL)
    assert "https://app.example.com/alerts/settings" in rendered.text
    assert "https://app.example.com/alerts/settings" in Tags(rendered.html).links


def test_digest_shows_twenty_events_in_full_and_counts_the_rest() -> None:
    events = tuple(replace(EVENT, id=number, headline=f"Headline {number:02}") for number in range(20))
    rendered = RENDERER.digest(replace(DIGEST, events=events, total=33), EMAIL)
    for shown in (rendered.text, rendered.html):
        assert [f"Headline {number:02}" in shown for number in range(20)] == [True] * 20
        assert "and 13 more" in shown


def test_digest_too_long_for_a_channel_shows_fewer_events_and_counts_the_rest() -> None:
    events = tuple(replace(EVENT, headline=f"{number:02} " + "x" * 500) for number in range(20))
    text = RENDERER.digest(replace(DIGEST, events=events, total=33), TELEGRAM).text
    shown = len(re.findall(r"<b>\d\d x", text))
    assert 5 < shown < 20
    assert f"and {33 - shown} more" in text
    assert "…</b>\nCritical" in text


def test_digest_mail_is_never_clipped() -> None:
    drivers = tuple(Driver("&" * 300, "&" * 100, "https://a.example/?" + "&" * 480) for _ in range(3))
    event = replace(EVENT, headline="&" * 400, body="&" * 3000, drivers=drivers)
    html = RENDERER.digest(replace(DIGEST, events=(event,) * 20, total=20), EMAIL).html
    shown = html.count("<h2")
    assert 80_000 < len(html.encode()) <= 100_000
    assert f"and {20 - shown} more" in html


def test_digest_of_one_says_so() -> None:
    rendered = RENDERER.digest(replace(DIGEST, events=(EVENT,), total=1), EMAIL)
    assert rendered.subject == "Daily energy-risk digest, 8 March 2022: 1 alert"
    assert "more" not in rendered.text


@pytest.mark.parametrize(
    ("start", "end", "zone", "title"),
    [
        ("2022-03-26T23:00Z", "2022-03-27T22:00Z", "Europe/Amsterdam", "27 March 2022"),  # of 23 hours
        ("2022-03-08T05:00Z", "2022-03-09T05:00Z", "America/New_York", "8 March 2022"),
    ],
)
def test_daily_digest_is_named_after_its_local_day(start: str, end: str, zone: str, title: str) -> None:
    window = replace(DIGEST, window_start=datetime.fromisoformat(start), window_end=datetime.fromisoformat(end))
    rendered = Renderer(Settings(timezone=zone)).digest(window, EMAIL)
    assert rendered.subject == f"Daily energy-risk digest, {title}: 5 alerts"


def test_hourly_digest_is_named_after_its_local_hours() -> None:
    hour = replace(
        DIGEST,
        period=Period.HOURLY,
        window_start=datetime(2022, 3, 8, 13, tzinfo=UTC),
        window_end=datetime(2022, 3, 8, 14, tzinfo=UTC),
    )
    assert RENDERER.digest(hour, EMAIL).subject == "Hourly energy-risk digest, 8 March 2022, 14:00–15:00: 5 alerts"


@pytest.mark.parametrize("severity", range(-1, 8))
@pytest.mark.parametrize("score", [None, -5.0, 0.0, 69.6, 400.0, float("nan"), float("inf")])
def test_any_severity_and_score_render(severity: int, score: float | None) -> None:
    event = replace(EVENT, severity=severity, score=score, region=None, drivers=(), body="")
    rendered = RENDERER.instant(event, EMAIL)
    assert "Global" in rendered.text
    assert ("Risk score" in rendered.html) == (score is not None and isfinite(score))


def test_sms_ends_with_the_link_uncut() -> None:
    text = RENDERER.instant(replace(EVENT, headline="long " * 100), SMS).text
    assert sms_segments(text) == 2
    assert text.endswith("... https://app.example.com")
