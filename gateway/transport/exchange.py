"""One request and its response on a connection: what has arrived, who waits for it, until when."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from adapters.types import Head
from gateway.transport.base import (
    MAX_HEADER_BYTES,
    MAX_RESPONSE_BYTES,
    PAUSE_ABOVE_BYTES,
    Fault,
    Taker,
    Timeouts,
    TransportError,
    poured,
)
from gateway.transport.decoding import Inflater, inflater_for

if TYPE_CHECKING:
    from gateway.transport.sweeper import Sweeper

MAX_HEADERS: Final = 256
GIVEN_BYTES: Final = 16 * 1024
"""Up to this much is given to a taker in the callback in which it arrives; beside more, a turn of a task is nothing."""
_NO_BODY: Final = frozenset({204, 304})
_KNOWN_NAMES: Final = {
    spelling.encode(): spelling.lower()
    for name in (
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "Date",
        "Server",
        "Via",
        "X-Request-Id",
    )
    for spelling in (name, name.lower())
}
"""Header names as they are spelled most often; looked up, because decoding each anew costs twice as much."""


class Carrier(Protocol):
    """The connection that an exchange runs on, as far as the exchange sees it."""

    def end_exchange(self, *, can_reuse: bool) -> None:
        """Takes the connection back: for the next request, or to be closed."""
        ...

    def resume(self) -> None:
        """Reads from the socket again after a pause."""
        ...


class Exchange:
    """Implements `UpstreamResponse`; `head` may be read once `wait_for_head` has returned.

    The connection's parser calls the `on_...` methods; any of them may raise TransportError(PROTOCOL), which
    ends the connection.
    """

    __slots__ = (
        "_barren",
        "_chunks",
        "_connection",
        "_decoded",
        "_error",
        "_idle_seconds",
        "_idle_setting",
        "_inflater",
        "_is_bodiless",
        "_is_declined",
        "_is_ended_by_close",
        "_is_paused",
        "_loop",
        "_sweeper",
        "_taker",
        "_timeouts",
        "_unread",
        "_waiter",
        "deadline",
        "has_arrived",
        "has_bytes",
        "has_head",
        "has_news",
        "head",
        "is_persistent",
    )

    def __init__(
        self,
        connection: Carrier,
        timeouts: Timeouts,
        *,
        loop: asyncio.AbstractEventLoop,
        sweeper: Sweeper,
        is_bodiless: bool,
    ) -> None:
        self.head = _NO_HEAD
        self.has_head = False
        self.has_bytes = False
        """True once one byte of the response has come."""
        self.has_news = False
        """True if the packet at hand brought the head, body bytes or the end."""
        self.has_arrived = False
        """True once the last byte of the response has come, read or not."""
        self.is_persistent = False
        self.deadline = inf
        self._connection: Carrier | None = connection
        self._timeouts = timeouts
        self._idle_seconds = timeouts.idle
        self._idle_setting = timeouts.idle_setting
        self._loop = loop
        self._sweeper = sweeper
        self._is_bodiless = is_bodiless
        self._is_ended_by_close = False
        self._is_paused = False
        self._barren = 0
        self._chunks: list[bytes] = []
        self._unread = 0
        self._decoded = 0
        self._inflater: Inflater | None = None
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        """Who is given what comes while the reader waits."""
        self._is_declined = False
        """True once the taker wants no more."""

    # What the reader calls.

    @property
    def is_complete(self) -> bool:
        """True once the whole body, as framed, has arrived and been read."""
        if not self.has_arrived or self._chunks:
            return False
        return self._inflater is None or self._inflater.is_drained

    @property
    def is_plain(self) -> bool:
        """True once there is a head that only says how long the body is, behind which the connection stays."""
        headers = self.head.headers
        is_coded = "transfer-encoding" in headers or self._inflater is not None
        return self.is_persistent and not (self._is_bodiless or is_coded) and "content-length" in headers

    async def wait_for_head(self) -> None:
        """Returns when the head is there; raises TransportError, TIMEOUT after `Timeouts.head`."""
        self._set_deadline(self._timeouts.head)
        try:
            while not self.has_head and self._error is None:
                self._waiter = self._loop.create_future()
                await self._waiter
        except BaseException:
            # Cancelled: nobody will read the rest, and the upstream should stop working for it now.
            self.release()
            raise
        if self._error is not None and not self.has_head:
            self.release()
            raise self._error.again()

    async def next(self) -> bytes:
        """Returns what has arrived since the last call, waiting for at least one byte; b"" at the end.

        Raises TransportError; TOO_LARGE only for a compressed body that decodes to over MAX_RESPONSE_BYTES,
        because any other costs no more memory than its reader lets it.
        """
        if self._inflater is not None:
            return await self._next_decoded(self._inflater)
        while not self._chunks:
            if self.has_arrived:
                return b""
            if self._error is not None:
                raise self._error.again()
            self._set_deadline(self._idle_seconds)
            await self._wait()
        return self._take()

    async def pour(self, take: Taker) -> bool:
        """Gives `take` the pieces, as they come, until it wants no more; returns False at the end of the body."""
        if self._inflater is not None:
            return await poured(self.next, take)
        while True:
            while self._chunks:
                if not take(self._take()):
                    return True
            if self.has_arrived:
                return False
            if self._error is not None:
                raise self._error.again()
            self._set_deadline(self._idle_seconds)
            self._taker = take
            self._is_declined = False
            try:
                await self._wait()
            finally:
                self._taker = None
            if self._is_declined:
                return True

    def expect_within(self, seconds: float, setting: str) -> None:
        """From now on waits at most `seconds` for each next piece instead of `idle`; the error names `setting`."""
        self._idle_seconds = seconds
        self._idle_setting = setting

    async def read(self, limit: int = MAX_RESPONSE_BYTES) -> bytes:
        """Returns the whole body; raises TransportError(TOO_LARGE) past `limit` decoded bytes."""
        if self.has_arrived and self._inflater is None and self._unread <= limit:
            return self._take()
        pieces: list[bytes] = []
        size = 0
        while piece := await self.next():
            size += len(piece)
            if size > limit:
                raise self._give_up(_too_large(limit))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        """Pools the connection if the response is complete and clean, else closes it at once. Idempotent."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        self._sweeper.unwatch(self)
        # A connection whose reading is paused would not notice what comes while it is idle.
        can_reuse = self.has_arrived and self.is_persistent and not self._is_paused
        connection.end_exchange(can_reuse=can_reuse)
        if not self.has_arrived:
            self.fail(TransportError(Fault.DISCONNECTED, "the response was released before its end"))

    # What the sweeper calls.

    def expire(self) -> None:
        """Ends the exchange because its deadline has passed."""
        if self.has_head:
            message = f"no next piece of the response body within {self._idle_seconds:g} s"
            setting = self._idle_setting
        else:
            message = f"no response head within {self._timeouts.head:g} s"
            setting = self._timeouts.head_setting
        self._give_up(TransportError(Fault.TIMEOUT, message, setting=setting))

    # What the connection calls.

    def on_head(self, status: int, names: list[bytes], values: list[bytes], *, is_persistent: bool) -> bool:
        """Takes the head; returns True if no body follows, whatever the headers say."""
        if not 200 <= status <= 599:
            if 100 <= status < 200 and status != 101:
                return False
            raise TransportError(Fault.PROTOCOL, f"the response has status {status}")
        headers = _as_mapping(names, values)
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise TransportError(Fault.PROTOCOL, "the response has a transfer encoding other than chunked")
        is_bodiless = self._is_bodiless or status in _NO_BODY
        if "content-encoding" in headers and not is_bodiless:
            self._inflater = inflater_for(headers["content-encoding"])
            if self._inflater is not None:
                del headers["content-encoding"]
                headers.pop("content-length", None)
        self._is_ended_by_close = not is_persistent and coding is None and "content-length" not in headers
        self.is_persistent = is_persistent
        self.head = Head(status, headers)
        self.has_head = self.has_news = True
        return self._is_bodiless

    def on_whole(self, head: Head, body: bytes) -> bool:
        """Takes a response with a plain head, all of it; returns False if there must be no body."""
        if self._is_bodiless:
            return False
        self.head = head
        self.has_bytes = self.has_head = self.has_arrived = self.is_persistent = True
        self._chunks.append(body)
        self._unread = len(body)
        self.deadline = inf
        self._wake()
        return True

    def on_body(self, data: bytes) -> None:
        """Keeps body bytes."""
        self._chunks.append(data)
        self._unread += len(data)
        self.has_news = True

    def on_end(self, *, is_persistent: bool) -> None:
        """Notes that the response is whole, as framed; ignores the end of an interim response."""
        if self.has_head:
            self.has_arrived = self.has_news = True
            self.is_persistent = is_persistent

    def on_packet(self, size: int) -> bool:
        """Wakes the reader after a packet of `size` bytes was parsed; returns True if reading must pause."""
        if not self.has_news:
            # Counts head bytes, later chunk extensions and trailers, before the parser has a whole line.
            self._barren += size
            if self._barren > MAX_HEADER_BYTES:
                raise _head_too_large()
            return False
        self._barren = 0
        if self._taker is not None and self._is_given(self._taker):
            return False
        self.deadline = inf
        self._wake()
        if self._unread > PAUSE_ABOVE_BYTES and not (self._is_paused or self.has_arrived):
            self._is_paused = True
            return True
        return False

    def on_close(self, error: Exception | None, *, was_reused: bool) -> None:
        """Takes the end of the connection: the end of the body if nothing else marks it, else a failure."""
        if self.has_head and self._is_ended_by_close and error is None and self._error is None:
            self.has_arrived = True
            self._wake()
        elif not self.has_bytes:
            message = "the connection was closed before one byte of the response came"
            self.fail(TransportError(Fault.DISCONNECTED, message, replayable=was_reused))
        else:
            part = "body" if self.has_head else "head"
            self.fail(TransportError(Fault.DISCONNECTED, f"the connection was closed within the response {part}"))

    def fail(self, error: TransportError) -> None:
        """Gives the reader `error` after what has arrived; the first error counts, none after the end."""
        if self._error is None and not self.has_arrived:
            self._error = error.again()
        self._wake()

    # Inner workings.

    def _set_deadline(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        self.deadline = deadline
        self._sweeper.expect(deadline)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self.release()
            raise

    def _is_given(self, taker: Taker) -> bool:
        """Gives the taker what has come if that is all there is to do; what is more is for the reader.

        So is much at once: it would be worked at before any other connection has its turn, and be copied on its way.
        """
        waiter = self._waiter
        is_more = self.has_arrived or self._unread > GIVEN_BYTES
        if is_more or waiter is None or waiter.done():
            return False
        try:
            self._is_declined = not taker(self._take())
        except Exception as error:  # whatever it is, it belongs to the task that waits
            self._taker = None
            if not waiter.done():  # the taker may have ended the task, too
                waiter.set_exception(error)
            return True
        if self._is_declined:
            self._taker = None
            self.deadline = inf
            self._wake()
        else:
            deadline = self._loop.time() + self._idle_seconds
            if deadline < self.deadline:  # a later one than before is no news for the sweeper
                self._sweeper.expect(deadline)
            self.deadline = deadline
        return True

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._unread = 0
        if self._is_paused:
            self._is_paused = False
            if self._connection is not None:
                self._connection.resume()
        return data

    async def _next_decoded(self, inflater: Inflater) -> bytes:
        try:
            while not (piece := inflater.take()):
                if not inflater.is_drained:
                    continue
                if not self._chunks and self.has_arrived:
                    inflater.finish()
                    return b""
                if not self._chunks:
                    if self._error is not None:
                        raise self._error.again()
                    self._set_deadline(self._idle_seconds)
                    await self._wait()
                inflater.push(self._take())
        except TransportError as error:
            raise self._give_up(error) from None
        self._decoded += len(piece)
        if self._decoded > MAX_RESPONSE_BYTES:
            raise self._give_up(_too_large(MAX_RESPONSE_BYTES))
        if not inflater.is_drained:
            # A small packet can decode to many pieces; the other requests get their turn between two of them.
            await asyncio.sleep(0)
        return piece

    def _give_up(self, error: TransportError) -> TransportError:
        """Closes the connection at once because of `error`, and returns it."""
        self._error = self._error or error.again()
        self.is_persistent = False
        self.release()
        self._wake()
        return error


_NO_HEAD: Final = Head(0)


def _as_mapping(names: list[bytes], values: list[bytes]) -> dict[str, str]:
    if len(names) > MAX_HEADERS:
        raise _head_too_large()
    if sum(map(len, names)) + sum(map(len, values)) > MAX_HEADER_BYTES:
        raise _head_too_large()
    headers: dict[str, str] = {}
    for raw_name, raw_value in zip(names, values, strict=True):
        name = _KNOWN_NAMES.get(raw_name) or raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").rstrip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    headers.pop("set-cookie", None)
    return headers


def _head_too_large() -> TransportError:
    return TransportError(
        Fault.PROTOCOL, f"the response head is over {MAX_HEADER_BYTES} bytes or {MAX_HEADERS} headers"
    )


def _too_large(limit: int) -> TransportError:
    return TransportError(Fault.TOO_LARGE, f"the response is over {limit} bytes", setting="upstream.max_response_bytes")
