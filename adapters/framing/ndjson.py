"""Newline-delimited JSON: one value a line, LF or CRLF; empty lines mean nothing.

A raw line end cannot occur inside JSON, where control characters are escaped, so every LF ends a value. The last line
may lack its LF.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.framing import FramingError


class LineSplitter:
    """Cuts a byte stream into lines that are not empty."""

    __slots__ = ("_cap", "_rest")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rest = bytearray()
        """The unfinished line: not copied for each of the thousands of packets in which an image comes."""

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Returns the lines that `data` completes, without their ends; raises FramingError past the cap."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = bytes(self._rest + lines[0])
            self._rest.clear()
        self._rest += rest
        found = [line for line in map(bytes.strip, lines) if line]
        if len(self._rest) > self._cap:
            self._rest.clear()
            raise FramingError(found, "a line of the upstream's stream is too long")
        return found

    def close(self) -> Sequence[bytes]:
        """Returns the line that the end of file leaves without an end."""
        rest = bytes(self._rest).strip()
        self._rest.clear()
        return [rest] if rest else []
