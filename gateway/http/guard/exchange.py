"""One request and its response: the ASGI `receive` and `send` of the server edge, and the watch on the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from gateway.errors import error_body
from gateway.http.guard.client import BODY_FOLLOWS, Headers
from gateway.http.guard.outbox import Outbox
from gateway.http.guard.response_head import header_lines

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Application = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

SLICE_BYTES = 256 * 1024
"""Largest piece given to the transport at once, so that a big body does not sit in its buffer whole."""
JOIN_BYTES = 64 * 1024
"""Up to this size head and body are copied together and go out in one write."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger("anyport.http")


class Wire(Protocol):
    """The connection as an exchange sees it."""

    bytes_written: int
    is_write_paused: bool
    outbox: Outbox

    def write(self, data: bytes | memoryview) -> None:
        """Queues bytes for the client."""
        ...

    async def drain(self) -> None:
        """Waits until the client has taken enough."""
        ...

    def want_body(self) -> None:
        """Lets more of the request in."""
        ...

    def first_lines(self, status: int) -> bytes:
        """Returns the status line and the server's own headers."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """Says that the response is complete."""
        ...

    def broken(self, exchange: Exchange) -> None:
        """Says that the response cannot be completed."""
        ...

    def abort(self) -> None:
        """Closes the connection at once, whatever waits to be written."""
        ...


class Exchange:
    """State of one request; owned by its connection, run as one task."""

    __slots__ = (
        "_body",
        "_chunked",
        "_event",
        "_gone",
        "_head",
        "_is_end_delivered",
        "_left",
        "_scope",
        "_whole",
        "_wire",
        "awaits_continue",
        "buffered_bytes",
        "headers",
        "is_bodiless",
        "is_body_complete",
        "is_complete",
        "is_gone",
        "is_http11",
        "is_started",
        "keep_alive",
        "last_bytes",
        "outbox",
        "task",
    )

    def __init__(self, wire: Wire, scope: Scope, *, keep_alive: bool, awaits_continue: bool) -> None:
        scope["anyport.connection"] = self
        self._wire = wire
        self.outbox = wire.outbox
        self._whole: tuple[int, bytes, bytes] | None = None
        """The response, once all of it is known; it may wait in the outbox."""
        self._scope: Scope | None = scope
        self._gone: Callable[[], None] | None = None
        self.keep_alive = keep_alive
        self.awaits_continue = awaits_continue
        """The client waits for `100 Continue` before it sends the body."""
        self.is_http11 = scope["http_version"] == "1.1"
        self.is_bodiless = scope["method"] == "HEAD"
        self._body: list[bytes] = []
        self.buffered_bytes = 0
        self._event: asyncio.Event | None = None
        self.is_body_complete = False
        self._is_end_delivered = False
        self.is_gone = False
        """The client will not get this response."""
        self._head: bytes | None = None
        """The response head while it waits for the first body bytes."""
        self.is_started = False
        """Something of the response was written."""
        self.is_complete = False
        self._chunked = False
        self._left: int | None = None
        """Body bytes that `content-length` still promises."""
        self.headers: Headers = []
        self.last_bytes = b""
        """The last body bytes sent."""
        self.task: asyncio.Task[None] | None = None

    def feed(self, data: bytes) -> None:
        """Adds request body bytes."""
        if not self.is_complete:
            self._body.append(data)
            self.buffered_bytes += len(data)
            self._wake()

    def finish(self) -> None:
        """Marks the request body as whole."""
        self.is_body_complete = True
        self._wake()

    def abandon(self) -> None:
        """Tells the application that the client is gone; later sends do nothing."""
        self.is_gone = True
        self._wake()
        gone, self._gone = self._gone, None
        if gone is not None and not self.is_complete:
            gone()

    def cut(self) -> None:
        """Closes the connection at once: this answer cannot be completed."""
        if not self.is_gone:
            self._wire.abort()
            self.is_gone = True
            self._wake()

    def whole_body(self) -> bytes | None:
        """Returns the body if all of it is there; else it is to be received, piece by piece."""
        is_new = self.is_body_complete and not (self._is_end_delivered or self.awaits_continue)
        return self._body_so_far() if is_new and not (self.is_gone or self.is_complete) else None

    def respond(self, status: int, lines: bytes, body: bytes) -> bool:
        """Sends a whole response, behind what waits in the outbox; returns False if it has to be sent by messages.

        `lines` are headers as `header_lines` writes them; they say how long the body is, and nothing else of framing.
        """
        if self.is_gone or self.is_bodiless or self._wire.is_write_paused or len(body) > JOIN_BYTES:
            return False
        if self.is_started or self._head is not None or self.awaits_continue or not self.is_http11:
            return False
        self.is_started = True
        self._whole = (status, lines, body)
        if self.outbox.is_holding and self.is_body_complete:
            self.outbox.after(self._send_whole)
            return True
        if self.outbox.is_holding:  # what still comes may be bad, and end the connection before the answer is out
            self.outbox.release()
        self._send_whole()
        return True

    def _send_whole(self) -> None:
        if self.is_gone or self._whole is None:
            return
        status, lines, body = self._whole
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._wire.write(b"".join((self._wire.first_lines(status), lines, end, body)))
        self._complete()

    def send_piece(self, data: bytes) -> bool:
        """Sends a piece of a body that has begun, not its end; returns False if it has to be sent by a message."""
        if not self._chunked or self.is_complete or not 0 < len(data) <= JOIN_BYTES:
            return False
        if self.is_gone or self._wire.is_write_paused or self._head is not None:
            return False
        self._wire.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.last_bytes = data
        return True

    def watch(self, gone: Callable[[], None]) -> None:
        """Registers the only watcher; it is called once, from the event loop, when the client is gone."""
        if self.is_gone:
            asyncio.get_running_loop().call_soon(gone)
        else:
            self._gone = gone

    def unwatch(self) -> None:
        """Removes the watcher."""
        self._gone = None

    def can_take_ping(self) -> bool:
        """Tells whether a comment may be put into the response: an event stream between two events."""
        if not self._chunked or not self.last_bytes.endswith(b"\n\n"):
            return False
        return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers)

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    async def run(self, app: Application, tasks: set[asyncio.Task[None]]) -> None:
        """Runs the application and leaves `tasks`, where the task that does so was put.

        An escaping exception becomes a 500 while nothing was sent, else a cut.
        """
        # The scope refers to this object: dropping it here spares the garbage collector a cycle per request.
        scope, self._scope = self._scope, None
        try:
            await app(scope, self.receive, self.send)
            if not (self.is_complete or self.is_gone or self._whole):
                _log.error("the application returned without a complete response")
                await self._fail()
        except asyncio.CancelledError:
            self._wire.broken(self)
            raise
        except Exception:
            _log.exception("unhandled exception in the application")
            await self._fail()
        finally:
            if self.task is not None:
                tasks.discard(self.task)  # a callback of the task would cost one more turn of the event loop

    async def _fail(self) -> None:
        if self.is_complete or self.is_gone or self._whole:
            return
        if self.is_started:
            self._wire.broken(self)
            return
        self._head = None
        self.headers = []
        message = "Internal error; the details are in the gateway's log."
        body = error_body(message, type="server_error", code="internal_error")
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-should-retry", b"false"),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        """ASGI: the next piece of the body, or `http.disconnect`."""
        if self.awaits_continue and not self.is_gone:
            self.awaits_continue = False
            self._wire.write(CONTINUE)
            self._wire.want_body()
        while not self.is_gone and not self.is_complete:
            if self._body or (self.is_body_complete and not self._is_end_delivered):
                return self._take()
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            self._wire.want_body()
            await self._event.wait()
        return {"type": "http.disconnect"}

    def _take(self) -> Message:
        return {"type": "http.request", "body": self._body_so_far(), "more_body": not self.is_body_complete}

    def _body_so_far(self) -> bytes:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.buffered_bytes = 0
        self._is_end_delivered = self.is_body_complete
        return body

    async def send(self, message: Message) -> None:
        """ASGI: head or body bytes; waits while the client is slow, does nothing once it is gone."""
        if self._wire.is_write_paused and not self.is_gone:
            await self._wire.drain()
        if self.is_gone:
            return
        kind = message["type"]
        if kind == "http.response.body" and not self.is_complete and (self.is_started or self._head is not None):
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.is_started and self._head is None:
            self._start(message["status"], message.get("headers", ()), is_alone=BODY_FOLLOWS not in message)
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _start(self, status: int, headers: Any, *, is_alone: bool) -> None:
        self.headers = list(headers)
        if self.awaits_continue or not self.is_http11:
            # Without a 100 the client may or may not send the body: what comes next cannot be told apart.
            self.keep_alive = False
        if status in (204, 304):
            self.is_bodiless = True
        length, has_close = self._scan_headers()
        self._left = int(length) if length is not None else None
        head = [self._wire.first_lines(status), header_lines(self.headers)]
        if not self.keep_alive and not has_close:
            head.append(b"connection: close\r\n")
        if length is None and not self.is_bodiless and self.is_http11:
            self._chunked = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        if self._chunked and is_alone:
            self.is_started = True
            self._wire.write(b"".join(head))
        else:
            # A body follows at once: one write for both.
            self._head = b"".join(head)

    def _scan_headers(self) -> tuple[bytes | None, bool]:
        """Returns the content length and whether the application wants to close; framing is not its business."""
        length: bytes | None = None
        has_close = has_framing = False
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"connection":
                has_close = b"close" in value.lower()
            elif name == b"transfer-encoding":
                has_framing = True
        if has_close:
            self.keep_alive = False
        if has_framing:
            self.headers = [pair for pair in self.headers if pair[0] != b"transfer-encoding"]
        return length, has_close

    async def _send_body(self, body: bytes, more: bool) -> None:
        if self._left is not None and not self.is_bodiless:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the body does not have the length that content-length promises")
        if not (more and self.send_piece(body)):
            await self._write(self._head, b"" if self.is_bodiless else body, more)
            self.last_bytes = body or self.last_bytes
        if not more and not self.is_gone:
            self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        self._wake()
        self._wire.ended(self)

    async def _write(self, head: bytes | None, body: bytes, more: bool) -> None:
        before, after = head or b"", b""
        self._head = None
        self.is_started = True
        if self._chunked:
            if body:
                before, after = b"%b%x\r\n" % (before, len(body)), b"\r\n"
            if not more:
                after += b"0\r\n\r\n"
        if len(body) <= JOIN_BYTES:
            if whole := before + body + after:
                self._wire.write(whole)
            return
        self.last_bytes = b""  # no comment may be put into the middle of this piece
        if before:
            self._wire.write(before)
        try:
            await self._write_slices(memoryview(body))
        except asyncio.CancelledError:
            # Half of a piece is out: whatever came behind it, an error event too, would be read as its rest.
            self._wire.broken(self)
            self.is_gone = True
            raise
        if after and not self.is_gone:
            self._wire.write(after)

    async def _write_slices(self, body: memoryview) -> None:
        for start in range(0, len(body), SLICE_BYTES):
            if self._wire.is_write_paused and not self.is_gone:
                await self._wire.drain()
            if self.is_gone:
                return
            self._wire.write(body[start : start + SLICE_BYTES])
