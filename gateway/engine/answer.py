"""What a run hands over: a whole answer, or a stream whose first content has come.

Whoever relays a stream knows one kind of it: `first`, then `next` until it returns nothing, then `error` says whether
that was the end. Where its bytes come from, and from how many upstreams, is the stream's own business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from adapters.failures import Failure
from adapters.types import Head, Reply, StreamDecoder, Usage
from gateway.domain import Attempt
from gateway.engine.trouble import from_transport
from gateway.errors import GatewayError
from gateway.resilience.planner import past_deadline
from gateway.routing.deployment import Deployment
from gateway.transport.base import TransportError, UpstreamResponse

LINGER_SECONDS: Final = 0.1
"""How long a finished stream's upstream may take to end its body before its connection is closed, not pooled."""


@dataclass(slots=True)
class Answer:
    """A whole JSON answer."""

    deployment: Deployment
    head: Head
    reply: Reply


class Stream(Protocol):
    """A stream of which nothing has been sent to the client yet. One task reads it; `aclose` ends it in any case."""

    @property
    def head(self) -> Head:
        """The upstream's response head."""
        ...

    @property
    def first(self) -> bytes:
        """The frames up to the first content."""
        ...

    @property
    def error(self) -> GatewayError | None:
        """Why the stream broke off; to be read when `next` has returned nothing."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the upstream has counted so far."""
        ...

    @property
    def model(self) -> str | None:
        """The model that answers, as the upstream calls it."""
        ...

    @property
    def finish(self) -> str | None:
        """The finish reason of the first choice."""
        ...

    async def next(self) -> bytes:
        """Returns the next frames, waiting for them; b"" if the stream is over, well or not."""
        ...

    async def linger(self) -> None:
        """Lets the upstream end its body, so that its connection can be used again; the client has everything."""
        ...

    async def aclose(self) -> None:
        """Gives every connection back, or closes it where the answer was not read to its end."""
        ...


class SingleStream:
    """The stream of one response."""

    __slots__ = ("_attempt", "_clock", "_deadline", "_decoder", "_response", "_tell", "deployment", "error", "first")

    def __init__(
        self,
        deployment: Deployment,
        response: UpstreamResponse,
        decoder: StreamDecoder,
        first: bytes,
        *,
        attempt: Attempt,
        deadline: float,
        clock: Callable[[], float],
        tell: Callable[[Failure], GatewayError],
    ) -> None:
        """`deadline` is a time of `clock`; `tell` words a failure for the client, `attempt` records it."""
        self.deployment = deployment
        self.first = first
        self.error: GatewayError | None = None
        self._response = response
        self._decoder = decoder
        self._attempt = attempt
        self._deadline = deadline
        self._clock = clock
        self._tell = tell

    @property
    def head(self) -> Head:
        """The response's head."""
        return self._response.head

    @property
    def usage(self) -> Usage | None:
        """The decoder's counts."""
        return self._decoder.usage

    @property
    def model(self) -> str | None:
        """The decoder's model."""
        return self._decoder.model

    @property
    def finish(self) -> str | None:
        """The decoder's finish reason."""
        return self._decoder.finish

    async def next(self) -> bytes:
        """Reads until there is something to send; network trouble, too, ends the stream as a value."""
        decoder, response = self._decoder, self._response
        try:
            while not decoder.is_done and decoder.failure is None:
                if self._clock() >= self._deadline:
                    return self._break(past_deadline())
                data = await response.next()
                out = decoder.feed(data) if data else decoder.close()
                if out:
                    return out
        except TransportError as error:
            return self._break(from_transport(error))
        return b"" if decoder.failure is None else self._break(decoder.failure)

    async def linger(self) -> None:
        """Waits for the end of the body, but not for long."""
        if self._response.is_complete:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._response.next()
        except (TransportError, TimeoutError):
            return

    async def aclose(self) -> None:
        """Releases the response."""
        self._response.release()

    def _break(self, failure: Failure) -> bytes:
        self._attempt.failure = failure
        self.error = self._tell(failure)
        return b""
