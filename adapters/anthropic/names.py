"""Names of tools and ids of calls, in the characters that the protocol takes.

The maps are pure functions of what the client wrote: the same history must give the same bytes each turn, or neither
prompt caches nor signed reasoning hold. (`^[a-zA-Z0-9_-]{1,64}$` for names, `^[a-zA-Z0-9_-]+$` for ids;
platform.claude.com, tool use, 2026-08-22.)
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from adapters.distinct import Distinct

_FORBIDDEN: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST: Final = 64
_HASH: Final = 8


def wire_name(name: str) -> str:
    """Returns a tool's name as the protocol takes it; different names stay different."""
    return _clean(name, _LONGEST)


def wire_id(id: str, ids: Distinct) -> str:
    """Returns a call's id as the protocol takes it, and none of the `ids` before, since they must be unique."""
    cleaned = _clean(id, 256) if id else "call"
    return cleaned if ids.take(cleaned) else ids.give(cleaned, lambda count: f"{cleaned}-{count}")


def _clean(text: str, longest: int) -> str:
    if len(text) <= longest and text.isascii() and text.isidentifier():  # most are, and that is told soonest
        return text
    cleaned = _FORBIDDEN.sub("_", text)
    if cleaned == text and len(text) <= longest:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{cleaned[: longest - _HASH - 1]}_{mark}"
