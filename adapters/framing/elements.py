"""Elements of one array in a JSON document that is too long to be read whole, however it is cut.

The array is the one that stands as a member of a name, wherever in the document; its elements are objects. What is
around them is kept, and has to be short. Quotes, backslashes and brackets alone are looked at: whoever decodes an
element, or the rest, finds out whether it is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from adapters.framing import FramingError

_TEXT: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
"""As much of a text as is there, without half an escape."""
_GAP: Final = re.compile(rb'[^"\[\]{}]*')
_BETWEEN: Final = b" \t\r\n,"


class ElementSplitter:
    """Cuts a document into the elements of its arrays of a name."""

    def __init__(self, name: bytes, cap: int) -> None:
        """An element, and all that is around the elements, may have `cap` bytes."""
        self._name = name
        self._cap = cap
        self._rest = bytearray()
        self._element = bytearray()
        self._depth = 0
        self._array_depth = 0
        """How deep the elements stand; 0 outside of such an array."""
        self._is_text = False
        self._is_escaped = False
        self._last = bytearray()
        """The beginning of the last text."""
        self._is_member = False
        """A colon came after it."""
        self._found: list[bytes] = []

    @property
    def rest(self) -> bytes:
        """The document so far, its arrays of that name empty."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Returns the elements that `data` completes; raises FramingError past the cap, and for other elements."""
        self._found = []
        at = mark = 0
        while at < len(data):
            at = self._pass_text(data, at) if self._is_text else self._pass_gap(data, at)
            if at == len(data):
                break
            sign = data[at]
            at += 1
            if sign in b'"':
                self._is_text = not self._is_text
                if self._is_text:
                    self._last.clear()
                    self._is_member = False
            elif sign in b"{[":
                mark = self._open(data, mark, at, is_array=sign in b"[")
            else:
                mark = self._end(data, mark, at)
        self._keep(data[mark:])
        return self._found

    def close(self) -> Sequence[bytes]:
        """Returns nothing; raises FramingError for a document that has not ended."""
        if self._depth or self._is_text:
            raise FramingError([], "the upstream's document is cut short")
        return []

    def _pass_text(self, data: bytes, at: int) -> int:
        """Returns where the text goes on behind all that means nothing: its end, or the end of the data."""
        start = at
        if self._is_escaped:
            self._is_escaped = False
            at += 1
        match = _TEXT.match(data, at)
        at = match.end() if match else at
        if data[at : at + 1] == b"\\":  # the last byte: what it escapes comes with the next ones
            self._is_escaped = True
            at += 1
        if len(self._last) <= len(self._name):
            self._last += data[start : min(at, start + len(self._name) + 1)]
        return at

    def _pass_gap(self, data: bytes, at: int) -> int:
        match = _GAP.match(data, at)
        end = match.end() if match else at
        self._is_member = self._is_member or data.find(b":", at, end) >= 0
        return end

    def _open(self, data: bytes, mark: int, at: int, *, is_array: bool) -> int:
        """Notes a bracket before `at`; returns up to where all is kept."""
        self._depth += 1
        if self._array_depth:
            if self._depth > self._array_depth + 1:
                return mark
            self._refuse_between(data[mark : at - 1])
            return at - 1
        if not (is_array and self._is_member and bytes(self._last) == self._name):
            return mark
        self._keep(data[mark:at])
        self._array_depth = self._depth
        return at

    def _end(self, data: bytes, mark: int, at: int) -> int:
        """Notes a bracket that closes; returns what `_open` does."""
        self._depth -= 1
        if not self._array_depth or self._depth > self._array_depth:
            return mark
        if self._depth == self._array_depth:
            self._keep_element(data[mark:at])
            self._found.append(bytes(self._element))
            self._element.clear()
            return at
        self._refuse_between(data[mark : at - 1])
        self._array_depth = 0
        return at - 1

    def _keep(self, data: bytes) -> None:
        """Keeps what stands where we are now."""
        if self._array_depth and self._depth > self._array_depth:
            self._keep_element(data)
        elif self._array_depth:
            self._refuse_between(data)
        else:
            self._rest += data
            if len(self._rest) > self._cap:
                raise FramingError(self._found, "what is around the answers in the upstream's document is too long")

    def _keep_element(self, data: bytes) -> None:
        self._element += data
        if len(self._element) > self._cap:
            raise FramingError(self._found, "an answer in the upstream's document is too long")

    def _refuse_between(self, data: bytes) -> None:
        if data.strip(_BETWEEN):
            raise FramingError(self._found, "an answer in the upstream's document is no object")
