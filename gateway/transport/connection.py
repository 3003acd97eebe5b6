"""One TCP or TLS connection to an upstream: parses what comes, and knows whether it may be used again."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, Protocol, cast

import httptools

from adapters.types import Head
from gateway.transport.base import Fault, Timeouts, TransportError
from gateway.transport.exchange import Exchange
from gateway.transport.repeated import RepeatedHead, repeated

if TYPE_CHECKING:
    from gateway.transport.sweeper import Sweeper

_KEEPALIVE_SECONDS: Final = 30
_SMALL_BYTES: Final = 64 * 1024
_OK_LINE: Final = b"HTTP/1.1 200 "


class Home(Protocol):
    """The pool that a connection belongs to, as far as the connection sees it."""

    sweeper: Sweeper
    live: set[Connection]
    known: tuple[RepeatedHead, Head] | None
    """The head of the last response that the parser has read, if the next one may be the same."""

    def give_back(self, connection: Connection) -> None:
        """Takes an idle connection."""
        ...

    def drop(self, connection: Connection) -> None:
        """Takes the slot of a connection that ended."""
        ...


class Connection(asyncio.Protocol):
    """Carries one exchange at a time; holds a slot of its pool from `dial` to `abort` or the peer's close."""

    __slots__ = (
        "_exchange",
        "_has_slot",
        "_loop",
        "_may_lag",
        "_names",
        "_parser",
        "_pool",
        "_transport",
        "_values",
        "_was_used",
        "idle_since",
    )

    def __init__(self, pool: Home, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._exchange: Exchange | None = None
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._has_slot = False
        self._was_used = False
        self._may_lag = False
        self.idle_since = 0.0
        """Loop time in seconds."""

    @property
    def is_open(self) -> bool:
        """True if a request may be sent."""
        transport = self._transport
        return self._has_slot and transport is not None and not transport.is_closing()

    @property
    def is_connected(self) -> bool:
        """True while the socket is open."""
        return self._transport is not None and not self._transport.is_closing()

    def hold_slot(self) -> None:
        """Makes the connection the owner of one slot of its pool, which its end gives back."""
        self._has_slot = True

    def yield_slot(self) -> bool:
        """Ends the connection but keeps its slot taken, for whoever asked; False if its own end was quicker."""
        had_slot, self._has_slot = self._has_slot, False
        self.abort()
        return had_slot

    def start(self, payload: bytes, timeouts: Timeouts, *, is_head: bool) -> Exchange:
        """Writes one whole request and returns what will receive its response; raises TransportError."""
        transport = self._transport
        if transport is None:
            raise TransportError(Fault.DISCONNECTED, "the connection is closed", replayable=self._was_used)
        sweeper = self._pool.sweeper
        exchange = Exchange(self, timeouts, loop=self._loop, sweeper=sweeper, is_bodiless=is_head)
        self._exchange = exchange
        sweeper.watch(exchange)
        self._may_lag = len(payload) > _SMALL_BYTES
        transport.write(payload)
        return exchange

    def end_exchange(self, *, can_reuse: bool) -> None:
        """Goes back to the pool if everything sent and received is accounted for, else closes."""
        self._exchange = None
        if not (can_reuse and self.is_open) or (self._may_lag and self._lags()):
            self.abort()
            return
        self._was_used = True
        self._pool.give_back(self)

    def resume(self) -> None:
        """Reads from the socket again after a pause."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes at once, without flushing, and gives the slot back. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport and switches the socket's own keep-alive on."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._pool.live.add(self)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            for option in keep_alive_options():
                raw.setsockopt(*option)

    def data_received(self, data: bytes) -> None:
        """Parses one packet; bytes that belong to no exchange end the connection."""
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None or exchange.has_arrived:
            # Nobody asked for these: kept, they would become the answer to somebody else's request.
            self.abort()
            return
        is_first = not exchange.has_bytes
        if is_first and (known := self._pool.known) is not None and _is_whole(*known, data, exchange):
            return
        exchange.has_bytes = True
        exchange.has_news = False
        try:
            try:
                parser.feed_data(data)
                if is_first and exchange.has_head:
                    self._pool.known = _known(data, exchange)
            except httptools.HttpParserError as error:
                # An error after the end (a second response, junk) spoils the connection, not the response.
                self.abort()
                if not exchange.has_arrived:
                    raise _as_fault(error) from None
            if exchange.on_packet(len(data)) and self._transport is not None:
                self._transport.pause_reading()
        except TransportError as error:
            self.abort()
            exchange.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells whoever reads, and leaves the pool."""
        exchange = self._exchange
        self._transport = None
        self._parser = None
        self._pool.live.discard(self)
        self._leave()
        if exchange is not None:
            exchange.on_close(exc, was_reused=self._was_used)

    # What the parser calls. An exception ends the parsing at once, so that nothing after it is looked at.

    def on_message_begin(self) -> None:
        """Refuses a second response."""
        if self._exchange is None or self._exchange.has_arrived:
            raise _Surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps one header line, or a trailer that nobody will look at; a packet's size bounds how many."""
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        """Hands on the head."""
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None:
            raise _Surplus
        names, values = self._names, self._values
        self._names, self._values = [], []
        is_persistent = parser.should_keep_alive()
        if not is_persistent and parser.get_http_version() not in ("1.1", "1.0"):
            raise TransportError(Fault.PROTOCOL, "the response is not HTTP/1.0 or HTTP/1.1")
        if exchange.on_head(parser.get_status_code(), names, values, is_persistent=is_persistent):
            # The parser does not know that the request was HEAD, and would wait for a body.
            exchange.on_end(is_persistent=False)
            raise _Surplus

    def on_body(self, data: bytes) -> None:
        """Hands on body bytes."""
        if self._exchange is not None:
            self._exchange.on_body(data)

    def on_message_complete(self) -> None:
        """Hands on the end."""
        self._names.clear()
        self._values.clear()
        if self._exchange is not None and self._parser is not None:
            self._exchange.on_end(is_persistent=self._parser.should_keep_alive())

    # Inner workings.

    def _lags(self) -> bool:
        """True if the response came before the whole request was written."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def _leave(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._pool.drop(self)


class _Surplus(Exception):
    """Stops the parser: what follows is not part of the response."""


def _known(data: bytes, exchange: Exchange) -> tuple[RepeatedHead, Head] | None:
    """Returns the head that was just read from the beginning of `data`, if the next one may be the same."""
    end = data.find(b"\r\n\r\n") + 4
    if not data.startswith(_OK_LINE) or not exchange.is_plain:
        return None
    found = repeated(data[:end])
    return None if found is None else (found, exchange.head)


def _is_whole(known: RepeatedHead, head: Head, data: bytes, exchange: Exchange) -> bool:
    """Says whether `data` is a whole response with the head that was read before, and hands it on if so."""
    found = known.match(data, 0)
    if found is None:
        return False
    start, digits = found
    length = int(digits)
    if not length or length != len(data) - start:
        return False
    if head.headers["content-length"] != (text := digits.decode()):
        head = Head(head.status, {**head.headers, "content-length": text})
    return exchange.on_whole(head, data[start:])


def _as_fault(error: httptools.HttpParserError) -> TransportError:
    cause = error.__context__
    if isinstance(cause, TransportError):
        return cause
    return TransportError(Fault.PROTOCOL, f"the response is not valid HTTP/1.1: {error}")


def keep_alive_options() -> list[tuple[int, int, int]]:
    """Returns the socket options by which a peer that is gone without a word is noticed."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", _KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        number: int | None = getattr(socket, name, None)
        if number is not None:
            options.append((socket.IPPROTO_TCP, number, value))
    return options
