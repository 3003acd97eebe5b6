"""Response heads as bytes, in which no header value can break the framing."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable

_CONTROLS = bytes([*range(0x00, 0x20), 0x7F])
_CONTROLS_BUT_CRLF = _CONTROLS.replace(b"\r", b"").replace(b"\n", b"")
_bad_name = re.compile(rb"[^A-Za-z0-9!#$%&'*+.^_`|~-]").search


def clean_header_value(value: str) -> str:
    """Returns `value` without control characters and with `?` for what latin-1 lacks; usually `value` itself."""
    if value.isascii() and value.isprintable():
        return value
    kept = "".join(character for character in value if ord(character) >= 0x20 and ord(character) != 0x7F)
    return kept.encode("latin-1", "replace").decode("latin-1")


def status_line(status: int) -> bytes:
    """Returns the first line of a response."""
    try:
        phrase = http.HTTPStatus(status).phrase.encode()
    except ValueError:
        phrase = b""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns the encoded lines; control characters are dropped from values, and headers with a bad name whole."""
    pairs = list(headers)
    lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
    if is_clean(lines, len(pairs)):
        return lines
    good = [(name, value.translate(None, _CONTROLS)) for name, value in pairs if name and not _bad_name(name)]
    return b"".join([b"%b: %b\r\n" % pair for pair in good])


def pairs_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Returns what such lines say as ASGI wants it."""
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


def is_clean(lines: bytes, count: int) -> bool:
    """Tells whether `lines` are exactly `count` header lines without stray control characters."""
    return (
        lines.count(b"\n") == count
        and lines.count(b"\r") == count
        and len(lines.translate(None, _CONTROLS_BUT_CRLF)) == len(lines)
    )
