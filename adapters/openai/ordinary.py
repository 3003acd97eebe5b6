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

    __slots__ = ("_after", "_before", "_closing")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._closing = b""
        """What follows the text, with the empty line that ends the event."""

    def learn(self, block: bytes, content: bytes) -> None:
        """Takes an event that was relayed unchanged and whose only news is the JSON string `content`."""
        before, found, after = block.partition(_KEY + content)
        if found and _KEY not in after:
            self._before = before + _KEY + b'"'
            self._after = b'"' + after
            self._closing = self._after + b"\n\n"

    def knows(self, block: bytes) -> bool:
        """Returns whether `block` is such an event again, with some text in it."""
        return self._surround(block, self._after)

    def is_all_of(self, packet: bytes) -> bool:
        """Returns whether `packet` is such an event, whole, with the empty line that ends it, and nothing else."""
        return self._surround(packet, self._closing)

    def _surround(self, data: bytes, after: bytes) -> bool:
        before = self._before
        start, end = len(before), len(data) - len(after)
        return (
            0 < start < end
            and data.startswith(before)
            and data.endswith(after)
            and _DOUBTFUL.search(data, start, end) is None
        )
