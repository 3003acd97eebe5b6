"""Function names that Gemini takes.

A name is kept if it fits; otherwise it is changed in the same way every time, so that the history of a conversation
names the same functions as its tools. (Begins with a letter or `_`, then letters, digits, `_ . : -`, at most 64:
ai.google.dev/gemini-api/docs/function-calling, 2026-11.)
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_FITTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
_KEPT: Final = 55


def sent_name(name: str) -> str:
    """Returns the name under which the upstream knows the client's function `name`."""
    if _FITTING.fullmatch(name):
        return name
    plain = _FOREIGN.sub("_", name)[:_KEPT]
    if not plain or not (plain[0].isalpha() or plain[0] == "_"):
        plain = "_" + plain[: _KEPT - 1]
    return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
