"""Recognises the events of which a stream is mostly made, without decoding them.

Nearly all events of one stream are equal but for the text of one `content` string: id, time, model and everything
else repeat. Once such an event has been read in full and needed no change, another one with the same bytes before and
after the text, and a text that is a JSON string beyond doubt, means the same and may be relayed as it is.
"""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = b'"content":'
_DOUBTFUL: Final = re.compile(rb'["\\\x00-\x1f\x80-\xff]')
"""What ends, escapes or must not stand in a JSON string, and what may be cut UTF-8."""


class OrdinaryEvents:
    """What precedes and follows the text of the events at hand."""

    __slots__ = ("_after", "_before", "_frame_bytes")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._frame_bytes = 0

    def learn(self, block: bytes, content: bytes) -> None:
        """Takes an event that was relayed unchanged and whose only news is the JSON string `content`."""
        before, found, after = block.partition(_KEY + content)
        if found and _KEY not in after:
            self._before = before + _KEY + b'"'
            self._after = b'"' + after
            self._frame_bytes = len(self._before) + len(self._after)

    def knows(self, block: bytes) -> bool:
        """Returns whether `block` is such an event again, with some text in it."""
        if len(block) <= self._frame_bytes or not self._frame_bytes:
            return False
        return (
            block.startswith(self._before)
            and block.endswith(self._after)
            and _DOUBTFUL.search(block, len(self._before), len(block) - len(self._after)) is None
        )
