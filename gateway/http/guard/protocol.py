"""The hardened server side of HTTP/1.1: what reaches the application is one well-formed request at a time.

Theory. llhttp parses, strictly, but it reports no offsets. The guard therefore cuts the input at message
borders itself (end of head, end of body) and feeds the parser exactly one part at a time. With the borders
known, limits are exact, an answer never depends on how the network cut the bytes, `Upgrade` cannot turn a body
into a request, and reading can stop between pipelined requests. A request is handed to the application at the
end of the packet that completed its head: if garbage follows in the same packet, it never runs.

A connection is in one of five phases. HEAD and BODY have deadlines for the client, ANSWER is ours, IDLE is
keep-alive, LINGER reads and drops what a refused client still sends, because closing a socket with unread data
resets it and the client would lose the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from enum import IntEnum
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from gateway.http.guard.exchange import CONTINUE, Application, Exchange
from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.refusal import Refusal, Refused, refusal_bytes, too_slow
from gateway.http.guard.request_reader import RequestReader
from gateway.http.guard.response_head import clean_header_value
from gateway.http.guard.shared import Shared
from gateway.http.guard.sweeper import StallWatch

__all__ = ["GuardLimits", "GuardProtocol", "clean_header_value", "guarded"]

WRITE_HIGH_WATER = 64 * 1024
"""Bytes in the transport's buffer above which `send` waits; with one slice on top it stays below 1 MiB."""
READ_HIGH_WATER = 256 * 1024
"""Unread body bytes above which reading from the socket pauses."""
PROBE_SECONDS = (0.025, 0.25, 2.5)
"""When a client that sent FIN is probed again: later ones are for networks with a longer round trip."""
PING = b"8\r\n: ping\n\n\r\n"


class Phase(IntEnum):
    """What the connection waits for."""

    HEAD = 0
    BODY = 1
    ANSWER = 2
    IDLE = 3
    LINGER = 4


# Python 3.11 takes long to find a member at its class, and these are asked for several times in every request.
_HEAD, _BODY, _ANSWER, _IDLE, _LINGER = Phase


class GuardProtocol(asyncio.Protocol):
    """One client connection; `guarded(limits)` makes the class that uvicorn is given."""

    shared: ClassVar[Shared]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._app: Application = cast(Any, config).loaded_app
        self._asgi = {"version": config.asgi_version, "spec_version": "2.3"}
        self._root_path = config.root_path
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._limits = self.shared.limits
        self.outbox = self.shared.outbox(self._loop, server_state.tasks)
        self._reader = RequestReader(self._limits, self)
        self._phase = _HEAD
        self._since = self._loop.time()
        self._body_bytes = 0
        self._active: Exchange | None = None
        """The exchange being answered."""
        self._fresh: Exchange | None = None
        """An exchange of the packet at hand, not yet given to the application."""
        self._incoming: Exchange | None = None
        """The exchange whose body is being read."""
        self._queue: deque[Exchange] = deque()
        self._held = b""
        """Input that waits until the queue has room."""
        self._refusal: Refusal | None = None
        """What to say after the active response."""
        self._is_half_closed = False
        self.is_draining = False
        self._is_read_paused = False
        self.is_write_paused = False
        self._writable: asyncio.Event | None = None
        self.bytes_written = 0
        self._stall = StallWatch()

    # --- life of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._client = get_remote_addr(self._transport)
        self._server = get_local_addr(self._transport)
        self._scheme = "https" if is_ssl(self._transport) else "http"
        connections = cast("set[GuardProtocol]", self._server_state.connections)
        connections.add(self)
        self.shared.sweeper.wake(self._loop, cast(Collection[GuardProtocol], connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is closed, by whomever."""
        cast("set[GuardProtocol]", self._server_state.connections).discard(self)
        self._abandon()
        self._phase = _LINGER
        self._held = b""
        self.resume_writing()

    def eof_received(self) -> bool:
        """asyncio: the client sent FIN: it closed, or it only ended its side and waits for the answer."""
        active = self._active
        if active is None or not active.is_body_complete or self._phase is _LINGER:
            return False
        self._is_half_closed = True
        self._probe(PROBE_SECONDS)
        return True

    def _probe(self, delays: tuple[float, ...]) -> None:
        """Writes something harmless: a closed peer resets the connection, and a later write notices that."""
        active = self._active
        if active is None or self._transport.is_closing():
            return
        if not active.is_started:
            if active.is_http11:
                # RFC 9110 section 15.2: any number of 1xx may precede the final response.
                self.write(CONTINUE)
        elif active.can_take_ping():
            self.write(PING)
        if delays:
            self._loop.call_later(delays[0], self._probe, delays[1:])

    def shutdown(self) -> None:
        """uvicorn: answer what was asked, then close."""
        self.is_draining = True
        if self._active is None and not self._reader.is_mid_head:
            self._transport.close()
        for exchange in (self._active, *self._queue):
            if exchange is not None:
                exchange.keep_alive = False

    def abort(self) -> None:
        """Cuts the connection."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Ends the connection if a deadline has passed."""
        waited = now - self._since
        limits = self._limits
        buffered = self._transport.get_write_buffer_size()
        if self._stall.seconds(now, self.bytes_written, buffered) > limits.write_stall_seconds:
            self._transport.abort()
        elif self._phase is _IDLE and waited > limits.keep_alive_seconds:
            self._transport.close()
        elif self._phase is _LINGER and waited > limits.linger_seconds and not buffered:
            self._transport.abort()
        elif self._phase is _HEAD and waited > limits.header_seconds and self._active is None:
            if self._reader.is_mid_head:
                self._refuse(too_slow("headers", limits.header_seconds))
            else:
                self._transport.close()
        elif self._phase is _BODY and waited > limits.body_seconds:
            self._check_rate(waited)

    def _check_rate(self, waited: float) -> None:
        incoming = self._incoming
        if self._is_read_paused or (incoming is not None and incoming.awaits_continue):
            self._since = self._loop.time()
            self._body_bytes = 0
        elif self._body_bytes < waited * self._limits.body_bytes_per_second:
            self._refuse(too_slow("body", self._limits.body_seconds))

    def _abandon(self) -> None:
        self._fresh = None
        ended = (self._active, *self._queue)
        self._active = None
        self._queue.clear()
        for exchange in ended:
            if exchange is not None:
                exchange.abandon()

    # --- input

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes from the client."""
        if self._phase is _LINGER or self._refusal is not None:
            return
        self._read(self._held + data if self._held else data)

    def _read(self, data: bytes) -> None:
        self._held = b""
        start, end = 0, len(data)
        try:
            while start < end:
                if len(self._queue) >= self._limits.pipelined_requests and not self._reader.in_body:
                    self._held = data[start:]
                    break
                start = self._reader.feed(data, start)
        except Refused as refused:
            self._refuse(refused.refusal)
            return
        self._stamp()
        fresh = self._fresh
        if fresh is not None:
            self._fresh = None
            self._run(fresh)
        if self._queue or self._is_read_paused or self._is_body_ahead():
            self._adjust_reading()

    def _stamp(self) -> None:
        """Notes what the connection waits for now, and since when."""
        reader = self._reader
        if reader.in_body:
            phase = _BODY
        elif reader.is_mid_head:
            phase = _HEAD
        elif self._active is not None:
            phase = _ANSWER
        else:
            phase = _HEAD if self._phase is _HEAD else _IDLE
        if phase is not self._phase:
            self._phase = phase
            if phase is not _ANSWER:
                self._since = self._loop.time()
                self._body_bytes = 0

    def begin(self) -> None:
        """Reader: a good head."""
        reader = self._reader
        scope = {
            "type": "http",
            "asgi": self._asgi,
            "http_version": "1.1" if reader.is_http11 else "1.0",
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": reader.method.decode("ascii"),
            "root_path": self._root_path,
            "path": self._root_path + reader.path,
            "raw_path": reader.raw_path,
            "query_string": reader.query,
            "headers": reader.headers,
            "state": self._app_state.copy(),
        }
        keep_alive = reader.keep_alive and not self.is_draining
        exchange = Exchange(self, scope, keep_alive=keep_alive, awaits_continue=reader.awaits_continue)
        self._incoming = exchange
        if self._active is None:
            self._active = self._fresh = exchange
        else:
            self._queue.append(exchange)

    def body(self, data: bytes) -> None:
        """Reader: body bytes."""
        self._body_bytes += len(data)
        if self._incoming is not None:
            self._incoming.feed(data)

    def end(self) -> None:
        """Reader: the request is whole."""
        if self._incoming is not None:
            self._incoming.finish()
            self._incoming = None

    def _run(self, exchange: Exchange) -> None:
        tasks = self._server_state.tasks
        exchange.task = task = self._loop.create_task(exchange.run(self._app, tasks), name="request")
        tasks.add(task)

    def _is_body_ahead(self) -> bool:
        incoming = self._incoming
        return incoming is not None and incoming.buffered_bytes > READ_HIGH_WATER

    def _adjust_reading(self) -> None:
        """Reads no further while requests wait or the application has not taken the body."""
        should_pause = bool(self._queue) or self._is_body_ahead()
        if should_pause == self._is_read_paused or self._transport.is_closing() or self._is_half_closed:
            return
        self._is_read_paused = should_pause
        if should_pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answers for the application and ends the connection."""
        active = self._active
        if active is not None and active.is_started and active is not self._incoming:
            self._refusal = refusal
            active.keep_alive = False
            return
        incoming = self._incoming
        is_answered = (incoming is not None and incoming.is_complete) or (active is not None and active.is_started)
        self._abandon()
        if not is_answered and not self._transport.is_closing():
            self.write(refusal_bytes(refusal, self._default_lines()))
        self._linger()

    def _linger(self) -> None:
        """Sends FIN after what was written and drops what still comes, for a while."""
        self._phase = _LINGER
        self._since = self._loop.time()
        if self._is_half_closed or not self._transport.can_write_eof():
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            if self._is_read_paused:
                self._is_read_paused = False
                self._transport.resume_reading()

    def _default_lines(self) -> bytes:
        return self.shared.default_lines(self._server_state.default_headers)

    # --- output

    def write(self, data: bytes | memoryview) -> None:
        """Queues bytes for the client."""
        self.bytes_written += len(data)
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the client has taken enough."""
        if self._writable is None:
            self._writable = asyncio.Event()
        await self._writable.wait()

    def pause_writing(self) -> None:
        """asyncio: the buffer is above the high-water mark."""
        self.is_write_paused = True
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: the buffer has drained."""
        self.is_write_paused = False
        if self._writable is not None:
            self._writable.set()

    def want_body(self) -> None:
        """Lets more of the request in."""
        if self._is_read_paused:
            self._adjust_reading()

    def first_lines(self, status: int) -> bytes:
        """Returns the status line and the server's own headers."""
        return self.shared.first_lines(status, self._server_state.default_headers)

    def broken(self, exchange: Exchange) -> None:
        """Closes without the end of the response, in the way that makes the client notice."""
        if exchange.is_gone:
            return
        if exchange.is_http11:
            self._transport.close()
        else:
            self._transport.abort()

    def ended(self, exchange: Exchange) -> None:
        """Goes on with the next request, or waits for one, or closes."""
        self._server_state.total_requests += 1
        self._active = None
        if self._refusal is not None:
            self.write(refusal_bytes(self._refusal, self._default_lines()))
        if self._refusal is not None or not exchange.keep_alive:
            self._abandon()
            if self._incoming is None and self._refusal is None and not self._reader.is_mid_head:
                self._transport.close()
            else:
                self._linger()
        elif self._queue:
            self._active = self._queue.popleft()
            self._run(self._active)
            self._next()
        elif self._is_half_closed:
            self._transport.close()
        elif self._phase is not _BODY:
            # The time of a head that came half while this was answered begins now.
            self._phase = _HEAD if self._phase is _HEAD else _IDLE
            self._since = self._loop.time()

    def _next(self) -> None:
        if self._held:
            self._read(self._held)
        else:
            self._adjust_reading()


def guarded(limits: GuardLimits) -> type[GuardProtocol]:
    """Returns a protocol class for `uvicorn.Config(http=...)`, bound to `limits`."""
    return type("BoundGuardProtocol", (GuardProtocol,), {"shared": Shared(limits)})
