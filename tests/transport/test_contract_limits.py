"""Deadlines, connecting, TLS and what may be written: the same for every transport, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
import trustme

from adapters.types import HttpRequest
from gateway.transport.base import Fault, Timeouts, Transport, TransportError
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.stock import StockTransport
from tests.transport.contract import (
    OK,
    SLACK_SECONDS,
    TIMEOUTS,
    client_context,
    fault_of,
    fetch,
    get,
    make,
    post,
    server_context,
    took,
)
from tests.upstreams.scripted import (
    RESET,
    STALL,
    Answer,
    ScriptedUpstream,
    Step,
    chunk,
    raw,
    response,
    sse_response,
)

# Deadlines.

QUICK_HEAD = Timeouts(connect=2.0, pool=2.0, head=0.2, idle=30.0)
"""The stock transport adds the first three up, because its own client does not say when one ends."""


async def test_a_silent_upstream_ends_with_the_head_deadline(transport: Transport) -> None:
    async with ScriptedUpstream([raw(STALL)]) as upstream:
        started = time.monotonic()
        error = await fault_of(transport, get(upstream), QUICK_HEAD)
        assert 0.2 <= took(started) < 0.2 + SLACK_SECONDS
        await upstream.wait_closed(0)
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.head_seconds")
    assert not error.replayable


async def test_trickling_headers_do_not_put_the_head_deadline_off(transport: Transport) -> None:
    def trickle() -> Iterator[Step]:
        for byte in b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 1000:
            yield bytes([byte])
            yield 0.02

    async with ScriptedUpstream([Answer(trickle())]) as upstream:
        started = time.monotonic()
        error = await fault_of(transport, get(upstream), QUICK_HEAD)
        assert took(started) < 0.2 + SLACK_SECONDS
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.head_seconds")


async def test_a_body_that_stops_ends_with_the_idle_deadline(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head + chunk(b"some"), STALL)]) as upstream:
        started = time.monotonic()
        got = await transport.send(get(upstream), replace(TIMEOUTS, idle=0.2))
        assert await got.next() == b"some"
        with pytest.raises(TransportError) as caught:
            await got.next()
        assert 0.2 <= took(started) < 0.2 + SLACK_SECONDS
        got.release()
        await upstream.wait_closed(0)
    assert (caught.value.fault, caught.value.setting) == (Fault.TIMEOUT, "upstream.between_tokens_seconds")


async def test_a_slow_but_steady_body_outlives_the_idle_deadline(transport: Transport) -> None:
    async with ScriptedUpstream([sse_response(range(12), gap_seconds=0.1, done=False)]) as upstream:
        status, body = await fetch(transport, get(upstream), replace(TIMEOUTS, idle=1.0))
    assert (status, body.count(b"data: ")) == (200, 12)


async def test_a_reader_that_is_slow_itself_does_not_run_into_the_idle_deadline(transport: Transport) -> None:
    go = asyncio.Event()
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    answer = raw(head, 0.05, chunk(b"some"), go, chunk(b"more"), b"0\r\n\r\n")
    async with ScriptedUpstream([answer]) as upstream:
        got = await transport.send(get(upstream), replace(TIMEOUTS, idle=0.8))
        assert await got.next() == b"some"
        await asyncio.sleep(1.0)
        go.set()
        assert await got.next() == b"more"
        got.release()


# Connecting.


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


async def test_a_refused_connection_is_an_error_at_once(transport: Transport) -> None:
    started = time.monotonic()
    error = await fault_of(transport, HttpRequest("GET", f"http://127.0.0.1:{closed_port()}/", ()))
    assert took(started) < SLACK_SECONDS
    assert (error.fault, error.replayable) == (Fault.CONNECT, False)


async def test_a_reset_after_accept_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream(on_connect=raw(RESET)) as upstream:
        error = await fault_of(transport, post(upstream))
    assert error.fault in {Fault.CONNECT, Fault.DISCONNECTED}
    assert not error.replayable


async def test_a_host_that_answers_no_handshake_ends_with_the_connect_deadline(transport: Transport) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        started = time.monotonic()
        error = await fault_of(
            transport, HttpRequest("GET", f"http://127.0.0.1:{port}/", ()), replace(TIMEOUTS, connect=0.2)
        )
        assert 0.2 <= took(started) < 0.2 + SLACK_SECONDS
        for filler in fillers:
            filler.close()
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.connect_seconds")


async def test_a_name_that_does_not_exist_is_an_error(transport: Transport) -> None:
    error = await fault_of(transport, HttpRequest("GET", "http://no-such-host.invalid/", ()))
    assert error.fault is Fault.DNS


async def test_the_connection_limit_makes_requests_wait_their_turn(kind: str) -> None:
    transport = make(kind, limit=2)
    async with ScriptedUpstream(lambda _request: raw(0.05, response(200, [], b"ok"))) as upstream:
        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(fetch(transport, get(upstream, f"/{number}"))))
            await asyncio.sleep(0.001)
        assert await asyncio.gather(*tasks) == [(200, b"ok")] * 8
        assert len(upstream.connections) == 2
        assert [request.path for request in upstream.requests] == [f"/{number}" for number in range(8)]
        await transport.aclose()


async def test_a_full_pool_ends_with_the_pool_deadline(kind: str) -> None:
    transport = make(kind, limit=1)
    async with ScriptedUpstream([raw(STALL)]) as upstream:
        busy = asyncio.create_task(transport.send(get(upstream), TIMEOUTS))
        await upstream.wait_for_requests(1)
        started = time.monotonic()
        error = await fault_of(transport, get(upstream), replace(TIMEOUTS, pool=0.1))
        assert 0.1 <= took(started) < 0.1 + SLACK_SECONDS
        busy.cancel()
        await asyncio.wait([busy])
        await transport.aclose()
    assert (error.fault, error.setting) == (Fault.POOL, "upstream.pool_seconds")


# TLS.


async def test_tls_works_with_a_trusted_certificate(kind: str, authority: trustme.CA) -> None:
    transport = make(kind, context=client_context(authority))
    async with ScriptedUpstream([OK], ssl_context=server_context(authority, "127.0.0.1")) as upstream:
        for _ in range(2):
            assert await fetch(transport, post(upstream)) == (200, b'{"ok": true}')
        await transport.aclose()
    assert len(upstream.connections) == 1


async def test_an_unknown_authority_is_refused(transport: Transport, authority: trustme.CA) -> None:
    async with ScriptedUpstream([OK], ssl_context=server_context(authority, "127.0.0.1")) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, upstream.requests) == (Fault.TLS, [])


async def test_a_certificate_for_another_name_is_refused(kind: str, authority: trustme.CA) -> None:
    transport = make(kind, context=client_context(authority))
    async with ScriptedUpstream([OK], ssl_context=server_context(authority, "else.example")) as upstream:
        error = await fault_of(transport, post(upstream))
        await transport.aclose()
    assert (error.fault, upstream.requests) == (Fault.TLS, [])


async def test_a_tls_handshake_that_stalls_ends_with_the_connect_deadline(transport: Transport) -> None:
    async with ScriptedUpstream(reads=False) as upstream:
        url = upstream.url.replace("http", "https")
        error = await fault_of(transport, HttpRequest("GET", url, ()), replace(TIMEOUTS, connect=0.2))
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.connect_seconds")


async def test_a_plain_answer_to_a_tls_handshake_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream(on_connect=raw(response(400), STALL)) as upstream:
        error = await fault_of(transport, HttpRequest("GET", upstream.url.replace("http", "https"), ()))
    assert error.fault is Fault.TLS


# What may be written.


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "1\r\nx-evil: 2"),
        ("x-a", "1\nx-evil: 2"),
        ("x-a", "1\rx-evil: 2"),
        ("x-a", "1\0"),
        ("x-a\r\nx-evil", "1"),
        ("x a", "1"),
        ("", "1"),
        ("x-a", "\u20ac"),
    ],
)
async def test_a_header_that_breaks_out_of_its_line_is_refused_unsent(
    transport: Transport, header: tuple[str, str]
) -> None:
    async with ScriptedUpstream([OK]) as upstream:
        error = await fault_of(transport, post(upstream, headers=(header,)))
        assert upstream.connections == []
    assert error.fault is Fault.PROTOCOL
    assert "evil" not in error.message


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "/relative",
        "http://",
        "http://a b/",
        "http://127.0.0.1/a b",
        "http://u:p@127.0.0.1/",
        "http://127.0.0.1/\r\nx: y",
        "http://127.0.0.1:99999/",
    ],
)
async def test_a_url_that_cannot_be_used_is_refused_unsent(transport: Transport, url: str) -> None:
    assert (await fault_of(transport, HttpRequest("GET", url, ()))).fault is Fault.PROTOCOL


# The end.


async def test_closing_the_transport_closes_idle_connections_and_refuses_requests(transport: Transport) -> None:
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, get(upstream))
        await transport.aclose()
        await upstream.wait_closed(0)
        with pytest.raises(TransportError):
            await transport.send(get(upstream), TIMEOUTS)


def test_both_kinds_fulfil_the_protocol() -> None:
    def check(transport: Transport) -> type[Transport]:
        return type(transport)

    assert check(BuiltinTransport()) is BuiltinTransport
    assert check(StockTransport()) is StockTransport
    assert isinstance(BuiltinTransport(), httpx2.AsyncBaseTransport)
