"""GET /admin/events: what happens, as server-sent events, for as long as somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from fastapi import Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from gateway.errors import CallerError, InvalidRequest
from gateway.http.admin.door import Door
from gateway.http.admin.reading import Asked
from gateway.secret import Secret
from gateway.telemetry.feed import KINDS, Feed, FeedFull, Listener

HEARTBEAT_SECONDS: Final = 15
_SEPARATOR: Final = "\n"
"""What the guard takes for the end of an event, too: between two it may probe whether the client is there."""
_HEADERS: Final = {"cache-control": "no-store"}


class _Events(EventSourceResponse):
    """The library's response, ended by the feed alone: a server that drains still has requests to tell of."""

    def __init__(
        self, feed: Feed, listener: Listener, is_admitted: Callable[[], bool], heartbeat_seconds: float
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - the library leaves a type argument out
            _told(listener, is_admitted),
            ping=heartbeat_seconds,
            ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep=_SEPARATOR),
            sep=_SEPARATOR,
            headers=_HEADERS,
        )
        self._feed = feed
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends events until the client is gone, or the feed ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._listener)

    async def _listen_for_exit_signal(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The library would look twice a second, for the rest of the process, whether its server ends.
        await asyncio.get_running_loop().create_future()


def add_event_path(
    door: Door, feed: Feed, admin_key: Callable[[], Secret | None], heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> None:
    """Adds the path; the feed is that of the whole process, `admin_key` returns what opens the door now."""

    async def events(asked: Asked) -> Response:
        kinds = _kinds(asked.query.get("types", ""))
        key = _digest(admin_key())
        try:
            return _Events(feed, feed.listen(kinds), lambda: _digest(admin_key()) == key, heartbeat_seconds)
        except FeedFull as error:
            message = f"{error}; end one of the others, such as an `anyport top`"
            raise CallerError(message, status=429, code="too_many_listeners") from None

    door.add("GET", "/admin/events", events)


async def _told(listener: Listener, is_admitted: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """Yields events until the feed ends, or the key that the listener came with no longer opens the door."""
    yield b": listening\n\n"  # the head of the response goes out with it
    while (batch := await listener.batch()) and is_admitted():
        yield b"".join(b"event: %b\nid: %d\ndata: %b\n\n" % (t.kind.encode(), t.number, t.data) for t in batch)


def _digest(key: Secret | None) -> bytes:
    """Returns what tells keys apart for longer than they live: a reload wipes the one that somebody came with."""
    return b"" if key is None else key.digest()


def _kinds(text: str) -> list[str]:
    kinds = [name for name in text.split(",") if name]
    for name in kinds:
        if name not in KINDS:
            message = f"types: there is no {name[:64]!r}; known are {', '.join(KINDS)}"
            raise InvalidRequest(message, code="invalid_value", param="types")
    return kinds
