"""Lengths as Telegram and mobile networks count them, and cutting there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.alerts.channels.lengths import cut_sms, cut_telegram, shorten, sms_segments, telegram_plain, telegram_units
from src.alerts.channels.sms import TwilioChannel


@pytest.mark.parametrize(
    ("markup", "units"),
    [
        ("plain", 5),
        ("<b>bold</b>", 4),
        ('<a href="https://example.com/?a=1&amp;b=2">link</a>', 4),
        ("a &lt; b &amp; c", 9),
        ("&#39;&#x1F525;", 3),
        ("🔥", 2),
        ("ة", 1),
    ],
)
def test_telegram_counts_utf16_units_after_entities(markup: str, units: int) -> None:
    assert telegram_units(markup) == units


PIECES = st.lists(
    st.sampled_from(
        ["x", " ", "&amp;", "&lt;", "🔥", "é", "<b>y</b>", '<a href="https://e.com">z &gt;</a>', "<i><b>n</b></i>"]
    ),
    max_size=80,
)


@given(PIECES, st.integers(1, 60))
def test_cut_telegram_fits_and_stays_well_formed(pieces: list[str], limit: int) -> None:
    markup = "".join(pieces)
    cut = cut_telegram(markup, limit)
    assert telegram_units(cut) <= limit
    assert cut == markup if telegram_units(markup) <= limit else "…" in cut
    open_tags: list[str] = []
    for closing, name in re.findall(r"<(/?)([a-z]+)[^>]*>", cut):
        assert not closing or open_tags.pop() == name
        if not closing:
            open_tags.append(name)
    assert open_tags == []
    assert re.sub(r"&(amp|lt|gt);|<[^<>]*>", "", cut).count("&") == 0
    assert telegram_plain(markup).startswith(telegram_plain(cut).removesuffix("…"))


def test_telegram_plain_text_has_neither_tags_nor_entities() -> None:
    assert telegram_plain("<b>Gas &amp; <i>oil</i></b> &lt;3") == "Gas & oil <3"


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),  # two septets each
        ("€" * 81, 2),
        ("€" * 153, 3),  # 306 septets, but none is split over two segments
        ("é" * 160, 1),
        ("ê" * 70, 1),  # not in GSM-7: UCS-2
        ("ê" * 71, 2),
        ("ê" * 134, 2),
        ("ê" * 135, 3),
        ("🔥" * 35, 1),
        ("🔥" * 66, 2),
        ("🔥" * 67, 3),  # 134 units, but a pair is not split
    ],
)
def test_sms_segments(text: str, segments: int) -> None:
    assert sms_segments(text) == segments


@given(st.text(alphabet=st.sampled_from("a€ê🔥’ -"), max_size=500), st.sampled_from(["", " https://example.com"]))
def test_cut_sms_fits_two_segments_and_keeps_its_ending(text: str, ending: str) -> None:
    cut = cut_sms(text, ending)
    assert sms_segments(cut) <= 2
    assert cut.endswith(ending)


def test_sms_are_as_long_as_their_rate_allows_for() -> None:
    longest = sms_segments(cut_sms("x" * 1000))
    assert TwilioChannel.limits.requests_per_second == 1 / longest, "a segment a second"


def test_typographic_characters_do_not_force_the_short_alphabet() -> None:
    assert cut_sms("Gas – “up”…") == 'Gas - "up"...'


def test_shorten_says_that_something_was_cut() -> None:
    assert (shorten("abc", 3), shorten("abcd", 3)) == ("abc", "ab…")
