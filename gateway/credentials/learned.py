"""What a provider's headers say about a key: how much is left, and until when nothing is.

OpenAI's names (platform.openai.com, rate limits, read 2026-09-30), which Groq, Cerebras, Together and others use, too,
and Anthropic's (platform.claude.com, API rate limits, read 2026-08-22), whose resets are moments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.credentials.keyring import KeyState

_KINDS: Final = ("requests", "tokens")
_FAMILIES: Final = (
    ("x-ratelimit-remaining-", "", "x-ratelimit-reset-", ""),
    ("anthropic-ratelimit-", "-remaining", "anthropic-ratelimit-", "-reset"),
)
_DURATION: Final = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
_MOST_SECONDS: Final = 60.0
"""A forecast further ahead is not worth leaving a key alone for."""
_MAX_CHARS: Final = 64


def learn(state: KeyState, headers: Mapping[str, str], now: float) -> None:
    """Notes what the headers of a response say about its key at monotonic time `now`."""
    for before, after, reset_before, reset_after in _FAMILIES:
        if f"{before}requests{after}" not in headers and f"{before}tokens{after}" not in headers:
            continue
        figures: dict[str, str] = {}
        until = 0.0
        for kind in _KINDS:
            left = headers.get(f"{before}{kind}{after}", "")[:_MAX_CHARS]
            if not left.isdecimal():
                continue
            figures[f"remaining-{kind}"] = left
            if int(left) == 0:
                seconds = _seconds(headers.get(f"{reset_before}{kind}{reset_after}", ""), headers)
                until = max(until, now + min(seconds, _MOST_SECONDS))
        state.limits = figures
        state.exhausted_until = until
        return


def _seconds(text: str, headers: Mapping[str, str]) -> float:
    """Returns the seconds that a reset is away: a number, a duration as `6m0s`, or a moment; 0 if it is none."""
    text = text.strip()[:_MAX_CHARS]
    try:
        return min(max(0.0, float(text)), _MOST_SECONDS)
    except ValueError:
        pass
    match = _DURATION.fullmatch(text)
    if match and text:
        days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    try:
        return max(0.0, (datetime.fromisoformat(text) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0
