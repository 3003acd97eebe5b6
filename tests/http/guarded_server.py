"""A real server with GuardProtocol in a thread, a tiny application behind it, and raw-socket clients."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop

from gateway.http.guard.protocol import GuardLimits, guarded
from gateway.http.server import bind

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
SLACK_SECONDS = 10.0
"""What a busy machine may add to a deadline before a test calls it missed."""


class EchoApp:
    """Echoes a request as JSON and keeps a record of everything that reached it."""

    def __init__(self) -> None:
        self.dispatched: list[str] = []
        self.answered: list[str] = []
        self.gone: dict[str, float] = {}
        """Query string -> time at which the watcher was called."""
        self.disconnects: list[str] = []
        self.sent_bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        self.dispatched.append(path)
        handler = getattr(self, "on_" + path.strip("/").replace("-", "_"), self.on_echo)
        await handler(scope, receive, send)

    async def read(self, receive: Any) -> bytes | None:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message["body"])
            if not message["more_body"]:
                return b"".join(parts)

    async def answer(self, send: Any, body: bytes, status: int = 200, headers: Any = ()) -> None:
        lines = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    async def on_echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = await self.read(receive)
        if body is None:
            self.disconnects.append(scope["path"])
            return
        self.answered.append(scope["path"])
        said = {
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "client": scope["client"][0],
            "scheme": scope["scheme"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "body": body.decode("latin-1"),
        }
        await self.answer(send, json.dumps(said).encode())

    async def on_slow(self, scope: Any, receive: Any, send: Any) -> None:
        """Waits for the client to go, or as many seconds as the query says; then answers."""
        await self.read(receive)
        key = scope["query_string"].decode()
        if await self._watched(scope, float(key.partition("&")[0])):
            return
        self.answered.append(scope["path"])
        await self.answer(send, b'{"slow":true}')

    async def on_stream(self, scope: Any, receive: Any, send: Any) -> None:
        """Sends one event, is silent for as many seconds as the query says, sends the end."""
        await self.read(receive)
        key = scope["query_string"].decode()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        if await self._watched(scope, float(key.partition("&")[0])):
            return
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
        self.answered.append(scope["path"])

    async def _watched(self, scope: Any, seconds: float) -> bool:
        gone = asyncio.Event()
        connection = scope["anyport.connection"]

        def note() -> None:
            self.gone[scope["query_string"].decode()] = time.monotonic()
            gone.set()

        connection.watch(note)
        try:
            await asyncio.wait_for(gone.wait(), seconds)
        except TimeoutError:
            connection.unwatch()
            return False
        assert connection.is_gone
        return True

    async def on_early(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuses without reading the body, as a wrong key does."""
        await self.answer(send, b'{"error":{"code":"invalid_api_key"}}', 401)

    async def on_unread(self, scope: Any, receive: Any, send: Any) -> None:
        """Never looks at the body while it waits for the client to go."""
        await self._watched(scope, 5)

    async def on_boom(self, scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a bug")

    async def on_half_boom(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ValueError("a bug")

    async def on_odd_headers(self, scope: Any, receive: Any, send: Any) -> None:
        odd = [(b"x-odd", b"a\r\nx-evil: 1\x00\x07b"), (b"bad name", b"1"), (b"x-fine", b"yes")]
        await self.answer(send, b"{}", headers=odd)

    async def on_big(self, scope: Any, receive: Any, send: Any) -> None:
        """Sends pieces of 64 KiB as fast as the client takes them."""
        headers = [(b"content-type", b"application/octet-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        connection = scope["anyport.connection"]
        connection.watch(lambda: self.gone.setdefault("big", time.monotonic()))
        while not connection.is_gone and self.sent_bytes < 200_000_000:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent_bytes += 65536
            await asyncio.sleep(0)

    async def on_whole(self, scope: Any, receive: Any, send: Any) -> None:
        await self.answer(send, b"y" * 5_000_000)


@dataclass
class Running:
    """A server that is up."""

    port: int
    app: EchoApp
    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop

    def connections(self) -> list[Any]:
        return list(self.server.server_state.connections)


@contextmanager
def serving(limits: GuardLimits | None = None, loop: str = "uvloop") -> Iterator[Running]:
    """Runs the server until the block ends."""
    app = EchoApp()
    (listener,) = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        http=guarded(limits or GuardLimits()),
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    own_loop = LOOPS[loop]()

    def run() -> None:
        own_loop.run_until_complete(server.serve(sockets=[listener]))
        own_loop.close()

    thread = threading.Thread(target=run)
    port = listener.getsockname()[1]
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Running(port, app, server, own_loop)
    finally:
        for connection in list(server.server_state.connections):
            own_loop.call_soon_threadsafe(connection.abort)
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@dataclass
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        return error

    @property
    def code(self) -> str | None:
        """The code of the error, None for what is none."""
        return self.error["code"] if "error" in self.json else None


@dataclass
class Said:
    """Everything that came back on one connection."""

    answers: list[Answer] = field(default_factory=list)
    is_closed: bool = False
    raw: bytes = b""


def parse_answers(raw: bytes, *, is_closed: bool = False) -> list[Answer]:
    """Splits a byte stream into responses; 1xx are left out, an incomplete last one too unless `is_closed`."""
    answers: list[Answer] = []
    while b"\r\n\r\n" in raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        if status < 200:
            raw = rest
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body, rest, is_whole = _dechunk(rest)
        else:
            length = int(headers.get("content-length", len(rest)))
            body, rest, is_whole = rest[:length], rest[length:], len(rest) >= length
        if is_whole or is_closed:
            answers.append(Answer(status, headers, body))
        raw = rest
    return answers


def _dechunk(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            return body, rest, True
    return body, rest, False


async def talk(port: int, *pieces: bytes, pause: float = 0.004, wait: float = 15.0, until: int = 0) -> Said:
    """Sends the pieces in packets of their own; reads until the server closes, or until `until` answers came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = Said()
    try:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(pause)
            writer.write(piece)
        async with asyncio.timeout(wait):
            while True:
                data = await reader.read(262144)
                said.raw += data
                if not data:
                    said.is_closed = True
                    break
                if until and len(parse_answers(said.raw)) >= until:
                    break
    except TimeoutError:
        pass
    except ConnectionError:
        said.is_closed = True
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
    said.answers = parse_answers(said.raw, is_closed=said.is_closed)
    return said


def talk_in_halves(port: int, message: bytes, cuts: list[int], *, width: int = 100) -> list[Said]:
    """Talks once per cut, in a fresh connection each; the second half is sent when the first has been read."""
    said: list[Said] = []
    for start in range(0, len(cuts), width):
        batch = [(raw_socket(port), cut) for cut in cuts[start : start + width]]
        for one, cut in batch:
            one.sendall(message[:cut])
        time.sleep(0.015)
        for one, cut in batch:
            with suppress(ConnectionError):
                one.sendall(message[cut:])
        said += [read_all(one) for one, _ in batch]
    return said


def read_all(one: socket.socket, received: bytes = b"") -> Said:
    """Reads what follows `received` until the server closes, and closes too."""
    said = Said(raw=received)
    with one:
        while not said.is_closed:
            try:
                data = one.recv(65536)
            except ConnectionError:
                data = b""
            except TimeoutError:
                break
            said.raw += data
            said.is_closed = not data
    said.answers = parse_answers(said.raw, is_closed=said.is_closed)
    return said


def raw_socket(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """Returns a connected blocking socket."""
    one = socket.socket()
    if receive_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.settimeout(15)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        one.connect(("127.0.0.1", port))
    except OSError:
        one.close()
        raise
    return one


def until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Waits until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
