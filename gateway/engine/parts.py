"""The parts of one call, played at the same time: all of their answers, or their streams as one.

The first part that fails ends the others and is what the client hears: half of what was asked for is no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from adapters.errors import Unsupported
from adapters.parts import StreamJoiner, sum_usage
from adapters.types import Call, Head, Operation, Usage
from gateway.engine.answer import LINGER_SECONDS, Answer, Push, SingleStream, Stream
from gateway.engine.ending import end_all
from gateway.errors import GatewayError, UnsupportedOperation, UnsupportedParameter
from gateway.routing.deployment import Deployment
from gateway.routing.route import Plan

_EMBEDDINGS: Final = Operation.EMBEDDINGS
MOST_AT_ONCE: Final = 8
"""Parts of one call that are at work at the same time; a client must not take a provider for itself with one call."""
_MOST_PIECES: Final = 8
"""Pieces of a joined stream that wait for a slow client; every part may hold one more."""
Play = Callable[[int, Call], Awaitable[Answer | SingleStream]]
"""Runs the attempts of one part; raises GatewayError."""


def parts_of(call: Call, plan: Plan, first: Deployment) -> Sequence[Call]:
    """Returns the calls that this one becomes: as many as the deployment needs that needs most.

    Whatever is asked later must be able to take them as they are, so not the first deployment alone is looked at.
    """
    if not first.offers(call.operation):
        known = ", ".join(sorted(filter(first.offers, first.adapter.operations))) or "nothing"
        message = f"{first.id}: {first.provider} has no {call.operation}; what it has: {known}"
        raise UnsupportedOperation(message, param="model")
    try:
        parts = first.adapter.parts(call, first.target)
    except Unsupported as error:
        raise UnsupportedParameter(error.message, param=error.param) from None
    if len(parts) > 1 or not ("n" in call.fields or call.operation is _EMBEDDINGS):
        return parts
    for stage in plan.stages:
        for deployment in stage.candidates:
            try:
                others = deployment.adapter.parts(call, deployment.target)
            except Unsupported:
                continue  # it is passed over when its turn comes
            if len(others) > 1:
                return others
    return parts


async def play_all(parts: Sequence[Call], play: Callable[[int, Call], Awaitable[None]]) -> None:
    """Plays every part, a few at a time; the first exception ends all that still run and is raised."""
    waiting = iter(enumerate(parts))

    async def work() -> None:
        for number, part in waiting:
            await play(number, part)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(MOST_AT_ONCE, len(parts))):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


class JoinedStream:
    """The streams of all parts as one; `begin` waits for the first content of any.

    A slow client slows all upstreams down: no part reads on while its last piece waits for room.
    """

    def __init__(self, call: Call, parts: Sequence[Call], play: Play, ends_by: float) -> None:
        self.first = b""
        self.ends_by = ends_by
        self.error: GatewayError | None = None
        self.is_said = False
        self._last: bytes | None = None
        self._parts = parts
        self._play = play
        self._joiner = StreamJoiner(call)
        self._streams: dict[int, Stream] = {}
        self._left = len(parts)
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = asyncio.Semaphore(_MOST_PIECES)
        self._is_over = False
        self._driver: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Starts the parts and waits for the first content; raises what a part raised before that."""
        self._driver = asyncio.create_task(self._drive(), name="parts")
        try:
            self.first = await self.next()
            if self.error is not None:
                raise self.error
        except BaseException:
            await self.aclose()
            raise

    @property
    def head(self) -> Head:
        """The head of the response that began first."""
        return next(iter(self._streams.values())).head

    @property
    def usage(self) -> Usage | None:
        """The counts of all parts that have begun."""
        return sum_usage(stream.usage for stream in self._streams.values())

    @property
    def model(self) -> str | None:
        """The model of the part that began first."""
        return next((stream.model for stream in self._streams.values()), None)

    @property
    def finish(self) -> str | None:
        """The finish reason of the first choice."""
        return self._streams[0].finish if 0 in self._streams else None

    async def next(self, push: Push | None = None) -> bytes:
        """Returns the next piece of any part and pushes none; raises what is a fault of ours, not an upstream's."""
        if self._is_over or self._driver is None:
            return b""
        piece = await self._pieces.get()
        if piece:
            self._room.release()
            self.is_said = piece is self._last
            return piece
        self._is_over = True
        if self._left:
            await asyncio.wait([self._driver])
            error = self._driver.exception()
            if not isinstance(error, GatewayError):
                raise error or RuntimeError("parts ended without their answer")
            self.error = error
        return b""

    async def linger(self) -> None:
        """Lets the last parts give their connections back."""
        if self._driver is not None:
            await asyncio.wait([self._driver], timeout=LINGER_SECONDS)

    async def aclose(self) -> None:
        """Ends every part and waits until all of them have given their connections back."""
        driver = self._driver
        if driver is None:
            return
        try:
            await end_all([driver])
        finally:
            if not driver.cancelled():
                driver.exception()  # told already, or nobody is left to hear it

    async def _drive(self) -> None:
        try:
            await play_all(self._parts, self._relay)
        finally:
            self._pieces.put_nowait(b"")

    async def _relay(self, number: int, part: Call) -> None:
        stream = await self._play(number, part)
        if isinstance(stream, Answer):
            raise TypeError("a part of a stream was answered as a whole")
        try:
            self._streams[number] = stream
            await self._put(self._joiner.feed(number, stream.first))
            while out := await stream.next():
                await self._put(self._joiner.feed(number, out))
            if stream.error is not None:
                raise stream.error
            self._left -= 1
            if not self._left:
                self._last = self._joiner.close(self.usage)
                await self._put(self._last)
                self._pieces.put_nowait(b"")
            await stream.linger()
        finally:
            await stream.aclose()

    async def _put(self, piece: bytes) -> None:
        if piece:
            await self._room.acquire()
            self._pieces.put_nowait(piece)
