"""A client that hides nothing: one keep-alive connection, whole responses as bytes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is whole as HTTP frames it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection to a gateway; an async context manager. Requests go one after the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def post(self, path: str, body: object) -> Response:
        """Sends a JSON body and returns the response; raises TimeoutError, or EOFError for a response cut short."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**24)
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        self._writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        assert self._reader is not None
        async with asyncio.timeout(SECONDS):
            response = await _read(self._reader)
        if response.headers.get("connection") == "close":
            await self._close()
        return response

    async def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()
        self._reader = self._writer = None


async def _read(reader: asyncio.StreamReader) -> Response:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, Any] = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    if headers.get("transfer-encoding") != "chunked":
        body = await reader.readexactly(int(headers["content-length"]))
        return Response(int(first.split()[1]), headers, body)
    pieces: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return Response(int(first.split()[1]), headers, b"".join(pieces))
