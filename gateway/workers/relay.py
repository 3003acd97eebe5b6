"""What passes between the worker that has the admin API and the others: their events, and the operator's pardons.

Events go through the parent, a batch at a time, and only while somebody listens. Where one is slow, events are lost
and counted, as with any listener; no request waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import msgpack

from gateway.telemetry.feed import Feed, FeedFull, Told
from gateway.workers.channel import Channel, ChannelClosed

ADMIN_WORKER: Final = 1
"""The worker that has the admin API."""
SECONDS: Final = 5.0
"""For another process to take what it is told."""
_GATHER_SECONDS: Final = 0.05
"""Between two batches: single events would cost every process more than they say."""
_HEARD: Final = b"1"
_UNHEARD: Final = b"0"


class Exchange:
    """In the parent: tells the workers whether anybody listens, and hands on what they tell."""

    def __init__(self, channels: Callable[[], Mapping[int, Channel]]) -> None:
        """`channels` returns those of the workers that serve, by their numbers."""
        self._channels = channels
        self._is_heard = False

    async def listen(self, body: bytes) -> bytes:
        """Hears from the worker with the admin API that somebody listens, or nobody any more."""
        await self._turn(is_heard=body == _HEARD)
        return b""

    async def events(self, body: bytes) -> bytes:
        """Hands on what another worker tells."""
        if channel := self._channels().get(ADMIN_WORKER):
            await _ask(channel, "events", body)
        return b""

    async def pardon(self, body: bytes) -> bytes:
        """Tells all other workers that an operator has ended a rest."""
        others = [channel for number, channel in self._channels().items() if number != ADMIN_WORKER]
        await asyncio.gather(*(_ask(channel, "pardon", body) for channel in others))
        return b""

    async def joined(self, number: int) -> None:
        """Notes that a worker serves from now on."""
        if not self._is_heard:
            return
        if number == ADMIN_WORKER:
            await self._turn(is_heard=False)  # whoever listened was connected to the one before
        elif channel := self._channels().get(number):
            await _ask(channel, "listen", _HEARD)

    async def _turn(self, *, is_heard: bool) -> None:
        self._is_heard = is_heard
        others = [channel for number, channel in self._channels().items() if number != ADMIN_WORKER]
        await asyncio.gather(*(_ask(channel, "listen", _HEARD if is_heard else _UNHEARD) for channel in others))


class Relay:
    """In a worker: tells the parent what happens here, or hears from it what happens elsewhere."""

    def __init__(self, feed: Feed, channel: Channel, number: int, pardon_here: Callable[[str], None]) -> None:
        """`pardon_here` ends the rest of a deployment in this process."""
        self._feed = feed
        self._pardon_here = pardon_here
        self._channel = channel
        self._telling: asyncio.Task[None] | None = None
        self._turning: set[asyncio.Task[None]] = set()
        feed.source = str(number)
        if number == ADMIN_WORKER:
            feed.follow(self._turned)

    async def listen(self, body: bytes) -> bytes:
        """Hears from the parent that somebody listens elsewhere, or nobody any more."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if body == _HEARD:
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="relay")
        return b""

    async def events(self, body: bytes) -> bytes:
        """Tells what another worker has told."""
        for told in msgpack.decode(body, type=list[Told]):
            self._feed.pass_on(told.kind, told.data)
        return b""

    async def pardon(self, id: str) -> None:
        """Has the other workers end the rest of a deployment."""
        await _ask(self._channel, "pardon", id.encode())

    async def pardoned(self, body: bytes) -> bytes:
        """Ends the rest of a deployment that another worker was asked to."""
        self._pardon_here(body.decode())
        return b""

    async def _tell(self) -> None:
        try:
            listener = self._feed.listen()
        except FeedFull:
            return
        try:
            while batch := await listener.batch():
                await _ask(self._channel, "events", msgpack.encode(batch))
                await asyncio.sleep(_GATHER_SECONDS)
        finally:
            self._feed.leave(listener)

    def _turned(self) -> None:
        body = _HEARD if self._feed.is_heard else _UNHEARD
        task = asyncio.get_running_loop().create_task(_ask(self._channel, "listen", body))
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)


async def _ask(channel: Channel, subject: str, body: bytes) -> None:
    try:
        await channel.ask(subject, body, seconds=SECONDS)
    except (ChannelClosed, TimeoutError):
        return  # it is gone, or has other things to do
