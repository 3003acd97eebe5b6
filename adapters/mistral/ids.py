"""Ids of tool calls, of which Mistral takes nine letters and digits only."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

_FITTING: Final = re.compile(r"[A-Za-z0-9]{9}")
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH: Final = 9
_MOST_CHARS: Final = 64
"""Of an id that is remembered. Clients write what they like: of long ones, thousands would be gigabytes."""
NO_ID: Final = "null"
"""What Mistral writes for a call without an id: the default of the field in its OpenAPI file (2026-11-21)."""


def tool_id(id: str) -> str:
    """Returns the id itself if it fits, else nine characters that depend on it alone.

    A call and its result keep the same id, and so does the same history in the next request. Nothing has to be mapped
    back: the answer brings new calls with ids of Mistral's own.
    """
    if _FITTING.fullmatch(id):
        return id
    return _remembered(id) if len(id) <= _MOST_CHARS else _worked_out(id)


def _worked_out(id: str) -> str:
    number = int.from_bytes(hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    digits: list[str] = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[rest])
    return "".join(digits)


_remembered: Final = lru_cache(maxsize=4096)(_worked_out)
