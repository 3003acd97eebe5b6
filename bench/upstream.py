"""The raw upstream in a process of its own: `python -m bench.upstream PORT`. Streams, and plain answers too."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from bench.bodies import StreamOrder, answer_body, chunk_frame, end_frames, read_order

_JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MAX_CHUNKS = 1_000


class Frames:
    """Everything that is ever sent, made before the first request."""

    def __init__(self) -> None:
        answer = answer_body()
        self.answer = _JSON_HEAD % len(answer) + answer
        self.chunks = [_http_chunk(chunk_frame(number)) for number in range(_MAX_CHUNKS)]
        self.plain_end = _http_chunk(end_frames(usage=False)) + b"0\r\n\r\n"
        self.usage_end = _http_chunk(end_frames(usage=True)) + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection; requests one after another, bodies with a content-length or in chunks."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := take_request(self._buffer)) is not None:
            self._answer(request)

    def _answer(self, body: bytes) -> None:
        order = read_order(body)
        if order is None:
            self._write(self._frames.answer)
            return
        end = self._frames.usage_end if b'"include_usage"' in body else self._frames.plain_end
        if order.every_ms == 0 and not order.hold:
            self._write(b"".join([_STREAM_HEAD, *self._frames.chunks[: order.chunks], end]))
            return
        self._write(_STREAM_HEAD + self._frames.chunks[0])
        self._next(order, 1, end, asyncio.get_running_loop().time())

    def _next(self, order: StreamOrder, number: int, end: bytes, due: float) -> None:
        """Sends chunk `number` one period after `due`: a fixed beat, whatever the loop's own delays."""
        if number >= order.chunks and order.hold:
            return
        due += order.every_ms / 1000
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(due, self._beat, order, number, end, due)

    def _beat(self, order: StreamOrder, number: int, end: bytes, due: float) -> None:
        if number >= order.chunks:
            self._write(end)
            return
        self._write(self._frames.chunks[number])
        self._next(order, number + 1, end, due)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def take_request(buffer: bytearray) -> bytes | None:
    """Removes one whole request from `buffer` and returns its body, None if it has not all arrived."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    start = head_end + 4
    head = bytes(buffer[:head_end]).lower()
    if b"transfer-encoding: chunked" in head:
        return _take_chunked(buffer, start)
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if len(buffer) < start + length:
        return None
    body = bytes(buffer[start : start + length])
    del buffer[: start + length]
    return body


def _take_chunked(buffer: bytearray, start: int) -> bytes | None:
    body = b""
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(buffer[start:line_end], 16)
        end = line_end + 2 + size + 2
        if len(buffer) < end:
            return None
        body += buffer[line_end + 2 : end - 2]
        start = end
        if size == 0:
            del buffer[:end]
            return body


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(port: int) -> None:
    """Serves on loopback until it is ended."""
    frames = Frames()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(frames), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Runs on uvloop where it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
