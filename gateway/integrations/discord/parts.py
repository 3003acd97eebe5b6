"""A long text as several messages, each a whole one: code that is cut is closed, and opened again in the next.

Theory. A text grows while it is shown, and what was shown should stay as it is. So each message is cut from the rest of
the text by what stands in the first characters of that rest alone; only the last one still changes.

Discord counts code points, 2,000 in a message ("Our API uses Python 3, so the API calculates length based on the number
of codepoints": discord/discord-api-docs#1315, 2020-01-23, read 2026-11-21), which is what `len` of a text counts.
"""

from __future__ import annotations

import re
from typing import Final

MAX_CHARACTERS: Final = 2000
_FENCE: Final = re.compile(r" {0,3}(`{3,8})([^`]*)")
_END_CHARACTERS: Final = 9
"""What closes code: the end of a line, and at most as many ticks as `_FENCE` takes."""
_MAX_LANGUAGE: Final = 32
_MARKS: Final = ("\n\n", "\n", " ")
"""Where a text is cut, the best first."""


def split(text: str, limit: int = MAX_CHARACTERS) -> list[str]:
    """Returns the messages, none of which is empty or longer than `limit`."""
    parts: list[str] = []
    fence = ""
    rest = text.strip("\n")
    while rest:
        begin = f"{fence}\n" if fence else ""
        piece, rest = _cut(rest, limit - len(begin) - _END_CHARACTERS)
        head, _, last = piece.rpartition("\n")
        if rest and head.strip() and not _fence_after(head, fence) and _fence_after(piece, fence):
            piece, rest = head, f"{last}\n{rest}"  # code that would begin at the very end
        fence = _fence_after(piece, fence)
        end = f"\n{_ticks(fence)}" if fence else ""
        if piece.strip():
            parts.append(f"{begin}{piece.rstrip()}{end}")  # Discord cuts blanks off, too
        line, _, behind = rest.partition("\n")
        if fence and not _fence_after(line, fence):
            rest, fence = behind, ""  # it was closed just there
    return parts


def _cut(text: str, room: int) -> tuple[str, str]:
    """Returns the first piece of a text, and the rest without the blank at which it was cut."""
    if len(text) <= room:
        return text, ""
    for mark in _MARKS:
        at = text.rfind(mark, room // 2, room + 1)
        if at > 0:
            return text[:at], text[at + len(mark) :]
    # Three of them may be the end of code: they are kept together.
    at = len(text[:room].rstrip("`")) or room
    return text[:at], text[at:]


def _fence_after(piece: str, fence: str) -> str:
    """Returns the line that has opened code which is open after a piece, "" if none is; `fence` is open before it."""
    for line in piece.split("\n"):
        found = _FENCE.fullmatch(line)
        if not found:
            continue
        ticks, language = found[1], found[2].strip()
        if not fence:
            fence = f"{ticks}{language[:_MAX_LANGUAGE]}"
        elif not language and len(ticks) >= len(_ticks(fence)):
            fence = ""
    return fence


def _ticks(fence: str) -> str:
    return fence[: len(fence) - len(fence.lstrip("`"))]
