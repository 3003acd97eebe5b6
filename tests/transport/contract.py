"""What the files of the contract suite share: the table of known failures, and requests in one line."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trustme

from adapters.types import Headers, HttpRequest
from gateway.transport.base import Timeouts, Transport, TransportError
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.stock import StockTransport
from tests.upstreams.scripted import Answer, Peer, ScriptedUpstream, Step, json_response

KNOWN_FAILURES = {
    "test_surplus_bytes_in_the_same_packet_are_never_an_answer": "httpcore hands them to the next request",
    "test_a_reused_connection_that_answered_one_byte_gives_no_replayable_error": "h11 forgets the byte",
    "test_a_response_that_is_not_plain_http_is_refused[folded header]": "h11 unfolds it",
    "test_a_response_that_is_not_plain_http_is_refused[HTTP/0.9]": "h11 waits for a line end, until the deadline",
}
"""Contract tests that the stock transport fails, and why; strict, so a mended one must leave the list."""

OK = json_response({"ok": True})
TIMEOUTS = Timeouts(connect=30.0, pool=30.0, head=30.0, idle=30.0)
"""Longer than any test waits for something else, so that no deadline here passes for what should have happened."""
SLACK_SECONDS = 10.0
"""What a busy machine may add to a deadline before a test calls it missed."""
KIB, MIB = 1024, 1024 * 1024


def make(kind: str, *, limit: int = 100, context: ssl.SSLContext | None = None) -> BuiltinTransport | StockTransport:
    cls = BuiltinTransport if kind == "builtin" else StockTransport
    return cls(max_connections=limit, ssl_context=context)


def get(upstream: ScriptedUpstream, path: str = "/", headers: Headers = ()) -> HttpRequest:
    return HttpRequest("GET", upstream.url + path, headers)


def post(upstream: ScriptedUpstream, body: bytes = b"{}", headers: Headers = ()) -> HttpRequest:
    return HttpRequest("POST", upstream.url + "/v1/chat/completions", headers, body)


async def fetch(transport: Transport, request: HttpRequest, timeouts: Timeouts = TIMEOUTS) -> tuple[int, bytes]:
    got = await transport.send(request, timeouts)
    try:
        return got.head.status, await got.read()
    finally:
        got.release()


async def fault_of(transport: Transport, request: HttpRequest, timeouts: Timeouts = TIMEOUTS) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await fetch(transport, request, timeouts)
    return caught.value


def endless(head: bytes, piece: bytes) -> Answer:
    def steps() -> Iterator[Step]:
        yield head
        while True:
            yield piece

    return Answer(steps())


async def bytes_until_it_stops(peer: Peer) -> int:
    """Returns how many bytes the upstream has sent once that stays the same for a while; raises TimeoutError."""
    async with asyncio.timeout(SLACK_SECONDS):
        while True:
            before = peer.sent_bytes
            await asyncio.sleep(0.2)
            if 0 < before == peer.sent_bytes:
                return before


@contextmanager
def silent_address(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yields the port of an address that answers no TCP handshake: its queue is full, and nobody accepts."""
    with socket.socket() as server, ExitStack() as fillers:
        server.bind((host, port))
        server.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def took(started: float) -> float:
    """Returns the seconds since `started`, generous by the milliseconds that an event loop's clock may lag."""
    return time.monotonic() - started + 0.005


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
