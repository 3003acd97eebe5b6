"""Deadlines of all connections of one server, watched by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

BATCH = 200
"""Connections looked at in one turn of the loop."""


class Swept(Protocol):
    """Something with deadlines."""

    def sweep(self, now: float) -> None:
        """Ends itself if one of its deadlines lies before `now` (the loop's clock)."""
        ...


class Sweeper:
    """Looks at every connection each tick, as long as there are any."""

    def __init__(self, tick_seconds: float) -> None:
        self._tick = tick_seconds
        self._is_running = False

    def wake(self, loop: asyncio.AbstractEventLoop, swept: Collection[Swept]) -> None:
        """Starts the ticking if it rests."""
        if not self._is_running:
            self._is_running = True
            loop.call_later(self._tick, self._sweep, loop, swept)

    def _sweep(self, loop: asyncio.AbstractEventLoop, swept: Collection[Swept]) -> None:
        self._is_running = False
        if swept:
            self.wake(loop, swept)
            self._sweep_some(loop, list(swept))

    def _sweep_some(self, loop: asyncio.AbstractEventLoop, rest: list[Swept]) -> None:
        """Ending thousands of connections at once must not hold up the running ones: a part per loop turn."""
        now = loop.time()
        for one in rest[-BATCH:]:
            one.sweep(now)
        del rest[-BATCH:]
        if rest:
            loop.call_soon(self._sweep_some, loop, rest)


class StallWatch:
    """Notices a client that takes nothing although something is written for it."""

    __slots__ = ("_since", "_taken")

    def __init__(self) -> None:
        self._taken = 0
        self._since: float | None = None

    def seconds(self, now: float, written: int, buffered: int) -> float:
        """Returns for how long nothing was taken, from bytes written in total and bytes still buffered."""
        taken = written - buffered
        if not buffered or taken != self._taken or self._since is None:
            self._taken = taken
            self._since = now if buffered else None
            return 0.0
        return now - self._since
