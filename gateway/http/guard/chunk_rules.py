"""Where a chunked request body ends, and its caps.

The parser alone accepts endless chunk extensions and trailers and does not tell where a message ended; this scanner
walks the framing beside it. Both are strict (RFC 9112 section 7.1), and the edge refuses a message on which they
differ.
"""

from __future__ import annotations

import re

from gateway.http.guard.refusal import Refusal, Refused

MAX_OVERHEAD_BYTES = 4096
"""Cap of all chunk extensions and trailers of one message."""

_size_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n\Z").match


class ChunkScanner:
    """Follows one chunked body through any cutting of its bytes."""

    __slots__ = ("_in_trailers", "_left", "_line", "_max_body", "_overhead", "body_bytes", "fault", "is_done")

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body = max_body_bytes
        self._left = 0
        """Bytes of the current chunk still to come, with the CRLF behind it."""
        self._line = b""
        self._overhead = 0
        self._in_trailers = False
        self.body_bytes = 0
        """Sum of the chunk sizes announced so far."""
        self.is_done = False
        self.fault: Refusal | None = None
        """Why the body is refused; the bytes up to the returned index are still good."""

    def scan(self, data: bytes, start: int) -> int:
        """Returns the index just past the last good byte of this body in `data`."""
        end = len(data)
        while start < end and not self.is_done:
            if self._left:
                step = min(self._left, end - start)
                self._left -= step
                start += step
            else:
                try:
                    start = self._read_line(data, start)
                except Refused as refused:
                    self.fault = refused.refusal
                    break
        return start

    def _read_line(self, data: bytes, start: int) -> int:
        stop = data.find(b"\n", start, start + MAX_OVERHEAD_BYTES + 32) + 1
        piece = data[start : stop or min(len(data), start + MAX_OVERHEAD_BYTES + 32)]
        self._line += piece
        if len(self._line) + self._overhead > MAX_OVERHEAD_BYTES + 18:
            raise Refused(400, "invalid_http", "Chunk extensions or trailers are too long.")
        if stop:
            line, self._line = self._line, b""
            if self._in_trailers:
                self._end_of_trailer(line)
            else:
                self._end_of_size(line)
        return start + len(piece)

    def _end_of_trailer(self, line: bytes) -> None:
        self._overhead += len(line)
        self.is_done = line == b"\r\n"

    def _end_of_size(self, line: bytes) -> None:
        match = _size_line(line)
        if match is None:
            raise Refused(400, "invalid_http", "The request is not valid HTTP: bad chunk size.")
        digits = match[1]
        size = int(digits, 16)
        self._overhead += len(line) - len(digits) - 2
        self.body_bytes += size
        if self.body_bytes > self._max_body:
            raise too_large(self._max_body)
        self._in_trailers = size == 0
        self._left = size + 2 if size else 0


def too_large(max_body_bytes: int) -> Refused:
    """Returns the refusal of a big body."""
    message = f"The request body is larger than {max_body_bytes} bytes (server.max_body_bytes)."
    return Refused(413, "request_too_large", message)
