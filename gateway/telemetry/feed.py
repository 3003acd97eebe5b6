"""What happens now, for whoever listens: events that are told as they come, and kept for nobody.

Nobody is waited for: a listener that reads too slowly loses events, and is told how many. While nobody listens, an
event costs its teller one look at `is_heard`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Final

import msgspec
from msgspec import Struct

KINDS: Final[Mapping[str, str]] = {
    "request": "A request has ended.",
    "refusal": "A request was not admitted: its key, a limit, a budget, or no room.",
    "key_rest": "A key of a provider has to rest.",
    "key_rest_ended": "It may be used again.",
    "cool_down": "A deployment has to rest.",
    "cool_down_ended": "It may be called again.",
    "ejection": "A deployment keeps failing and is left out.",
    "return": "An ejected deployment works again.",
    "reload": "The configuration was read again, and either taken or refused.",
    "trouble": "Storage, the journal, or what counts limits and budgets does not do its work.",
    "trouble_ended": "It does again.",
    "discovery": "A provider has other models than before, or is there no more.",
}
"""What may be told, and what it means."""
LOST: Final = "lost"
"""Told to one listener alone: how many events were not."""
QUEUE_EVENTS: Final = 1_000
MOST_LISTENERS: Final = 8
_encode: Final = msgspec.json.Encoder().encode


class Told(Struct, frozen=True, array_like=True):
    """One event."""

    number: int
    """Higher than that of any before it."""
    kind: str
    data: bytes
    """One JSON object."""


class FeedFull(Exception):
    """Nobody else may listen now."""


class Listener:
    """One who listens, and what it has not taken yet."""

    def __init__(self, kinds: frozenset[str], limit: int) -> None:
        self.kinds = kinds
        self._limit = limit
        self._waiting: deque[Told] = deque()
        self._lost = 0
        self._last = 0
        self._is_closed = False
        self._news = asyncio.Event()

    def put(self, told: Told) -> None:
        """Keeps an event for it, or counts that it is lost."""
        if len(self._waiting) >= self._limit:
            self._lost += 1
            self._last = told.number
            return
        self._note_lost()
        self._waiting.append(told)
        self._news.set()

    def close(self) -> None:
        """Ends it after what it has not taken yet."""
        self._is_closed = True
        self._news.set()

    async def next(self) -> Told | None:
        """Returns the next event, None after the last one."""
        while not self._waiting:
            if self._lost:
                self._note_lost()
            elif self._is_closed:
                return None
            else:
                self._news.clear()
                await self._news.wait()
        return self._waiting.popleft()

    async def batch(self) -> list[Told]:
        """Returns what there is, at least one event; nothing after the last one."""
        first = await self.next()
        if first is None:
            return []
        found = [first, *self._waiting]
        self._waiting.clear()
        return found

    def _note_lost(self) -> None:
        if self._lost:
            self._waiting.append(Told(self._last, LOST, _encode({"events": self._lost})))
            self._lost = 0


class Feed:
    """Tells all listeners of one process what happens in it. Not thread-safe."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        most_listeners: int = MOST_LISTENERS,
        queue_events: int = QUEUE_EVENTS,
    ) -> None:
        """`wall` gives Unix seconds."""
        self.is_heard = False
        """Whether anybody listens: only then there is something to tell."""
        self.source = ""
        """Which process of several this is, "" for the only one."""
        self._wall = wall
        self._most = most_listeners
        self._queue_events = queue_events
        self._numbers = count(1)
        self._listeners: list[Listener] = []
        self._followers: list[Callable[[], None]] = []
        self._is_closed = False

    def follow(self, changed: Callable[[], None]) -> None:
        """Has `changed` called whenever the first one listens or the last one leaves."""
        self._followers.append(changed)

    def listen(self, kinds: Collection[str] = ()) -> Listener:
        """Returns somebody who hears events of these kinds, of all if there are none; raises FeedFull."""
        if len(self._listeners) >= self._most:
            raise FeedFull(f"{self._most} listen already, which is all that may")
        listener = Listener(frozenset(kinds or KINDS), self._queue_events)
        if self._is_closed:
            listener.close()
        else:
            self._listeners.append(listener)
            self._count()
        return listener

    def leave(self, listener: Listener) -> None:
        """Tells this one nothing more."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._count()

    def tell(self, kind: str, members: Mapping[str, object]) -> None:
        """Tells an event, with the time; to be called only if `is_heard`."""
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        source = {"worker": self.source} if self.source else {}
        self.pass_on(kind, _encode({"ts": at, **source, **members}))

    def pass_on(self, kind: str, data: bytes) -> None:
        """Tells what another process has told."""
        told = Told(next(self._numbers), kind, data)
        for listener in self._listeners:
            if kind in listener.kinds or kind == LOST:
                listener.put(told)

    def close(self) -> None:
        """Ends all listeners, and any that may come."""
        self._is_closed = True
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        self._count()

    def _count(self) -> None:
        is_heard = bool(self._listeners)
        if is_heard is not self.is_heard:
            self.is_heard = is_heard
            for changed in self._followers:
                changed()
