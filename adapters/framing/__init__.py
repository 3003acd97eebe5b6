"""Cuts a stream of bytes into events, and builds events; one module for each framing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["FramingError", "Splitter"]

EventT = TypeVar("EventT", covariant=True)


class FramingError(Exception):
    """The bytes are not what the framing promises, or one event is longer than the cap.

    `events` are those that were complete before the fault: they must not be lost, or the output would depend on how
    the network cut the input.
    """

    def __init__(self, events: Sequence[Any], message: str) -> None:
        super().__init__(message)
        self.events = events
        self.message = message


class Splitter(Protocol[EventT]):
    """Cuts a byte stream into events, however the network cut it into packets."""

    def feed(self, data: bytes) -> Sequence[EventT]:
        """Returns the events that `data` completes; raises FramingError."""
        ...

    def close(self) -> Sequence[EventT]:
        """Returns what the end of file completes; raises FramingError for a rest that is no event."""
        ...
