"""Names of tools: Cohere takes letters, digits and underscores, and no digit first.

The mapping depends on nothing but the names of the request, so that each turn of a conversation sends the same ones.
(docs.cohere.com/docs/tool-use-parameter-types, read 2026-08-20.)
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from adapters.tools import read_tools
from adapters.types import Call

_LEGAL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OTHER: Final = re.compile(r"[^A-Za-z0-9_]", re.ASCII)


def legal_name(name: str) -> str:
    """Returns `name` as Cohere takes it."""
    if _LEGAL.fullmatch(name):
        return name
    made = _OTHER.sub("_", name)
    return made if made and not made[0].isdigit() else "_" + made


def legal_names(names: Sequence[str]) -> Mapping[str, str]:
    """Returns each name with what is sent for it; a short hash tells apart what would become the same."""
    counts = Counter(map(legal_name, dict.fromkeys(names)))
    made: dict[str, str] = {}
    for name in names:
        legal = legal_name(name)
        if legal != name and counts[legal] > 1:
            legal += "_" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        made[name] = legal
    return made


def given_names(call: Call) -> Mapping[str, str]:
    """Returns each name that was sent with the one that the client gave, where they differ."""
    names = legal_names([tool.name for tool in read_tools(call.fields).tools])
    return {sent: given for given, sent in names.items() if sent != given}
