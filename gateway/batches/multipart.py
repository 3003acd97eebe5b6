"""Reads an upload (`multipart/form-data`, RFC 7578) piece by piece, whatever its size; without I/O.

It is strict: what two readers could understand differently is refused.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from gateway.errors import InvalidRequest

MAX_HEAD_BYTES: Final = 8 * 1024
MAX_PARTS: Final = 20
_BOUNDARY: Final = re.compile(
    rb"""multipart/form-data\s*;\s*boundary=(?:"([^"\\\r\n]{1,70})"|([!#$%&'*+.^_`|~0-9A-Za-z=?/:,()-]{1,70}))\s*""",
    re.IGNORECASE,
)
_NAME: Final = re.compile(rb'(?:^|;)\s*name="([^"\r\n]{0,200})"')
_FILE_NAME: Final = re.compile(rb'(?:^|;)\s*filename="((?:[^"\\\r\n]|\\.){0,1000})"')
_DISPOSITION: Final = re.compile(rb"(?:^|\r\n)content-disposition:\s*form-data\s*;([^\r\n]*)", re.IGNORECASE)


class Piece(Struct, frozen=True):
    """Some bytes of one part of the form."""

    field: str
    file_name: str | None
    """None for a part that is no file."""
    data: bytes
    is_last: bool


def boundary_of(content_type: bytes) -> bytes:
    """Returns what separates the parts; raises InvalidRequest for anything but a form."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise _bad("the upload must be `multipart/form-data` with a boundary, as OpenAI's SDKs send it")
    return found[1] or found[2]


class FormReader:
    """Takes the bytes of a form as they come, and gives the pieces of its parts."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that the first delimiter looks like all others
        self._field = ""
        self._file_name: str | None = None
        self._state = "before"
        self._parts = 0

    def feed(self, data: bytes) -> list[Piece]:
        """Returns what these bytes complete; raises InvalidRequest."""
        self._buffer += data
        pieces: list[Piece] = []
        while self._step(pieces):
            pass
        return pieces

    def close(self) -> None:
        """Raises InvalidRequest if the form has not come to its end."""
        if self._state != "over":
            raise _bad("the upload breaks off before the end of the form")

    def _step(self, pieces: list[Piece]) -> bool:
        """Goes one step on; says whether there may be another one without more bytes."""
        if self._state == "over":
            self._buffer = b""
            return False
        if self._state == "between":
            return self._begin_part()
        if self._state == "head":
            return self._read_head()
        end = self._buffer.find(self._delimiter)
        if end < 0:
            kept = len(self._delimiter) - 1
            data, self._buffer = self._buffer[:-kept], self._buffer[-kept:]
            self._give(pieces, data, is_last=False)
            return False
        data, self._buffer = self._buffer[:end], self._buffer[end + len(self._delimiter) :]
        self._give(pieces, data, is_last=True)
        self._state = "between"
        return True

    def _give(self, pieces: list[Piece], data: bytes, *, is_last: bool) -> None:
        if self._state == "part" and (data or is_last):
            pieces.append(Piece(self._field, self._file_name, data, is_last))
        elif self._state == "before" and data:
            raise _bad("the upload does not begin with its boundary")

    def _begin_part(self) -> bool:
        if len(self._buffer) < len(b"--"):
            return False
        mark, self._buffer = self._buffer[:2], self._buffer[2:]
        if mark == b"--":
            self._state = "over"
        elif mark == b"\r\n":
            self._state = "head"
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise _bad(f"the form has more than {MAX_PARTS} parts")
        else:
            raise _bad("a boundary of the form is followed by neither a line end nor `--`")
        return True

    def _read_head(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD_BYTES:
            raise _bad(f"the head of a part is longer than {MAX_HEAD_BYTES} bytes")
        if not end:
            return False
        found = _DISPOSITION.findall(head)
        name = _NAME.search(found[0]) if len(found) == 1 else None
        if name is None:
            raise _bad("a part of the form has no name (`content-disposition: form-data; name=...`)")
        file_name = _FILE_NAME.search(found[0])
        self._field = name[1].decode("utf-8", "replace")
        self._file_name = None if file_name is None else file_name[1].decode("utf-8", "replace")
        self._buffer, self._state = rest, "part"
        return True


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_upload")
