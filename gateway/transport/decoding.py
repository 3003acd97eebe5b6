"""Bodies that an upstream compressed although it was asked not to."""

from __future__ import annotations

import zlib
from typing import Final

from gateway.transport.base import Fault, TransportError

PIECE_BYTES: Final = 256 * 1024
"""Most decoded bytes that one `take` returns: what a bomb can cost at a time."""
_DEFLATE_START: Final = 2
"""Bytes that tell the two kinds of deflate apart."""
_GZIP: Final = frozenset({"gzip", "x-gzip"})


def inflater_for(content_encoding: str) -> Inflater | None:
    """Returns a decoder for gzip or deflate, None for `identity`; else raises TransportError(PROTOCOL)."""
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in _GZIP:
        return Inflater(is_gzip=True)
    if encoding == "deflate":
        return Inflater(is_gzip=False)
    raise TransportError(Fault.PROTOCOL, "the response has a content encoding that was not asked for")


class Inflater:
    """Decodes one gzip or deflate body piece by piece, holding no more than one input and one piece."""

    __slots__ = ("_has_input", "_inflate", "_is_full", "_pending")

    def __init__(self, *, is_gzip: bool) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if is_gzip else None
        self._pending = b""
        self._has_input = False
        # zlib may hold output back after it has taken all input, if the last piece was as large as allowed.
        self._is_full = False

    @property
    def is_drained(self) -> bool:
        """True if `take` has nothing to return until more is pushed."""
        if self._inflate is None:
            return len(self._pending) < _DEFLATE_START
        return not self._pending and not self._is_full

    def push(self, data: bytes) -> None:
        """Adds compressed bytes."""
        self._has_input = True
        self._pending += data

    def take(self) -> bytes:
        """Returns up to PIECE_BYTES decoded bytes, b"" for want of input; raises TransportError(PROTOCOL)."""
        if self._inflate is None:
            if len(self._pending) < _DEFLATE_START:
                return b""
            self._inflate = zlib.decompressobj(_deflate_window(self._pending))
        if self._inflate.eof:
            if self._pending:
                raise TransportError(Fault.PROTOCOL, "bytes follow the end of the compressed body")
            return b""
        try:
            piece = self._inflate.decompress(self._pending, PIECE_BYTES)
        except zlib.error:
            raise TransportError(Fault.PROTOCOL, "the compressed body cannot be decoded") from None
        self._is_full = len(piece) >= PIECE_BYTES and not self._inflate.eof
        self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return piece

    def finish(self) -> None:
        """Checks that the compressed body is whole, or has no byte at all; raises TransportError(DISCONNECTED)."""
        if self._has_input and (self._inflate is None or not self._inflate.eof):
            raise TransportError(Fault.DISCONNECTED, "the compressed body was cut short")


def _deflate_window(start: bytes) -> int:
    # HTTP's "deflate" is zlib (RFC 9110 8.4.1.2), but raw deflate is sent under that name as well.
    is_zlib = start[0] & 0x0F == zlib.DEFLATED and (start[0] << 8 | start[1]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
