"""Names and ids that Bedrock forbids, mapped to ones that it takes, by nothing but the name itself.

The same name gives the same one in every turn of a conversation: else no cache of a prefix would ever hit.
(Converse: `ToolName` is 1 to 64 of `[a-zA-Z0-9_-]`, `ToolUseId` 1 to 64 of `[a-zA-Z0-9_.:-]`, botocore 1.44.5.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from adapters.distinct import Distinct
from adapters.tools import Tool

_MOST: Final = 64
_HASH: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_SHORT_ID: Final = re.compile(r"[A-Za-z0-9]{9}")
_DOCUMENT: Final = re.compile(r"[^A-Za-z0-9\s\-()\[\]]")
_BLANKS: Final = re.compile(r"\s+")


def tool_name(name: str) -> str:
    """Returns the name under which a tool is sent."""
    return name if _NAME.fullmatch(name) else _fitted(name, _NOT_IN_NAMES)


def call_id(id: str, ids: Distinct, *, is_short: bool) -> str:
    """Returns the id under which a call is sent, none of the `ids` before: a conversation may not use one twice.

    `is_short` is for models that want nine letters or digits.
    """
    wanted = _call_id(id, is_short=is_short)
    return ids.give(wanted, lambda count: _call_id(f"{id}-{count}", is_short=is_short))


def _call_id(id: str, *, is_short: bool) -> str:
    if is_short:
        return id if _SHORT_ID.fullmatch(id) else _digest(id)[:9]
    return id if _ID.fullmatch(id) else _fitted(id, _NOT_IN_IDS)


def original_names(tools: Iterable[Tool]) -> Mapping[str, Tool]:
    """Returns the tools by the names under which they are sent."""
    return {tool_name(tool.name): tool for tool in tools}


def document_name(name: str, names: Distinct) -> str:
    """Returns a name for a file that no other file of the request has.

    Letters, digits, single blanks, hyphens, brackets and parentheses only, at most 200 of them.
    """
    stem = name.rpartition(".")[0] or name
    plain = _BLANKS.sub(" ", _DOCUMENT.sub(" ", stem)).strip()[:180] or "document"
    return names.give(plain, lambda count: f"{plain} ({count + 1})")


def _fitted(name: str, forbidden: re.Pattern[str]) -> str:
    return f"{forbidden.sub('_', name)[: _MOST - _HASH - 1]}_{_digest(name)[:_HASH]}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
