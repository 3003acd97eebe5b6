"""What a run hands over: a whole answer, or a stream whose first content has come.

Whoever relays a stream knows one kind of it: `first`, then `next` until it returns nothing, then `error` says whether
that was the end. Where its bytes come from, and from how many upstreams, is the stream's own business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Struct

from adapters.failures import Failure
from adapters.types import Head, Reply, StreamDecoder, Usage
from gateway.engine.pace import Pace
from gateway.engine.trouble import from_transport
from gateway.errors import GatewayError
from gateway.resilience.steps import past_deadline
from gateway.routing.deployment import Deployment, Limit
from gateway.transport.base import Fault, TransportError, UpstreamResponse

LINGER_SECONDS: Final = 0.1
"""How long a finished stream's upstream may take to end its body before its connection is closed, not pooled."""
_COLON: Final = ord(":")
"""What a comment of an event stream begins with: the pings that are passed on."""


@dataclass(slots=True)
class Answer:
    """A whole JSON answer."""

    deployment: Deployment
    head: Head
    reply: Reply


Push = Callable[[bytes], bool]
"""Sends frames to the client at once; returns False, and has done nothing, if they have to wait."""


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
    def is_said(self) -> bool:
        """Whether what was returned so far is all, and the answer a good one: after it `next` returns nothing."""
        ...

    @property
    def ends_by(self) -> float:
        """Monotonic time by which it has ended, or is ended; it watches that itself, except while nobody reads it."""
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

    async def next(self, push: Push | None = None) -> bytes:
        """Returns the next frames, waiting for them; b"" if the stream is over, well or not.

        What it can give to `push` it does not return: the frames that are returned are the next ones to be sent then.
        The last ones are never pushed.
        """
        ...

    async def linger(self) -> None:
        """Lets the upstream end its body, so that its connection can be used again; the client has everything."""
        ...

    async def aclose(self) -> None:
        """Gives every connection back, or closes it where the answer was not read to its end."""
        ...


class Deadline(Struct, frozen=True):
    """A moment, monotonic, and what set it."""

    at: float
    limit: Limit
    is_whole: bool = True
    """It is that of the whole request, not of one attempt."""

    def passed(self) -> Failure:
        """Returns the failure of whoever ran into it."""
        return past_deadline(self.limit, is_impatience=self.is_whole)


class Life(Protocol):
    """Who hears what becomes of a stream after its first content."""

    def tell(self, failure: Failure) -> GatewayError:
        """Returns a failure in the client's words."""
        ...

    def over(self, failure: Failure | None) -> None:
        """Hears once that the stream is over, with its failure if it broke off."""
        ...

    def closed(self, usage: Usage | None) -> None:
        """Hears once that the stream is let go of, over or not, with what the upstream has counted."""
        ...


class SingleStream:
    """The stream of one response."""

    __slots__ = (
        "_began",
        "_calm_until",
        "_clock",
        "_deadline",
        "_decoder",
        "_idle",
        "_is_closed",
        "_left",
        "_life",
        "_pace",
        "_push",
        "_response",
        "_silent_seconds",
        "deployment",
        "error",
        "first",
    )

    def __init__(
        self,
        deployment: Deployment,
        response: UpstreamResponse,
        decoder: StreamDecoder,
        first: bytes,
        *,
        deadline: Deadline,
        clock: Callable[[], float],
        life: Life,
    ) -> None:
        """`deadline` is of `clock`; `life` hears of the end, and of the letting go in any case."""
        self.deployment = deployment
        self.first = first
        self.error: GatewayError | None = None
        self._response = response
        self._decoder = decoder
        self._deadline = deadline
        self._clock = clock
        self._life = life
        self._is_closed = False
        self._push: Push | None = None
        self._left = b""
        """Frames that were not pushed."""
        self._began = 0.0  # when the waiting for the next frames did
        self._silent_seconds = 0.0  # spent waiting since there was more than pings
        waits = deployment.waits
        self._idle = Limit(waits.stream.idle, waits.stream.idle_setting)
        self._calm_until = deadline.at - self._idle.seconds  # before that, no wait can be too long for the deadline
        self._pace = Pace(waits.pace, clock) if waits.pace.seconds else None
        response.expect_within(self._idle.seconds, self._idle.setting)

    @property
    def is_said(self) -> bool:
        """The decoder has seen the end."""
        return self._decoder.is_done and self._decoder.failure is None

    @property
    def ends_by(self) -> float:
        """The end of the whole request's time."""
        return self._deadline.at

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

    async def next(self, push: Push | None = None) -> bytes:
        """Reads until there is something to send; network trouble, too, ends the stream as a value."""
        decoder, response, pace = self._decoder, self._response, self._pace
        self._push = push
        self._began = self._clock()
        try:
            if not (decoder.is_done or decoder.failure):
                self._check_time(self._began)
                is_open = await (response.pour(self._take) if pace is None else pace.pour(response, self._take))
                if not is_open and (out := decoder.close()):
                    return out
                if is_open and self._left:
                    left, self._left = self._left, b""
                    return left
        except TransportError as error:
            if error.fault is Fault.TIMEOUT and error.setting == self._deadline.limit.setting:
                return self._break(self._deadline.passed())
            return self._break(from_transport(error))
        if decoder.failure is not None:
            return self._break(decoder.failure)
        self._life.over(None)
        return b""

    def _take(self, data: bytes) -> bool:
        """Sends on what came, if it can; returns whether there is more to read before somebody has to act."""
        decoder = self._decoder
        out = decoder.feed(data)
        now = self._clock()
        is_over = decoder.is_done or decoder.failure is not None
        if out:
            is_ping = out[0] == _COLON and b"data:" not in out
            self._silent_seconds = self._silent_seconds + now - self._began if is_ping else 0.0
            self._began = now
            if is_over or self._push is None or not self._push(out):
                self._left = out
                return False
            if now <= self._calm_until and not is_ping:
                return True
        elif is_over:
            self._left = b""
            return False
        self._check_time(now)
        return True

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
        if not self._is_closed:
            self._is_closed = True
            self._life.closed(self._decoder.usage)

    def _check_time(self, now: float) -> None:
        """Raises TransportError past a deadline. Bytes without content, such as pings, keep no timeout away."""
        idle = self._idle
        if now > self._calm_until:
            limit = self._deadline.limit
            left = self._deadline.at - now
            if left <= 0:
                raise TransportError(Fault.TIMEOUT, "", setting=limit.setting)
            self._response.expect_within(left, limit.setting)
        if self._silent_seconds + now - self._began >= idle.seconds:
            message = f"no content within {idle.setting} ({idle.seconds:g} s)"
            raise TransportError(Fault.TIMEOUT, message, setting=idle.setting)

    def _break(self, failure: Failure) -> bytes:
        self.error = self._life.tell(failure)
        self._life.over(failure)
        return b""
