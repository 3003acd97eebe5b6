"""The bundled load client: closed-loop requests and streams over raw asyncio connections, parsed by llhttp."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Self, cast

import httptools


@dataclass(frozen=True)
class Endpoint:
    """Where a variant listens for one kind of request; loopback only."""

    port: int
    headers: tuple[tuple[str, str], ...] = ()
    path: str = "/v1/chat/completions"

    @property
    def url(self) -> str:
        """Absolute URL."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def request(self, body: bytes) -> bytes:
        """Returns the whole HTTP request."""
        fields = {"host": f"127.0.0.1:{self.port}", "content-type": "application/json", **dict(self.headers)}
        lines = [f"{name}: {value}\r\n" for name, value in fields.items()]
        head = f"POST {self.path} HTTP/1.1\r\n{''.join(lines)}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body


@dataclass
class Load:
    """What a run of requests came to. Latencies in seconds."""

    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    latencies: list[float] = field(default_factory=list[float])

    def percentile(self, share: float) -> float:
        """Returns the latency that `share` of the requests stayed under; 0 without requests."""
        return percentile(self.latencies, share)


@dataclass
class Streams:
    """What a run of streams came to. `first_chunks` are seconds from request to first content."""

    seconds: float = 0.0
    streams: int = 0
    chunks: int = 0
    errors: int = 0
    first_chunks: list[float] = field(default_factory=list[float])


def percentile(values: list[float], share: float) -> float:
    """Returns the value that `share` of `values` stay under; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self.status = 0
        self.chunks = 0
        """Events of the present answer, finish and `[DONE]` included."""
        self.first_event: float | None = None
        self.is_closed = False
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._first: asyncio.Event | None = None
        self._tail = b""

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connects to loopback."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def exchange(self, request: bytes, timeout: float = 60.0) -> bool:
        """Sends a request, reads its whole answer; returns whether that was a complete 200."""
        self.send(request)
        assert self._waiter is not None
        try:
            await asyncio.wait_for(self._waiter, timeout)
        except (TimeoutError, ConnectionError):
            self.close()
            return False
        return self.status == 200

    def send(self, request: bytes) -> None:
        """Sends a request without waiting for its answer."""
        if self._transport is None or self.is_closed:
            raise ConnectionError("connection is closed")
        self.status = self.chunks = 0
        self.first_event = None
        self._tail = b""
        self._first = asyncio.Event()
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    async def first(self, timeout: float = 10.0) -> bool:
        """Waits for the first event; returns whether it came."""
        assert self._first is not None
        try:
            await asyncio.wait_for(self._first.wait(), timeout)
        except TimeoutError:
            return False
        return self.first_event is not None

    def close(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._first is not None:
            self._first.set()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("closed in the middle of an answer"))
            self._waiter.exception()  # nobody may be waiting: keep the loop from complaining

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        data = self._tail + body
        # What may be the beginning of the next mark is kept back, so that none is counted twice or missed.
        marks = data.count(b"data: ")
        self._tail = _beginning(data[data.rfind(b"data: ") + 6 :] if marks else data)
        if marks:
            self._count(data, marks)

    def on_message_complete(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _count(self, data: bytes, marks: int) -> None:
        if self.first_event is None:
            self.first_event = time.perf_counter()
            if self._first is not None:
                self._first.set()
        self.chunks += marks


def _beginning(data: bytes) -> bytes:
    """Returns the longest end of `data` that a `data: ` could begin with."""
    mark = b"data: "
    for size in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:size]):
            return mark[:size]
    return b""


async def closed_loop(endpoint: Endpoint, body: bytes, *, connections: int, seconds: float) -> Load:
    """Keeps `connections` requests going for `seconds`; a broken connection is an error and is opened anew."""
    load = Load()
    request = endpoint.request(body)
    started = time.perf_counter()
    await asyncio.gather(*(_one_loop(endpoint, request, started + seconds, load) for _ in range(connections)))
    load.seconds = time.perf_counter() - started
    return load


async def _one_loop(endpoint: Endpoint, request: bytes, until: float, load: Load) -> None:
    connection = await Connection.open(endpoint.port)
    while (begun := time.perf_counter()) < until:
        if connection.is_closed:
            connection = await Connection.open(endpoint.port)
        if await connection.exchange(request):
            load.requests += 1
            load.latencies.append(time.perf_counter() - begun)
        else:
            load.errors += 1
    connection.close()


async def stream_loop(endpoint: Endpoint, body: bytes, *, parallel: int, seconds: float, chunks: int) -> Streams:
    """Keeps `parallel` streams going, begins none after `seconds`; one with too few `chunks` is an error."""
    result = Streams()
    request = endpoint.request(body)
    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(*(_streams(endpoint, request, until, chunks, result) for _ in range(parallel)))
    result.seconds = time.perf_counter() - started
    return result


async def _streams(endpoint: Endpoint, request: bytes, until: float, chunks: int, result: Streams) -> None:
    connection = await Connection.open(endpoint.port)
    while (begun := time.perf_counter()) < until:
        if connection.is_closed:
            connection = await Connection.open(endpoint.port)
        is_whole = await connection.exchange(request) and connection.chunks >= chunks
        result.streams += 1
        result.chunks += connection.chunks
        result.errors += not is_whole
        if connection.first_event is not None:
            result.first_chunks.append(connection.first_event - begun)
    connection.close()


async def open_streams(endpoint: Endpoint, body: bytes, *, count: int, batch: int = 100) -> list[Connection]:
    """Opens `count` streams and returns those whose first chunk has come; the caller closes them."""
    request = endpoint.request(body)
    opened: list[Connection] = []
    for start in range(0, count, batch):
        fresh = await asyncio.gather(*(_open_stream(endpoint, request) for _ in range(min(batch, count - start))))
        whole = [connection for connection in fresh if connection is not None]
        opened += whole
        if not whole:
            break  # nothing gets through any more; waiting for the rest would take minutes
    return opened


async def _open_stream(endpoint: Endpoint, request: bytes) -> Connection | None:
    try:
        connection = await Connection.open(endpoint.port)
        connection.send(request)
    except OSError:
        return None
    if await connection.first():
        return connection
    connection.close()
    return None
