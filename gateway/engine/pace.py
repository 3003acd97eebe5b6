"""How fast a response body has to come at least."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.routing.deployment import Limit
from gateway.transport.base import Fault, Taker, TransportError, UpstreamResponse, poured

PACE_SECONDS: Final = 10.0
"""Over how long a pace is measured."""


class Pace:
    """Ends what is slower than it may be, in any ten seconds that were spent waiting for the upstream alone."""

    __slots__ = ("_bytes", "_clock", "_limit", "_waited")

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        """`limit` counts bytes per second."""
        self._limit = limit
        self._clock = clock
        self._waited = 0.0
        self._bytes = 0

    async def next(self, response: UpstreamResponse) -> bytes:
        """Returns the next piece; raises TransportError if it was too long in coming, with those before it."""
        began = self._clock()
        piece = await response.next()
        self._waited += self._clock() - began
        self._bytes += len(piece)
        if self._waited >= PACE_SECONDS:
            if piece and self._bytes < self._limit.seconds * self._waited:
                setting = self._limit.setting
                message = f"the response came at less than {setting} ({self._limit.seconds:g})"
                raise TransportError(Fault.TIMEOUT, message, setting=setting)
            self._waited, self._bytes = 0.0, 0
        return piece

    async def pour(self, response: UpstreamResponse, take: Taker) -> bool:
        """Gives `take` the pieces until it wants no more; returns False at the end of the body. Raises as `next`."""
        return await poured(partial(self.next, response), take)
