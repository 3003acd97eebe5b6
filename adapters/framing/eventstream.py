"""AWS event streams: binary messages in, events out, and back (`application/vnd.amazon.eventstream`).

Theory. A message says its own length, so that it can be cut out without looking at what it carries:

    total length u32 | length of headers u32 | CRC-32 of these eight bytes | headers | payload | CRC-32 of all before

All numbers are big endian. The first checksum is tested as soon as its twelve bytes are here: a length is believed
only then, and never above the cap. A stream may end only between messages; bytes that are left are a broken stream.

The headers of a stream repeat byte for byte, message by message, so each kind is read once and remembered.
(Encoding: docs.aws.amazon.com, "Amazon S3 SELECT Object Content response" and Transcribe's "Event stream encoding",
which are the same, read 2026-11-21; the types of headers are those of botocore 1.44.5.)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

from msgspec import Struct

from adapters.framing import FramingError

_LENGTHS: Final = struct.Struct(">II")
_CHECKSUM: Final = struct.Struct(">I")
_PRELUDE_BYTES: Final = 12
_OVERHEAD_BYTES: Final = 16
"""Prelude and last checksum: what a message has beside headers and payload."""
_BYTES: Final = 6
_STRING: Final = 7
_WIDTHS: Final[Mapping[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Type of a header -> bytes of its value; bytes and strings say their own length."""
_MAX_KINDS: Final = 64
"""Most kinds of headers remembered; an honest stream has about eight."""


class Heading(Struct, frozen=True):
    """What the headers of one message say."""

    kind: str
    """`event`, `exception` or `error`."""
    name: str
    """Which event or exception; of an `error`, its code."""
    message: str = ""
    """Of an `error`: what the headers say about it."""


class Message(Struct, frozen=True):
    """One message."""

    heading: Heading
    payload: bytes


class MessageSplitter:
    """Cuts a byte stream into messages, both checksums tested."""

    __slots__ = ("_cap", "_held", "_kinds", "_needed")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._held = bytearray()
        self._needed = _PRELUDE_BYTES
        """Bytes that must be here before there is anything to do."""
        self._kinds: dict[bytes, Heading] = {}

    def feed(self, data: bytes) -> Sequence[Message]:
        """Returns the messages that `data` completes; raises FramingError."""
        held = self._held
        held += data
        if len(held) < self._needed:
            return ()
        found: list[Message] = []
        whole = bytes(held)
        at = 0
        try:
            while len(whole) - at >= _PRELUDE_BYTES:
                total, headers = self._lengths(whole, at)
                if len(whole) - at < total:
                    self._needed = total
                    break
                found.append(self._message(whole, at, total, headers))
                at += total
            else:
                self._needed = _PRELUDE_BYTES
        except _Broken as broken:
            held.clear()
            raise FramingError(found, f"the upstream's event stream is broken: {broken}") from broken
        del held[:at]
        return found

    def close(self) -> Sequence[Message]:
        """Returns nothing: the end of file completes no message; raises FramingError if one is unfinished."""
        left = len(self._held)
        if left:
            self._held.clear()
            raise FramingError((), f"the upstream's event stream ended {left} bytes into a message")
        return ()

    def _lengths(self, data: bytes, at: int) -> tuple[int, int]:
        total, headers = _LENGTHS.unpack_from(data, at)
        (checksum,) = _CHECKSUM.unpack_from(data, at + 8)
        if crc32(data[at : at + 8]) != checksum:
            raise _Broken("the checksum of a message's lengths is wrong")
        if headers > total - _OVERHEAD_BYTES:
            raise _Broken("the lengths of a message contradict each other")
        if total > self._cap:
            raise _Broken("a message is too long")
        return total, headers

    def _message(self, data: bytes, at: int, total: int, headers: int) -> Message:
        end = at + total - 4
        (checksum,) = _CHECKSUM.unpack_from(data, end)
        if crc32(memoryview(data)[at:end]) != checksum:
            raise _Broken("the checksum of a message is wrong")
        begin = at + _PRELUDE_BYTES
        kind = data[begin : begin + headers]
        heading = self._kinds.get(kind)
        if heading is None:
            heading = _heading(kind)
            if len(self._kinds) < _MAX_KINDS:
                self._kinds[kind] = heading
        return Message(heading, data[begin + headers : end])


class _Broken(Exception):
    """The bytes are no event stream; carries why."""


def _heading(data: bytes) -> Heading:
    try:
        values = _strings(data)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise _Broken("the headers of a message cannot be read") from error
    kind = values.get(":message-type", "event")
    if kind == "error":
        return Heading(kind, values.get(":error-code", ""), values.get(":error-message", ""))
    return Heading(kind, values.get(f":{kind}-type", ""))


def _strings(data: bytes) -> dict[str, str]:
    """Returns the headers that are strings; IndexError, KeyError or struct.error for what are no headers."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        start = at + 1
        at = start + data[at]
        name = data[start:at].decode()
        type_ = data[at]
        at += 1
        if type_ in (_BYTES, _STRING):
            (width,) = struct.unpack_from(">H", data, at)
            at += 2
        else:
            width = _WIDTHS[type_]
        value = data[at : at + width]
        if len(value) != width:
            raise IndexError(at)
        at += width
        if type_ == _STRING:
            found[name] = value.decode()
    return found


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Returns one message with these headers, all of them strings."""
    block = b"".join(
        bytes((len(name),)) + name.encode() + struct.pack(">BH", _STRING, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    lengths = _LENGTHS.pack(len(block) + len(payload) + _OVERHEAD_BYTES, len(block))
    body = lengths + _CHECKSUM.pack(crc32(lengths)) + block + payload
    return body + _CHECKSUM.pack(crc32(body))
