"""A client on a raw socket that believes nothing: it parses what the gateway sends, strictly, and says what it was."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

KEYS = {"message", "type", "param", "code"}
DONE = b"data: [DONE]\n\n"


class NotHttp(AssertionError):
    """The gateway sent something that is not a well-formed answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, whose form is checked."""
        assert self.headers["content-type"] == "application/json"
        return checked_error(self.json)

    @property
    def events(self) -> list[bytes]:
        """The data of every event of a stream, `[DONE]` too; anything else but comments is refused."""
        assert self.headers["content-type"] == "text/event-stream; charset=utf-8"
        return events_in(self.body)

    @property
    def event_error(self) -> dict[str, Any] | None:
        """The error object of a broken stream, which must be its last event and its only one; None for a clean one."""
        events = self.events
        broken = [event for event in events if event != b"[DONE]" and "error" in json.loads(event)]
        if not broken:
            assert events[-1] == b"[DONE]", f"silent end: {self.body[-300:]!r}"
            assert events.count(b"[DONE]") == 1
            return None
        assert len(broken) == 1
        assert events[-1] == broken[0]
        assert b"[DONE]" not in events
        return checked_error(json.loads(broken[0]))

    @property
    def text(self) -> str:
        """What a stream's deltas say, put together."""
        chunks = [json.loads(event) for event in self.events if event != b"[DONE]"]
        deltas = [choice.get("delta", {}) for chunk in chunks for choice in chunk.get("choices", [])]
        return "".join(delta.get("content") or "" for delta in deltas)


def checked_error(value: Any) -> dict[str, Any]:
    """Returns the error object; asserts OpenAI's form."""
    error = value["error"]
    assert set(error) - {"details"} == KEYS
    if "details" in error:
        assert set(error["details"]) == {"attempts"}
        assert error["details"]["attempts"]
        for attempt in error["details"]["attempts"]:
            assert {"deployment", "kind"} <= set(attempt) <= {"deployment", "kind", "status"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


def events_in(body: bytes) -> list[bytes]:
    """Returns the data of every event."""
    assert not body or body.endswith(b"\n\n"), f"an event is cut: {body[-200:]!r}"
    found: list[bytes] = []
    for block in body.split(b"\n\n")[:-1]:
        if block.startswith(b":"):
            continue
        lines = block.split(b"\n")
        assert all(line.startswith(b"data:") for line in lines), block[:200]
        found.append(b"\n".join(line[5:].removeprefix(b" ") for line in lines))
    return found


def one_answer(raw: bytes) -> Answer:
    """Returns the only response in `raw`; raises NotHttp if it is cut or something follows it."""
    answer, rest = split_answer(raw)
    if rest:
        raise NotHttp(f"more than one answer: {rest[:200]!r}")
    return answer


def split_answer(raw: bytes) -> tuple[Answer, bytes]:
    """Returns the first response (interim ones are skipped) and what follows it; raises NotHttp."""
    head, separator, rest = raw.partition(b"\r\n\r\n")
    if not separator:
        raise NotHttp(f"no response head: {raw[:200]!r}")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    if status < 200:
        return split_answer(rest)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() in headers:
            raise NotHttp(f"the header {name} came twice")
        headers[name.lower()] = value.strip()
    body, rest = _body(headers, rest)
    return Answer(status, headers, body), rest


def _body(headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    if headers.get("transfer-encoding") == "chunked":
        return _dechunk(rest)
    length = int(headers["content-length"])
    if len(rest) < length:
        raise NotHttp("the body is shorter than content-length")
    return rest[:length], rest[length:]


def _dechunk(rest: bytes) -> tuple[bytes, bytes]:
    body = bytearray()
    at = 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            raise NotHttp(f"a chunked body is cut: {bytes(body[-300:])!r}")
        size = int(rest[at:end], 16)
        start = end + 2
        if len(rest) < start + size + 2:
            raise NotHttp(f"a chunk is cut: {bytes(body[-300:])!r}")
        body += rest[start : start + size]
        at = start + size + 2
        if not size:
            return bytes(body), rest[at:]


def request_bytes(
    body: object,
    *,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    close: bool = True,
) -> bytes:
    """Returns a whole request; `body` is sent as it is if it is bytes, else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    merged = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(data))}
    if close:
        merged["connection"] = "close"
    merged |= headers or {}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in merged.items() if value != "-")]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


async def talk(port: int, data: bytes, *, within: float = 30.0, half_close: bool = False) -> bytes:
    """Sends `data`, returns everything until the gateway closes; raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within):
            writer.write(data)
            if half_close:
                writer.write_eof()
            return await reader.read(-1)
    finally:
        writer.transport.abort()


def connected(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """Returns a connected non-blocking socket."""
    one = socket.socket()
    if receive_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.settimeout(15)
    one.connect(("127.0.0.1", port))
    one.setblocking(False)
    return one


def reset(one: socket.socket) -> None:
    """Closes with RST."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
