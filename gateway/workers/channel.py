"""What parent and worker tell each other, over a pair of connected sockets: questions and answers, in any order."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final

from msgspec import Struct, msgpack

MAX_BYTES: Final = 64 * 1024 * 1024
_LENGTH_BYTES: Final = 4
_log = logging.getLogger("anyport")
Answer = Callable[[bytes], Awaitable[bytes]]


class ChannelClosed(Exception):
    """The other side is gone."""


class Message(Struct, array_like=True):
    """One question or answer."""

    number: int
    subject: str
    """What is asked; "" in an answer."""
    body: bytes


class ReloadOrder(Struct):
    """That a worker reads this text as its configuration; None if there is no file."""

    why: str
    data: bytes | None
    is_quiet: bool = False
    """Another worker has said in the log already what there is to say."""


class Inheritance(Struct):
    """What a worker is given by its parent at the start, besides the command line: open files by their numbers."""

    number: int
    """From 1; a worker that takes the place of another one has its number."""
    channel: int
    sockets: list[int]
    admin: list[int]
    announces: bool
    """Whether this one says what is served."""


class Channel:
    """One side. Questions of the other side are answered by `answers`, by subject."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers
        self._writer: asyncio.StreamWriter | None = None
        self._has_begun = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, one: socket.socket) -> None:
        """Reads until the other side is gone."""
        reader, self._writer = await asyncio.open_connection(sock=one, limit=MAX_BYTES)
        self._has_begun.set()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
                self._hear(msgpack.decode(await reader.readexactly(length), type=Message))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._writer.close()
            self._writer = None
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChannelClosed())
            for task in self._tasks:
                task.cancel()

    async def ask(self, subject: str, body: bytes = b"", *, seconds: float) -> bytes:
        """Returns the answer; raises ChannelClosed, and TimeoutError after `seconds`."""
        number = next(self._numbers)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(seconds):
                await self._has_begun.wait()
                self._send(Message(number, subject, body))
                return await future
        finally:
            del self._waiting[number]

    def _hear(self, message: Message) -> None:
        if not message.subject:
            future = self._waiting.get(message.number)
            if future is not None and not future.done():
                future.set_result(message.body)
            return
        task = asyncio.get_running_loop().create_task(self._reply(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, message: Message) -> None:
        try:
            body = await self._answers[message.subject](message.body)
            self._send(Message(message.number, "", body))
        except ChannelClosed:
            return
        except Exception:
            _log.exception("a question of another process (%s) was not answered", message.subject)

    def _send(self, message: Message) -> None:
        if self._writer is None:
            raise ChannelClosed
        self._writer.write(framed(message))


def framed(message: Message) -> bytes:
    """Returns a message with its length in front."""
    data = msgpack.encode(message)
    return len(data).to_bytes(_LENGTH_BYTES) + data


def read_order(one: socket.socket) -> ReloadOrder:
    """Waits for the first message of a parent, before there is an event loop; raises OSError if it is gone."""
    length = int.from_bytes(_exactly(one, _LENGTH_BYTES))
    return msgpack.decode(msgpack.decode(_exactly(one, length), type=Message).body, type=ReloadOrder)


def _exactly(one: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = one.recv(size - len(data))
        if not piece:
            raise OSError("the parent process is gone")
        data += piece
    return bytes(data)
