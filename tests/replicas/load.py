"""Clients that ask again and again, each on a connection of its own, and note to the last byte what they were answered.

They try nothing twice: what they were not answered, they were not answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.replicas.truth import MAX_TOKENS, canary, question

PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Reply:
    """What came of one request."""

    number: int
    key: str
    status: int = 0
    """0 if not even a head came."""
    body: bytes = b""
    is_whole: bool = False
    """Whether the last byte came."""
    seconds: float = 0.0
    trouble: str = ""
    """How the connection ended, if it did."""

    @property
    def is_answered(self) -> bool:
        """Whether it was served, to the last byte."""
        return self.status == 200 and self.is_whole

    @property
    def is_done(self) -> bool:
        """Whether the client has what it wanted: many read no further than the end of the events."""
        return self.is_answered or (self.status == 200 and b"data: [DONE]" in self.body)

    @property
    def is_own(self) -> bool:
        """Whether the answer is that of this very request."""
        return self.body.count(b"canary-") == 1 and canary(self.number).encode() in self.body

    @property
    def code(self) -> str:
        """Of a refusal: its code."""
        return json.loads(self.body)["error"]["code"]


def body_of(number: int, *, model: str = "main", stream: bool = False, **more: Any) -> bytes:
    """Returns a request."""
    messages = [{"role": "user", "content": question(number)}]
    body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "stream": stream, **more}
    return json.dumps(body).encode()


class Client:
    """One connection, opened when it is wanted and kept; one request at a time."""

    def __init__(self, port: int, key: str = "") -> None:
        self.port = port
        self.key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, number: int, *, model: str = "main", stream: bool = False, **more: Any) -> Reply:
        """Asks once, never again."""
        reply = Reply(number, self.key)
        body = body_of(number, model=model, stream=stream, **more)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._exchange(body, reply)
        except (OSError, EOFError, TimeoutError) as error:
            reply.trouble = f"{type(error).__name__}: {error}"
            self.close()
        reply.seconds = time.monotonic() - began
        return reply

    def close(self) -> None:
        """Drops the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, body: bytes, reply: Reply) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"x-request-id: n%d\r\n%bcontent-length: %d\r\n\r\n%b"
            % (reply.number, b"authorization: Bearer %b\r\n" % self.key.encode() if self.key else b"", len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        reply.status = int(head.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in head:
            await _read_chunks(reader, reply)
        else:
            size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            reply.body = await reader.readexactly(size)
        reply.is_whole = True
        if b"connection: close" in head:
            self.close()


async def _read_chunks(reader: asyncio.StreamReader, reply: Reply) -> None:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        reply.body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


class Load:
    """Some clients, with one key after the other, until they are told to stop."""

    def __init__(
        self,
        port: Callable[[], int],
        *,
        clients: int = 8,
        keys: Sequence[str] = ("",),
        numbers: Iterator[int] | None = None,
    ) -> None:
        """`numbers` are those of requests: no two may have the same."""
        self.replies: list[Reply] = []
        self._port = port
        self._clients = clients
        self._keys = keys
        self._numbers = numbers or count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    @property
    def answered(self) -> list[Reply]:
        """Those that were served."""
        return [reply for reply in self.replies if reply.is_answered]

    def start(self) -> None:
        """Begins to ask."""
        self._is_over = False
        self._tasks = [asyncio.create_task(self._run(place)) for place in range(self._clients)]

    async def stop(self) -> None:
        """Returns when all that was asked has its end."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def last(self, seconds: float) -> list[Reply]:
        """Goes on for so long, and returns what came of what ended in that time."""
        before = len(self.replies)
        await asyncio.sleep(seconds)
        return self.replies[before:]

    def draw(self) -> int:
        """Returns a number that no other request has."""
        return next(self._numbers)

    async def _run(self, place: int) -> None:
        client = Client(self._port(), self._keys[place % len(self._keys)])
        with contextlib.closing(client):
            for model, stream in _kinds(place):
                if self._is_over:
                    return
                reply = await client.ask(self.draw(), model=model, stream=stream)
                self.replies.append(reply)
                if reply.trouble:
                    # Whoever was cut off would spin.
                    client.port = self._port()
                    await asyncio.sleep(0.02)


def _kinds(place: int) -> Iterator[tuple[str, bool]]:
    """Yields what is asked for: plain and failing over, in one piece and as a stream."""
    for turn in count(place):
        yield ("main", "failing")[turn // 2 % 2], bool(turn % 2)


async def at_once(ports: Sequence[int], key: str, numbers: Sequence[int], over_seconds: float = 0.0) -> list[Reply]:
    """Sends a request for each number, on a connection of its own, to one port after the other, spread over a time."""

    async def ask(port: int, number: int, after_seconds: float) -> Reply:
        await asyncio.sleep(after_seconds)
        with contextlib.closing(Client(port, key)) as client:
            return await client.ask(number)

    pause = over_seconds / len(numbers)
    return await asyncio.gather(
        *(ask(ports[place % len(ports)], number, place * pause) for place, number in enumerate(numbers))
    )


def dollars(nano_usd: int) -> str:
    """Returns an amount as the admin API takes it."""
    return f"{nano_usd / 10**9:.9f}"


def passed(replies: Sequence[Reply]) -> list[Reply]:
    """Returns those that were served, once it is sure that the others were refused, and none failed."""
    assert [reply.trouble for reply in replies if reply.trouble] == []
    assert {reply.status for reply in replies} <= {200, 429}, Counter(reply.status for reply in replies)
    return [reply for reply in replies if reply.is_answered]
