"""Where prompt caches break: the client's own marks, or else ours where they pay.

A request may have four. What is marked is cached with everything before it, in the order tools, system, messages; a
mark below a model's least length (1,024 tokens or more) does nothing. (platform.claude.com: prompt caching,
2026-08-22.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from adapters.anthropic.history import History, blocks_of
from adapters.fidelity import Report

Block = dict[str, Any]
MOST_MARKS: Final = 4
LONG_SYSTEM: Final = 3_072
"""Characters of the system prompt above which a mark behind it pays: about 1,024 tokens by the shortest reckoning."""
LONG_CONVERSATION: Final = 4
"""Messages above which a mark at the end pays."""
_MARK: Final = {"type": "ephemeral"}


def place_marks(
    tools: Sequence[Block], history: History, report: Report, *, is_wanted: bool, has_automatic: bool
) -> None:
    """Marks blocks if that is wanted and the client marked none, and takes away what is more than four.

    `has_automatic` says that the client asked for the vendor's own mark at the end, which counts.
    """
    marked = [block for block in _blocks(tools, history) if "cache_control" in block]
    if not marked and not has_automatic:
        if is_wanted:
            _place(tools, history.system, history.messages)
        return
    most = MOST_MARKS - has_automatic
    if len(marked) > most:
        report.drop("messages.cache_control")
        for block in marked[:-most]:  # the later ones cover what the earlier ones do
            del block["cache_control"]


def _place(tools: Sequence[Block], system: Sequence[Block], messages: Sequence[Block]) -> None:
    if tools:
        tools[-1]["cache_control"] = _MARK
    if sum(len(block["text"]) for block in system) > LONG_SYSTEM:
        system[-1]["cache_control"] = _MARK
    if len(messages) > LONG_CONVERSATION:
        blocks_of(messages[-1])[-1]["cache_control"] = _MARK


def _blocks(tools: Sequence[Block], history: History) -> Iterable[Block]:
    """Yields the blocks that may be marked."""
    yield from tools
    if history.has_marks:
        yield from history.system
        for message in history.messages:
            yield from blocks_of(message)
