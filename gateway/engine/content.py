"""What keys that keep content ask and are answered: gathered while a request runs, made fit to be kept at its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gateway.records import Content

_MARGIN_BYTES: Final = 4096
"""Read beyond the cut, so that a secret which it goes through is known."""
_PIECE: Final = re.compile(rb'"(?:content|reasoning|reasoning_content|text|arguments)": ?"((?:[^"\\]|\\.)*+)"')
"""What the events of a stream spell, bit by bit."""


class Kept:
    """One request; holds what it was given, and copies nothing before the end."""

    __slots__ = ("_body", "_bytes", "_keeper", "_pieces")

    def __init__(self, keeper: Keeper, body: bytes) -> None:
        """Use `Keeper.begin`."""
        self._keeper = keeper
        self._body = body
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Takes what the client is sent."""
        if self._bytes < self._keeper.enough_bytes:
            self._pieces.append(data)
        self._bytes += len(data)

    def content(self) -> Content:
        """Returns what is to be kept."""
        answer = self._keeper.fit_stream(self._pieces) if len(self._pieces) > 1 else self._keeper.fit(*self._pieces)
        return Content(self._keeper.fit(self._body), answer, len(self._body), self._bytes)


class Keeper:
    """Makes texts fit to be kept: without secrets, cut to a length."""

    def __init__(self, scrub: Callable[[str], str], max_bytes: int) -> None:
        """`scrub` takes secrets out of a text."""
        self._scrub = scrub
        self._max_bytes = max_bytes
        self.enough_bytes = max_bytes + _MARGIN_BYTES
        """More of a text is not read."""

    def begin(self, body: bytes) -> Kept:
        """Returns what gathers the answer to a request."""
        return Kept(self, body)

    def fit(self, data: bytes = b"") -> bytes:
        """Returns a text without secrets, and then cut."""
        scrubbed = self._scrubbed(data[: self.enough_bytes])
        return scrubbed[: self._max_bytes].decode("utf-8", "ignore").encode()

    def fit_stream(self, pieces: list[bytes]) -> bytes:
        """Returns the events of a stream, or their text alone where that spells a secret in bits."""
        events = b"".join(pieces)[: self.enough_bytes]
        text = b"".join(_PIECE.findall(events))
        scrubbed = self._scrubbed(text)
        return self.fit(events) if scrubbed == text else self.fit(scrubbed)

    def _scrubbed(self, data: bytes) -> bytes:
        return self._scrub(data.decode("utf-8", "replace")).encode()
