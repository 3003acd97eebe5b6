"""Calls that belong to no client's request: discovery and probes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from adapters.types import Headers, HttpRequest
from gateway.transport.base import Fault, Timeouts, TransportError

if TYPE_CHECKING:
    from gateway.transport.builtin import BuiltinTransport

MAX_CONTROL_BYTES: Final = 4 * 1024 * 1024
"""Cap of one reply's body, counted after decompression."""

_NO_PHASES: Final = Timeouts(connect=inf, pool=inf, head=inf, idle=inf)
"""The whole call has one deadline, and no setting of `upstream` is about it."""


@dataclass(frozen=True, slots=True)
class ControlReply:
    """A whole answer, whatever its status; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ControlClient:
    """Asks upstreams about themselves; redirects are answers, not followed."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._transport: BuiltinTransport | None = None

    async def get(self, url: str, *, headers: Headers = (), timeout_seconds: float) -> ControlReply:
        """Returns the answer to one GET; raises TransportError, TIMEOUT after `timeout_seconds` in all."""
        return await self.send(HttpRequest("GET", url, headers), timeout_seconds=timeout_seconds)

    async def send(self, request: HttpRequest, *, timeout_seconds: float) -> ControlReply:
        """Returns the answer to one request; raises TransportError, TIMEOUT after `timeout_seconds` in all."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._send(request)
        except TimeoutError:
            raise TransportError(Fault.TIMEOUT, f"no whole answer within {timeout_seconds:g} s") from None

    async def aclose(self) -> None:
        """Closes every connection."""
        if self._transport is not None:
            await self._transport.aclose()

    async def _send(self, request: HttpRequest) -> ControlReply:
        try:
            response = await self._open().send(request, _NO_PHASES)
        except TransportError as error:
            if not error.replayable:
                raise
            response = await self._open().send(request, _NO_PHASES, fresh=True)
        try:
            body = await response.read(MAX_CONTROL_BYTES)
        finally:
            response.release()
        return ControlReply(response.head.status, response.head.headers, body)

    def _open(self) -> BuiltinTransport:
        if self._transport is None:
            # Here and not above: httpx2 takes longer to import than most commands take to run.
            from gateway.transport.builtin import BuiltinTransport

            self._transport = BuiltinTransport(ssl_context=self._ssl_context, max_connections=100)
        return self._transport
