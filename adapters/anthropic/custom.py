"""Takes the text out of `{"input": "..."}`, the arguments of a custom tool, while they arrive in pieces."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from adapters.anthropic.wording import custom_input
from adapters.codec import decode, encode
from adapters.errors import Malformed
from adapters.types import MAX_EVENT_BYTES

_HEAD: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_WHOLE: Final = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4})*', re.DOTALL
)
"""What stands inside quotes up to the closing one, or up to an escape that is not whole."""
_LONGEST_ESCAPE: Final = 12


class CustomInput:
    """Pieces of JSON text go in, pieces of the text inside come out, as JSON strings.

    An escape that a cut has halved waits for its rest. What does not begin as expected is told by `close`.
    """

    __slots__ = ("_has_ended", "_is_inside", "_rest")

    def __init__(self) -> None:
        self._is_inside = False
        self._has_ended = False
        self._rest: str = ""

    def feed(self, piece: str) -> bytes:
        """Returns the next piece of the text as a JSON string, b"" if there is none yet; raises Malformed."""
        if self._has_ended:
            return b""
        text = self._rest + piece
        if not self._is_inside:
            found = _HEAD.match(text)
            if found is None:
                if len(text) > MAX_EVENT_BYTES:
                    raise Malformed("the input of a custom tool is too long")
                self._rest = text
                return b""
            text = text[found.end() :]
            self._is_inside = True
        found = _WHOLE.match(text)
        end = found.end() if found else 0
        if text[end : end + 1] == '"':
            self._has_ended = True
            self._rest = ""
        elif len(text) - end > _LONGEST_ESCAPE:
            end = len(text)
            self._rest = ""
        else:
            self._rest = text[end:]
        return _quoted(text[:end])

    def close(self) -> bytes:
        """Returns what has not been told, as a JSON string."""
        rest, self._rest = self._rest, ""
        if self._is_inside or not rest:
            return _quoted(rest)
        try:
            return encode(custom_input(decode(rest)))
        except (msgspec.DecodeError, RecursionError):
            return encode(rest)


def _quoted(text: str) -> bytes:
    raw = b'"' + text.encode() + b'"'
    try:
        decode(raw)
    except msgspec.DecodeError:
        return encode(text)
    return raw
