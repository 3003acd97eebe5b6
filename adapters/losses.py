"""What a turn holds that most protocols have no place for, reported in one place for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from adapters.conversation import Turn
from adapters.fidelity import Report

_HAS: Final[Mapping[str, Callable[[Turn], bool]]] = {
    "name": lambda turn: bool(turn.name),
    "cache_control": lambda turn: turn.cache is not None or any(part.cache is not None for part in turn.parts),
    "prefix": lambda turn: turn.is_prefix,
    "is_error": lambda turn: turn.is_error,
    "audio": lambda turn: bool(turn.audio_id),
    "extra_content": lambda turn: turn.extra is not None or any(call.extra is not None for call in turn.calls),
}


def note_losses(turn: Turn, report: Report, *names: str) -> None:
    """Reports those of the named members that the turn has: `name`, `cache_control`, `audio`, ..."""
    if turn.words is not None:
        return
    for name in names:
        if _HAS[name](turn):
            report.drop(f"messages.{name}")
