"""How long a text is to Telegram and to mobile networks, and how to cut it there. Pure.

Sources: Telegram Bot API, sendMessage (1-4096 characters after entity parsing, counted in UTF-16
units); 3GPP TS 23.038 (GSM-7 alphabet) and TS 23.040 (160/70 in one segment, 153/67 in several).
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

TELEGRAM_LIMIT = 4096
ELLIPSIS = "…"

_TOKEN = re.compile(r"<[^>]*>|&(?:#\d+|#x[0-9a-fA-F]+|\w+);|.", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_TAG_NAME = re.compile(r"</?([a-zA-Z-]+)")
_GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("^{}\\[~]|€\f")
_TO_GSM = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\xa0": " "})


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last of them an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def telegram_units(markup: str) -> int:
    """Length of Telegram HTML as Telegram counts it: UTF-16 units, tags and entities resolved."""
    return _units(telegram_plain(markup))


@lru_cache(maxsize=64)
def cut_telegram(markup: str, limit: int = TELEGRAM_LIMIT) -> str:
    """Cut Telegram HTML to `limit` units: no tag or entity is broken, open tags are closed.

    Kept for a while, because the same alert goes to many."""
    if telegram_units(markup) <= limit:
        return markup
    kept: list[str] = []
    open_tags: list[str] = []
    room = limit - _units(ELLIPSIS)
    for token in _TOKEN.findall(markup):
        if _is_tag(token):
            if token.startswith("</"):
                open_tags.pop()
            else:
                open_tags.append(_TAG_NAME.match(token)[1])  # type: ignore[index]  # a tag matches
        else:
            room -= _units(html.unescape(token))
            if room < 0:
                break
        kept.append(token)
    return "".join([*kept, ELLIPSIS, *(f"</{tag}>" for tag in reversed(open_tags))])


def telegram_plain(markup: str) -> str:
    """Telegram HTML as plain text."""
    return html.unescape(_TAG.sub("", markup))


def sms_segments(text: str) -> int:
    """How many SMS segments a text takes; a character is never split over two."""
    if all(char in _GSM_BASIC or char in _GSM_EXTENDED for char in text):
        widths, single, several = [2 if char in _GSM_EXTENDED else 1 for char in text], 160, 153
    else:
        widths, single, several = [_units(char) for char in text], 70, 67
    if sum(widths) <= single:
        return 1
    segments, room = 1, several
    for width in widths:
        if width > room:
            segments, room = segments + 1, several
        room -= width
    return segments


def cut_sms(text: str, ending: str = "", segments: int = 2) -> str:
    """`text` and `ending` (a link, never cut) within `segments`, with typographic characters replaced that
    would force the short alphabet."""
    text = text.translate(_TO_GSM)
    if sms_segments(text + ending) <= segments:
        return text + ending
    keep = min(len(text), segments * 153)
    while keep and sms_segments(text[:keep].rstrip() + "..." + ending) > segments:
        keep -= 1
    return text[:keep].rstrip() + "..." + ending


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _is_tag(token: str) -> bool:
    return len(token) > 1 and token.startswith("<")
