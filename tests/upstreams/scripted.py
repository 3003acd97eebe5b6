"""An upstream on a real loopback socket that does exactly what a test tells it, byte by byte.

    async with ScriptedUpstream([json_response({"ok": True}), raw(RESET)]) as upstream:
        ...  # send requests to upstream.url
    assert upstream.requests[0].path == "/v1/chat/completions"

A script is either a sequence of answers, one per request in the order of arrival (the last one repeats), or a
function from the recorded request to an answer. An answer is a row of steps:

    bytes           written as one packet, then waited for until the kernel has taken them
    float           a pause in seconds
    asyncio.Event   wait until a test sets it
    STALL           wait until the peer closes (or the test ends)
    FIN             close properly
    RESET           close with RST

After the last step the connection stays open for the next request. What a script raises is raised again at
the end of the `async with` block.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self, cast

from tests.upstreams.received import Request, take_request


class End(Enum):
    """A step that is not data."""

    STALL = "stall"
    FIN = "fin"
    RESET = "reset"


STALL, FIN, RESET = End.STALL, End.FIN, End.RESET
Step = bytes | float | asyncio.Event | End
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What happens on the connection after one request; `steps` may be a generator, endless if need be."""

    steps: Iterable[Step]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came; header names in lower case, times from `time.monotonic()`."""

    number: int
    """Counts all requests of the upstream from 0."""
    connection: int
    """Counts connections from 0."""
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    def json(self) -> object:
        """Returns the body, decoded."""
        return json.loads(self.body)


Script = Sequence[Answer] | Callable[[Recorded], Answer]


@dataclass(slots=True)
class Peer:
    """One connection, seen from the upstream."""

    number: int
    opened_at: float
    closed_at: float | None = None
    """When the upstream noticed the end, `time.monotonic()`."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    sent_bytes: int = 0
    """Bytes that the kernel has taken."""


def raw(*steps: Step) -> Answer:
    """Returns an answer of exactly these steps."""
    return Answer(steps)


def response(
    status: int = 200,
    headers: Headers = (),
    body: bytes = b"",
    *,
    reason: str = "Status",
    length: bool = True,
) -> bytes:
    """Returns the bytes of one response, with a content-length unless `length` is False."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Returns an answer with a JSON body."""
    head = (("content-type", "application/json"), *headers)
    return raw(response(status, head, json.dumps(value).encode()))


def sse_response(
    events: Iterable[object],
    *,
    done: bool = True,
    chunked: bool = True,
    gap_seconds: float = 0.0,
    end: Sequence[Step] | None = None,
) -> Answer:
    """Returns a stream of server-sent events, `gap_seconds` apart.

    An event is sent as it is (bytes), as `data: ...` (str), or as `data: ` and JSON (anything else). Without
    `chunked` the body ends with the connection. `end` replaces the proper end of the body, for cut streams.
    """
    head = response(
        200,
        [("content-type", "text/event-stream"), *([("transfer-encoding", "chunked")] if chunked else [])],
        length=False,
    )
    frames = [_frame(event) for event in [*events, *(["[DONE]"] if done else [])]]
    steps: list[Step] = [head]
    for frame in frames:
        steps.append(chunk(frame) if chunked else frame)
        if gap_seconds:
            steps.append(gap_seconds)
    steps.extend(([b"0\r\n\r\n"] if chunked else [FIN]) if end is None else end)
    return Answer(steps)


def chunk(data: bytes) -> bytes:
    """Returns `data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ScriptedUpstream:
    """The server; use it as an async context manager.

    `on_connect` is played on each connection before any request; `reads=False` accepts and never reads.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        ssl_context: ssl.SSLContext | None = None,
        on_connect: Answer | None = None,
        reads: bool = True,
    ) -> None:
        self.requests: list[Recorded] = []
        self.connections: list[Peer] = []
        self.port = 0
        self._script = script
        self._ssl_context = ssl_context
        self._on_connect = on_connect
        self._reads = reads
        self._lines: set[_Line] = set()
        self._arrival = asyncio.Event()
        self._errors: list[BaseException] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Scheme, address and port, without a trailing slash."""
        return f"{'https' if self._ssl_context else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections have not ended."""
        return sum(peer.closed_at is None for peer in self.connections)

    async def wait_for_requests(self, count: int, within: float = 10.0) -> None:
        """Returns when `count` requests have come in all; raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(self.requests) < count:
                self._arrival.clear()
                await self._arrival.wait()

    async def wait_for_connections(self, count: int, within: float = 10.0) -> None:
        """Returns when `count` connections have been accepted in all; raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(self.connections) < count:
                self._arrival.clear()
                await self._arrival.wait()

    async def wait_closed(self, connection: int, within: float = 10.0) -> float:
        """Returns when the upstream noticed a connection's end (`time.monotonic()`); raises TimeoutError."""
        peer = self.connections[connection]
        async with asyncio.timeout(within):
            await peer.closed.wait()
        assert peer.closed_at is not None
        return peer.closed_at

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, "127.0.0.1", 0, ssl=self._ssl_context, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for _ in range(10):  # what was accepted before that may begin only in one of the next turns
            lines = list(self._lines)
            for line in lines:
                line.stop()
            await asyncio.gather(*(line.task for line in lines if line.task), return_exceptions=True)
            await asyncio.sleep(0)
        if self._errors and error is None:
            raise self._errors[0]

    def _connect(self) -> _Line:
        peer = Peer(len(self.connections), time.monotonic())
        self.connections.append(peer)
        self._arrival.set()
        return _Line(self, peer, on_connect=self._on_connect, reads=self._reads)

    # What a line calls.

    def joined(self, line: _Line) -> None:
        self._lines.add(line)

    def left(self, line: _Line) -> None:
        self._lines.discard(line)

    def failed(self, error: BaseException) -> None:
        self._errors.append(error)

    def answer(self, request: Request, peer: Peer) -> Answer:
        recorded = Recorded(
            len(self.requests),
            peer.number,
            request.method,
            request.path,
            request.headers,
            request.body,
            time.monotonic(),
        )
        self.requests.append(recorded)
        self._arrival.set()
        if callable(self._script):
            return self._script(recorded)
        if not self._script:
            raise AssertionError("a request came, but the script is empty")
        return self._script[min(recorded.number, len(self._script) - 1)]


class _Line(asyncio.Protocol):
    """Plays the script on one connection."""

    def __init__(self, upstream: ScriptedUpstream, peer: Peer, *, on_connect: Answer | None, reads: bool) -> None:
        self.task: asyncio.Task[None] | None = None
        self._upstream = upstream
        self._peer = peer
        self._on_connect = on_connect
        self._reads = reads
        self._received = bytearray()
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Not 0, with which TLS pauses a writer that has nothing left to write, and never wakes it.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._upstream.joined(self)
        if not self._reads:
            # uvloop begins to read after this call, whatever is said here.
            asyncio.get_running_loop().call_soon(self._transport.pause_reading)
        self.task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._news.set()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer.closed_at = time.monotonic()
        self._peer.closed.set()
        self._drained.set()
        self._upstream.left(self)
        if self.task is not None:
            self.task.cancel()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _run(self) -> None:
        try:
            if self._on_connect is not None:
                await self._play(self._on_connect)
            while not self._peer.closed.is_set():
                await self._play(self._upstream.answer(await self._next_request(), self._peer))
        except Exception as error:
            self._upstream.failed(error)
            self.stop()

    async def _next_request(self) -> Request:
        while (request := take_request(self._received)) is None:
            self._news.clear()
            await self._news.wait()
        return request

    async def _play(self, answer: Answer) -> None:
        assert self._transport is not None
        for step in answer.steps:
            if isinstance(step, bytes):
                await self._write(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, End):
                await self._end(step)
            else:
                await asyncio.sleep(step)

    async def _write(self, data: bytes) -> None:
        """Returns when the kernel has taken `data`; on a dead connection waits for the cancellation."""
        assert self._transport is not None
        self._transport.write(data)
        await self._drained.wait()
        if self._transport.is_closing():
            # There is nothing to drain after a failed write, and the loop tells of the end only once this yields.
            await asyncio.get_running_loop().create_future()
        self._peer.sent_bytes += len(data)
        # A peer in another process may read as fast as this writes, which would then never yield either.
        await asyncio.sleep(0)

    async def _end(self, end: End) -> None:
        assert self._transport is not None
        if end is FIN:
            self._transport.close()
        elif end is RESET:
            raw_socket = self._transport.get_extra_info("socket")
            raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        await self._peer.closed.wait()


def _frame(event: object) -> bytes:
    if isinstance(event, bytes):
        return event
    data = event if isinstance(event, str) else json.dumps(event)
    return f"data: {data}\n\n".encode()
