"""Deadlines without a timer per request: one coarse tick looks after everything that is in flight."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, Protocol

TICK_SECONDS: Final = 0.05
"""How late a deadline may be noticed."""


class Perishable(Protocol):
    """Something that has to be ended when its time has come."""

    deadline: float
    """Loop time in seconds; `inf` while nothing is awaited."""

    def expire(self) -> None:
        """Ends it."""
        ...


class Sweeper:
    """Calls `expire` on watched things past their deadline; ticks only while something is watched.

    Whoever sets a `deadline` tells `expect`, so that a tick before the earliest one costs no walk.
    """

    __slots__ = ("_earliest", "_is_ticking", "_loop", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Perishable] = set()
        self._earliest = inf
        self._is_ticking = False

    def watch(self, perishable: Perishable) -> None:
        """Starts looking after `perishable`."""
        self._watched.add(perishable)
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def unwatch(self, perishable: Perishable) -> None:
        """Stops looking after `perishable`; does nothing for a stranger."""
        self._watched.discard(perishable)

    def expect(self, deadline: float) -> None:
        """Notes that a watched thing's deadline is now `deadline`."""
        if deadline < self._earliest:
            self._earliest = deadline

    def _tick(self) -> None:
        if not self._watched:
            self._is_ticking = False
            self._earliest = inf
            return
        if self._loop.time() >= self._earliest:
            self._sweep(self._loop.time())
        self._loop.call_later(TICK_SECONDS, self._tick)

    def _sweep(self, now: float) -> None:
        expired = [item for item in self._watched if item.deadline <= now]
        for item in expired:
            item.expire()
        self._earliest = min((item.deadline for item in self._watched if item.deadline > now), default=inf)
