"""What a provider's headers say is left of its rate limits, and when there will be more.

OpenAI's names (platform.openai.com, rate limits, read 2026-09-30), which Groq, Cerebras, Together and others use, too,
and Anthropic's (platform.claude.com, API rate limits, read 2026-08-22), whose resets are moments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

_KINDS: Final = ("requests", "tokens")
_FAMILIES: Final = (
    ("x-ratelimit-remaining-", "", "x-ratelimit-reset-", ""),
    ("anthropic-ratelimit-", "-remaining", "anthropic-ratelimit-", "-reset"),
)
_TELLING: Final = frozenset(f"{before}{kind}{after}" for before, after, _, _ in _FAMILIES for kind in _KINDS)
_DURATION: Final = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
_MAX_CHARS: Final = 64


class Allowance(Struct, frozen=True):
    """What is left of the limits of one key."""

    left: Mapping[str, int]
    """`requests` and `tokens` -> how many."""
    empty_seconds: float
    """For how long nothing is left of one of them; 0 if something is left of each."""


def allowance(headers: Mapping[str, str]) -> Allowance | None:
    """Returns what the headers of a response say, None if nothing; names in lower case."""
    if _TELLING.isdisjoint(headers):
        return None
    for before, after, reset_before, reset_after in _FAMILIES:
        if f"{before}requests{after}" not in headers and f"{before}tokens{after}" not in headers:
            continue
        left: dict[str, int] = {}
        empty_seconds = 0.0
        for kind in _KINDS:
            figure = headers.get(f"{before}{kind}{after}", "")
            if not (figure.isascii() and figure.isdecimal() and len(figure) < 16):
                continue
            left[kind] = int(figure)
            if not left[kind]:
                reset = _seconds(headers.get(f"{reset_before}{kind}{reset_after}", ""), headers)
                empty_seconds = max(empty_seconds, reset)
        return Allowance(left, empty_seconds)
    return None


def _seconds(text: str, headers: Mapping[str, str]) -> float:
    """Returns the seconds that a reset is away: a number, a duration as `6m0s`, or a moment; 0 if it is none."""
    text = text.strip()
    if len(text) > _MAX_CHARS:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if match is None or not text:
            return _until(text, headers)
        return sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS, strict=True))
    return seconds if 0 < seconds < float("inf") else 0.0


def _until(text: str, headers: Mapping[str, str]) -> float:
    # Against the response's own date: this package has no clock.
    try:
        return max(0.0, (datetime.fromisoformat(text) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0
