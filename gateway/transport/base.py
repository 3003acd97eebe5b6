"""The interface of the only network I/O of a request, and its faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from adapters.types import Head, HttpRequest

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""Cap of one whole response body, counted after decompression."""
MAX_HEADER_BYTES = 64 * 1024
PAUSE_ABOVE_BYTES = 64 * 1024
"""Unread bytes of one response above which reading from its socket is paused."""


Taker = Callable[[bytes], bool]
"""Takes a piece of a body at once; returns whether it wants the next one."""


class Fault(StrEnum):
    """What kind of trouble the network gave."""

    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    POOL = "pool"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"


class TransportError(Exception):
    """One attempt failed below HTTP's own meaning; the message never holds request data."""

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        setting: str | None = None,
        replayable: bool = False,
        is_unsent: bool = False,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.setting = setting
        """The timeout or cap that ended it, such as `upstream.connect_seconds`."""
        self.replayable = replayable
        """True iff the connection was a reused one and not one response byte had come (keep-alive race)."""
        self.is_unsent = is_unsent
        """True iff the upstream cannot have seen one byte of the request: nothing was done, and nothing is billed."""

    def again(self) -> TransportError:
        """Returns the same without a traceback: an error that was raised and is kept keeps all that was at work there.

        A request with its body would stay until the collector comes.
        """
        return TransportError(
            self.fault, self.message, setting=self.setting, replayable=self.replayable, is_unsent=self.is_unsent
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Each ends one phase of one attempt; the total over all attempts is the executor's."""

    connect: float = 5.0
    """Name look-up, TCP and TLS together."""
    pool: float = 1.0
    """Waiting for a free connection slot."""
    head: float = 60.0
    """From the last request byte to the end of the response head (an absolute deadline, not per read)."""
    idle: float = 60.0
    """Between two pieces of a response body."""
    connect_setting: str = "upstream.connect_seconds"
    """The setting that `connect` came from, for the error."""
    head_setting: str = "upstream.head_seconds"
    """The setting that `head` came from."""
    idle_setting: str = "upstream.between_tokens_seconds"
    """The setting that `idle` came from."""


class UpstreamResponse(Protocol):
    """A response whose head has arrived. Exactly one task reads it; `release` must be called once in any case."""

    head: Head

    @property
    def is_complete(self) -> bool:
        """True once the whole body, as framed, has arrived and been read."""
        ...

    async def next(self) -> bytes:
        """Returns everything that has arrived since the last call, waiting for at least one byte; b"" at the end.

        Raises TransportError: DISCONNECTED if the body is cut short, TIMEOUT after `idle`, PROTOCOL, TOO_LARGE.
        """
        ...

    async def pour(self, take: Taker) -> bool:
        """Gives `take` what `next` would return, piece by piece, until it wants no more; returns False at the end.

        Raises as `next` does, and what `take` raises. A piece may be given from a callback of the event loop, as soon
        as it is there: between two pieces there need not be a turn of the task that waits here.
        """
        ...

    def expect_within(self, seconds: float, setting: str) -> None:
        """From now on waits at most `seconds` for each next piece instead of `idle`; the error names `setting`."""
        ...

    async def read(self, limit: int = MAX_RESPONSE_BYTES) -> bytes:
        """Returns the whole body; raises TransportError(TOO_LARGE) past `limit` decoded bytes."""
        ...

    def release(self) -> None:
        """Pools the connection if the response is complete and clean, else closes it at once. Idempotent."""
        ...


async def poured(next_piece: Callable[[], Awaitable[bytes]], take: Taker) -> bool:
    """Gives `take` one piece after the other until it wants no more; returns False at the end, which is b""."""
    while piece := await next_piece():
        if not take(piece):
            return True
    return False


class Transport(Protocol):
    """Sends one request and returns when the response head is there."""

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> UpstreamResponse:
        """Sends `request`; `fresh` forbids a pooled connection. Cancelling closes the connection and frees the slot."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...
