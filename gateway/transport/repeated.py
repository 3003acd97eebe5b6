"""Heads that come again: most peers write the same head in every message, but for the length of the body.

Theory. A head that a parser has read and we have judged means the same when the same bytes come again. Only the digits
of its `Content-Length` may differ: they are looked for once, and what stands before and behind them is compared. Any
other difference, and a head that has not come whole, is the parser's to read.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

MAX_HEAD_BYTES: Final = 4096
"""Longer heads are not remembered: there is one for each connection."""
MAX_DIGITS: Final = 9
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d{1,9})\r\n")


class RepeatedHead(Struct, frozen=True):
    """A head with its empty line, and where in it the digits of the length stand."""

    whole: bytes
    begin: int
    end: int

    def match(self, data: bytes, start: int) -> tuple[int, bytes] | None:
        """Returns where the body begins if the same head stands at `start`, and the digits of its length."""
        whole, begin, end = self.whole, self.begin, self.end
        if data.startswith(whole, start):
            return start + len(whole), whole[begin:end]
        at = start + begin
        behind = data.find(b"\r", at, at + MAX_DIGITS + 1)
        if behind < 0 or not data.startswith(whole[:begin], start) or not data.startswith(whole[end:], behind):
            return None
        digits = data[at:behind]
        return (behind + len(whole) - end, digits) if digits.isdigit() else None


def repeated(head: bytes) -> RepeatedHead | None:
    """Returns what the next head is to be compared with; None for one that is not worth it."""
    found = _LENGTH.search(head) if len(head) <= MAX_HEAD_BYTES else None
    return None if found is None else RepeatedHead(head, *found.span(1))
