"""Deadlines of all connections of one server, watched by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol


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
        if not swept:
            return
        self.wake(loop, swept)
        now = loop.time()
        for one in list(swept):
            one.sweep(now)
