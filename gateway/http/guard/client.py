"""The connection of a client as the application sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.http.guard.outbox import Outbox

Headers = list[tuple[bytes, bytes]]
BODY_FOLLOWS: Final = "anyport.body_follows"
"""Member of an ASGI message with a head: the first bytes of the body come at once, and are written together with it."""


class ClientConnection(Protocol):
    """What `scope["anyport.connection"]` offers: the news that the client is gone, at no cost per request."""

    task: asyncio.Task[None] | None
    """The task that serves the request. Asking asyncio for it costs a system call on Python 3.11 (a fork check)."""
    outbox: Outbox
    """Where records are left that must be written down before the answer that `respond` is given next."""

    @property
    def is_gone(self) -> bool:
        """True once the client cannot get this answer any more."""
        ...

    def cut(self) -> None:
        """Closes the connection at once: this answer cannot be completed."""
        ...

    def whole_body(self) -> bytes | None:
        """Returns the body if all of it is there; else it is to be received, piece by piece."""
        ...

    def respond(self, status: int, lines: bytes, body: bytes) -> bool:
        """Sends a whole response, behind what waits in the outbox; returns False if it has to be sent by messages.

        `lines` are headers as `header_lines` writes them; they say how long the body is, and nothing else of framing.
        """
        ...

    def send_piece(self, data: bytes) -> bool:
        """Sends a piece of a body that has begun, not its end; returns False if it has to be sent by a message."""
        ...

    def watch(self, gone: Callable[[], None]) -> None:
        """Registers the only watcher; it is called once, from the event loop, when the client is gone."""
        ...

    def unwatch(self) -> None:
        """Removes the watcher."""
        ...
