"""The raw upstream in a process of its own: `python -m bench.upstream PORT`. Streams, and plain answers too."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

from bench.bodies import (
    StreamOrder,
    answer_body,
    chunk_frame,
    end_frames,
    messages_answer,
    messages_end,
    messages_frame,
    read_order,
)

_JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MAX_CHUNKS = 1_000


class Frames:
    """Everything that is ever sent in one protocol, made before the first request."""

    def __init__(self, answer: bytes, chunk: Callable[[int], bytes], plain_end: bytes, usage_end: bytes) -> None:
        self.answer = _JSON_HEAD % len(answer) + answer
        self.chunks = [_http_chunk(chunk(number)) for number in range(_MAX_CHUNKS)]
        self.plain_end = _http_chunk(plain_end) + b"0\r\n\r\n"
        self.usage_end = _http_chunk(usage_end) + b"0\r\n\r\n"


def openai_frames() -> Frames:
    """Returns what OpenAI's protocol sends."""
    return Frames(answer_body(), chunk_frame, end_frames(usage=False), end_frames(usage=True))


def messages_frames() -> Frames:
    """Returns what Anthropic's protocol sends."""
    return Frames(messages_answer(), messages_frame, messages_end(), messages_end())


class Upstream(asyncio.Protocol):
    """One connection; requests one after another, bodies with a content-length or in chunks."""

    def __init__(self, openai: Frames, messages: Frames) -> None:
        self._openai = openai
        self._messages = messages
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
            target, body = request
            self._answer(body, self._messages if target.endswith(b"/messages") else self._openai)

    def _answer(self, body: bytes, frames: Frames) -> None:
        order = read_order(body)
        if order is None:
            self._write(frames.answer)
            return
        end = frames.usage_end if b'"include_usage"' in body else frames.plain_end
        if order.every_ms == 0 and not order.hold:
            self._write(b"".join([_STREAM_HEAD, *frames.chunks[: order.chunks], end]))
            return
        self._write(_STREAM_HEAD + frames.chunks[0])
        pieces = [*frames.chunks[1 : order.chunks], *([] if order.hold else [end])]
        self._next(order, pieces, asyncio.get_running_loop().time())

    def _next(self, order: StreamOrder, pieces: list[bytes], due: float) -> None:
        """Sends the first of `pieces` one period after `due`: a fixed beat, whatever the loop's own delays."""
        if not pieces:
            return
        due += order.every_ms / 1000
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(due, self._beat, order, pieces, due)

    def _beat(self, order: StreamOrder, pieces: list[bytes], due: float) -> None:
        self._write(pieces[0])
        self._next(order, pieces[1:], due)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def take_request(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Removes one whole request from `buffer` and returns its path and body, None if it has not all arrived."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    start = head_end + 4
    head = bytes(buffer[:head_end]).lower()
    target = head.split(b" ", 2)[1]
    if b"transfer-encoding: chunked" in head:
        chunked = _take_chunked(buffer, start)
        return None if chunked is None else (target, chunked)
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if len(buffer) < start + length:
        return None
    body = bytes(buffer[start : start + length])
    del buffer[: start + length]
    return target, body


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
    openai, messages = openai_frames(), messages_frames()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(openai, messages), "127.0.0.1", port, backlog=4096)
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
