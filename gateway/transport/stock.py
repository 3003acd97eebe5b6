"""httpx2 in the place of the built-in transport, for HTTP proxies and HTTP/2 (`upstream.transport: httpx`).

It costs about twenty times as much per request, and does less: tests/transport/test_contract.py lists what.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from importlib.util import find_spec
from math import isinf
from typing import Final, Protocol

import httpx2

from adapters.types import Head, HttpRequest
from gateway.transport.base import MAX_HEADER_BYTES, MAX_RESPONSE_BYTES, Fault, Taker, Timeouts, TransportError, poured
from gateway.transport.bridge import from_httpx
from gateway.transport.connection import keep_alive_options
from gateway.transport.decoding import Inflater, inflater_for
from gateway.transport.dialing import default_context
from gateway.transport.exchange import MAX_HEADERS
from gateway.transport.wire import encode_head, parse_url

_BODILESS: Final = frozenset({204, 304})
_VERSIONS: Final = frozenset({b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2"})


class _Closable(Protocol):
    async def aclose(self) -> None: ...


class StockTransport:
    """Implements `Transport` over httpx2's own; no redirects, no cookies, no proxies from the environment."""

    def __init__(
        self,
        *,
        max_connections: int = 10_000,
        keep_alive_seconds: float = 75.0,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._reusing: httpx2.AsyncHTTPTransport | None = None
        self._fresh: httpx2.AsyncHTTPTransport | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> StockResponse:
        """Sends `request`; `fresh` forbids a pooled connection. Raises TransportError."""
        phases = _Phases(timeouts)
        try:
            response = await self._answer(request, phases, fresh=fresh)
        except TransportError as error:
            error.is_unsent = not phases.has_sent
            raise
        finally:
            if phases.unsecured is not None:
                self.close_later(phases.unsecured)
        return await self._checked(response, request, timeouts)

    async def aclose(self) -> None:
        """Closes every connection."""
        self._is_closed = True
        await asyncio.gather(*self._closings, return_exceptions=True)
        for transport in (self._reusing, self._fresh):
            if transport is not None:
                await transport.aclose()

    def close_later(self, open_end: _Closable) -> None:
        """Closes a response or a stream from a task, for a caller who cannot wait."""
        task = asyncio.get_running_loop().create_task(_closed(open_end))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def _answer(self, request: HttpRequest, phases: _Phases, *, fresh: bool) -> httpx2.Response:
        if self._is_closed:
            raise TransportError(Fault.CONNECT, "the transport is closed")
        # The built-in transport's rules for what may be written hold here as well.
        encode_head(request.method, parse_url(request.url), request.headers)
        outgoing = httpx2.Request(
            request.method,
            request.url,
            headers=_headers(request),
            content=request.body,
            extensions={"timeout": phases.timeout, "trace": phases},
        )
        try:
            async with phases.timer:
                return await self._transport(fresh=fresh).handle_async_request(outgoing)
        except TimeoutError:
            raise phases.overrun() from None
        except httpx2.TransportError as error:
            raise from_httpx(error, was_reused=not phases.has_connected) from None

    async def _checked(self, response: httpx2.Response, request: HttpRequest, timeouts: Timeouts) -> StockResponse:
        headers = {name.lower(): value for name, value in response.headers.items() if name != "set-cookie"}
        status = response.status_code
        try:
            _check_head(response)
            has_body = request.method != "HEAD" and status not in _BODILESS
            inflater = inflater_for(headers.get("content-encoding", "")) if has_body else None
        except TransportError:
            await response.aclose()
            raise
        if inflater is not None:
            del headers["content-encoding"]
            headers.pop("content-length", None)
        return StockResponse(self, response, Head(status, headers), inflater, timeouts)

    def _transport(self, *, fresh: bool) -> httpx2.AsyncHTTPTransport:
        if self._reusing is None or self._fresh is None:
            self._ssl_context = self._ssl_context or default_context()
            self._reusing = self._make(self._ssl_context, self._max_connections)
            self._fresh = self._make(self._ssl_context, 0)
        return self._fresh if fresh else self._reusing

    def _make(self, context: ssl.SSLContext, kept: int) -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            http2=find_spec("h2") is not None,
            proxy=self._proxy,
            socket_options=keep_alive_options(),
            limits=httpx2.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=kept,
                keepalive_expiry=self._keep_alive_seconds,
            ),
        )


class StockResponse:
    """Implements `UpstreamResponse`."""

    def __init__(
        self,
        transport: StockTransport,
        response: httpx2.Response,
        head: Head,
        inflater: Inflater | None,
        timeouts: Timeouts,
    ) -> None:
        self.head = head
        self._transport = transport
        self._response = response
        self._pieces = _pieces(response)
        self._inflater = inflater
        self._idle_seconds = timeouts.idle
        self._idle_setting = timeouts.idle_setting
        self._decoded = 0
        self._has_ended = False
        self._is_released = False

    @property
    def is_complete(self) -> bool:
        """True once the whole body, as framed, has arrived and been read."""
        return self._has_ended

    async def next(self) -> bytes:
        """Returns the next piece of the body; b"" at the end; raises TransportError."""
        try:
            if self._inflater is None:
                return await self._next_raw()
            return await self._next_decoded(self._inflater)
        except BaseException:
            self.release()
            raise

    async def pour(self, take: Taker) -> bool:
        """Gives `take` the pieces until it wants no more; returns False at the end; raises TransportError."""
        return await poured(self.next, take)

    def expect_within(self, seconds: float, setting: str) -> None:
        """From now on waits at most `seconds` for each next piece instead of `idle`; the error names `setting`."""
        self._idle_seconds = seconds
        self._idle_setting = setting

    async def read(self, limit: int = MAX_RESPONSE_BYTES) -> bytes:
        """Returns the whole body; raises TransportError(TOO_LARGE) past `limit` decoded bytes."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.next():
            size += len(piece)
            if size > limit:
                self.release()
                raise _too_large(limit)
            pieces.append(piece)
        return b"".join(pieces)

    def release(self) -> None:
        """Closes the connection from a task, unless the end of the body has given it back. Idempotent."""
        if not self._is_released:
            self._is_released = True
            self._transport.close_later(self._response)

    async def _next_raw(self) -> bytes:
        if self._is_released:
            if self._has_ended:
                return b""
            raise TransportError(Fault.DISCONNECTED, "the response was released before its end")
        try:
            async with asyncio.timeout(_or_none(self._idle_seconds)):
                async for piece in self._pieces:
                    if piece:
                        return piece
                self._has_ended = self._is_released = True
                await self._response.aclose()
                return b""
        except TimeoutError:
            message = f"no next piece of the response body within {self._idle_seconds:g} s"
            raise TransportError(Fault.TIMEOUT, message, setting=self._idle_setting) from None
        except httpx2.TransportError as error:
            raise from_httpx(error, was_reused=False) from None

    async def _next_decoded(self, inflater: Inflater) -> bytes:
        while not (piece := inflater.take()):
            if not inflater.is_drained:
                continue
            data = await self._next_raw()
            if not data:
                inflater.finish()
                return b""
            inflater.push(data)
        self._decoded += len(piece)
        if self._decoded > MAX_RESPONSE_BYTES:
            raise _too_large(MAX_RESPONSE_BYTES)
        return piece


def _check_head(response: httpx2.Response) -> None:
    """Refuses what httpx2 lets through although no honest upstream sends it."""
    fields = response.headers.raw
    version = response.extensions.get("http_version")
    if not 200 <= response.status_code <= 599:
        raise TransportError(Fault.PROTOCOL, f"the response has status {response.status_code}")
    if version not in _VERSIONS:
        raise TransportError(Fault.PROTOCOL, "the response has an unknown HTTP version")
    if len(fields) > MAX_HEADERS or sum(len(name) + len(value) for name, value in fields) > MAX_HEADER_BYTES:
        raise TransportError(Fault.PROTOCOL, "the response head is too large")
    if {"content-length", "transfer-encoding"} <= response.headers.keys():
        raise TransportError(Fault.PROTOCOL, "the response is framed in two ways")


class _Phases:
    """How far one request has come, told by httpx2 while it runs, and the deadline of the phase that it is in."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.has_connected = False
        """True if httpx2 opened a connection for the request."""
        self.has_sent = False
        self.unsecured: _Closable | None = None
        """The stream below a TLS handshake, which httpx2 forgets to close if the handshake is cancelled."""
        self.timer = asyncio.timeout(_or_none(timeouts.pool + timeouts.connect))
        self.timeout = {"pool": _or_none(timeouts.pool), "connect": None, "write": None, "read": None}
        """For httpx2, which would give each read and each write as long, so that it only counts the wait in line."""
        self._timeouts = timeouts

    async def __call__(self, event: str, info: Mapping[str, _Closable]) -> None:
        """Takes an event of httpx2's trace, such as `http11.send_request_headers.started`."""
        step = event.partition(".")[2]
        if step == "connect_tcp.started":
            self.has_connected = True
            self._expect(self._timeouts.connect)
        elif step == "connect_tcp.complete":
            self.unsecured = info["return_value"]
        elif step == "send_request_headers.started":
            self.has_sent = True
            self.unsecured = None
            self._expect(self._timeouts.head)
        elif step == "receive_response_headers.started":
            self._expect(self._timeouts.head)

    def overrun(self) -> TransportError:
        """Returns the error of the phase whose time is up."""
        timeouts = self._timeouts
        if self.has_sent:
            message = f"no response head within {timeouts.head:g} s"
            return TransportError(Fault.TIMEOUT, message, setting=timeouts.head_setting)
        message = f"no connection within {timeouts.connect:g} s"
        return TransportError(Fault.TIMEOUT, message, setting=timeouts.connect_setting)

    def _expect(self, seconds: float) -> None:
        self.timer.reschedule(None if isinf(seconds) else asyncio.get_running_loop().time() + seconds)


async def _closed(open_end: _Closable) -> None:
    await open_end.aclose()


async def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    # Raw bytes: httpx2's own decoding accepts five layers and has no cap.
    async for piece in response.aiter_raw():
        yield piece


def _headers(request: HttpRequest) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    if all(name != b"accept-encoding" for name, _ in headers):
        headers.append((b"accept-encoding", b"identity"))
    return headers


def _or_none(seconds: float) -> float | None:
    return None if isinf(seconds) else seconds


def _too_large(limit: int) -> TransportError:
    return TransportError(Fault.TOO_LARGE, f"the response is over {limit} bytes", setting="upstream.max_response_bytes")
