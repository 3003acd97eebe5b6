"""Takes the fence of Markdown away from JSON that was asked for in words, whole or while it arrives."""

from __future__ import annotations

import re
from typing import Final

_OPENING: Final = re.compile(r"\s*```[a-zA-Z]{0,10}[ \t]*\n")
_MAY_OPEN: Final = re.compile(r"\s{0,64}(?:`{0,2}|```[a-zA-Z]{0,10}[ \t]{0,8})")
_MAY_CLOSE: Final = re.compile(r"\s{0,64}(?:`{1,2}|```\s{0,64})?\Z")
_CLOSING: Final = re.compile(r"\s*```\s*\Z")


class Fence:
    """Pieces of text go in, pieces without the fence come out; an opening without a closing is taken away, too."""

    __slots__ = ("_held", "_is_fenced", "_is_undecided")

    def __init__(self) -> None:
        self._held = ""
        self._is_undecided = True
        """It is not yet known whether there is a fence."""
        self._is_fenced = False

    def feed(self, piece: str) -> str:
        """Returns what can be told of the text so far."""
        text = self._held + piece
        self._held = ""
        if self._is_undecided:
            if found := _OPENING.match(text):
                text = text[found.end() :]
                self._is_fenced = True
            elif _MAY_OPEN.fullmatch(text):
                self._held = text
                return ""
            self._is_undecided = False
        if not self._is_fenced:
            return text
        found = _MAY_CLOSE.search(text)
        end = found.start() if found else len(text)
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        """Returns what was held back and is no fence."""
        held, self._held = self._held, ""
        return "" if self._is_fenced and _CLOSING.match(held) else held


def unfenced(text: str) -> str:
    """Returns a whole text without its fence."""
    fence = Fence()
    return fence.feed(text) + fence.close()
