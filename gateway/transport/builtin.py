"""The transport of the data plane: HTTP/1.1 on asyncio and httptools, and no more objects than it needs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from adapters.types import Headers, HttpRequest
from gateway.transport.base import Fault, Timeouts, TransportError
from gateway.transport.bridge import as_request, as_response, as_timeouts, to_httpx
from gateway.transport.dialing import Dialer, default_context
from gateway.transport.exchange import Exchange
from gateway.transport.names import FailingNames, Resolve, SystemNames
from gateway.transport.pool import Pool
from gateway.transport.sweeper import Sweeper
from gateway.transport.wire import Origin, Place, encode_head, encode_request, parse_url

_MOST_PLACES = 1024
"""Parsed URLs that are remembered; with more, all are forgotten at once."""
_MOST_HEADS = 256
"""Encoded heads, ditto: those of a provider are the same in every request, unless they are signed."""


class BuiltinTransport(httpx2.AsyncBaseTransport):
    """Implements `Transport`, and httpx2's transport on top of it; belongs to one event loop.

    No redirects, no cookies, no proxies from the environment. `max_connections` holds per origin.
    """

    def __init__(
        self,
        *,
        max_connections: int = 10_000,
        keep_alive_seconds: float = 75.0,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._ssl_context = ssl_context
        self._resolve = resolve or SystemNames().resolve
        self._places: dict[str, tuple[Place, Pool]] = {}
        self._heads: dict[tuple[str, str, Headers], bytes] = {}
        self._pools: dict[Origin, Pool] = {}
        self._is_closed = False
        self._sweeper: Sweeper | None = None
        self._dialer: Dialer | None = None

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> Exchange:
        """Sends `request`; `fresh` forbids a pooled connection. Cancelling closes it and frees the slot.

        Raises TransportError; nothing is written if a header could break out of its line.
        """
        try:
            place, pool = self._places.get(request.url) or self._find(request.url)
            head = self._heads.get((request.url, request.method, request.headers)) or self._head_of(request, place)
            payload = encode_request(request.method, head, request.body)
            connection = None if fresh else pool.take()
            if connection is None:
                connection = await pool.acquire(timeouts, fresh=fresh)
            exchange = connection.start(payload, timeouts, is_head=request.method == "HEAD")
        except TransportError as error:
            # Whatever it was, the request had not been written.
            error.is_unsent = True
            raise
        await exchange.wait_for_head()
        return exchange

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one httpx2 request; once more, on a fresh connection, if a reused one was being closed."""
        timeouts = as_timeouts(request)
        ours = as_request(request, await request.aread())
        try:
            try:
                exchange = await self.send(ours, timeouts)
            except TransportError as error:
                if not error.replayable:
                    raise
                exchange = await self.send(ours, timeouts, fresh=True)
        except TransportError as error:
            raise to_httpx(error, request) from error
        return as_response(exchange, request)

    def stats(self) -> Mapping[str, tuple[int, int, int]]:
        """Returns per origin: connections open, how many of them idle, and requests waiting for one."""
        return {str(origin): pool.stats() for origin, pool in self._pools.items()}

    async def aclose(self) -> None:
        """Closes every connection; a later `send` fails."""
        self._is_closed = True
        self._places.clear()
        self._heads.clear()
        for pool in tuple(self._pools.values()):
            await pool.close()

    def _find(self, url: str) -> tuple[Place, Pool]:
        if self._is_closed:
            raise TransportError(Fault.CONNECT, "the transport is closed")
        place = parse_url(url)
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
            self._pools = {origin: pool for origin, pool in self._pools.items() if not pool.is_unused}
        pool = self._pools.get(place.origin)
        if pool is None:
            pool = self._pools[place.origin] = self._make_pool(place.origin)
        found = self._places[url] = (place, pool)
        return found

    def _head_of(self, request: HttpRequest, place: Place) -> bytes:
        head = encode_head(request.method, place, request.headers)
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[request.url, request.method, request.headers] = head
        return head

    def _make_pool(self, origin: Origin) -> Pool:
        loop = asyncio.get_running_loop()
        if self._sweeper is None or self._dialer is None:
            self._sweeper = Sweeper(loop)
            names = FailingNames(self._resolve, loop.time)
            self._dialer = Dialer(loop, resolve=names.resolve, make_context=self._context)
        return Pool(
            origin,
            loop=loop,
            sweeper=self._sweeper,
            dial=self._dialer.dial,
            limit=self._max_connections,
            idle_seconds=self._keep_alive_seconds,
        )

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = default_context()
        return self._ssl_context
