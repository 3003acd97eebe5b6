"""Deadlines, connecting, TLS and what may be written: the same for every transport, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
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
    silent_address,
    took,
)
from tests.upstreams.scripted import (
    FIN,
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

QUICK_HEAD = replace(TIMEOUTS, head=0.2)
NAMED = Timeouts(
    connect=30.0,
    pool=30.0,
    head=30.0,
    idle=30.0,
    connect_setting="providers.p.timeouts.connect_seconds",
    head_setting="routes.r.timeouts.head_seconds",
    idle_setting="routes.r.timeouts.between_tokens_seconds",
)
"""Deadlines from somewhere else than `upstream`."""


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


async def test_a_new_expectation_replaces_the_idle_deadline_and_is_named(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head + chunk(b"some"), STALL)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        got.expect_within(20.0, "routes.r.timeouts.first_token_seconds")
        assert await got.next() == b"some"
        started = time.monotonic()
        got.expect_within(0.2, "routes.r.timeouts.between_tokens_seconds")
        with pytest.raises(TransportError) as caught:
            await got.next()
        assert 0.2 <= took(started) < 0.2 + SLACK_SECONDS
        await upstream.wait_closed(0)
        got.release()
    assert caught.value.fault is Fault.TIMEOUT
    assert caught.value.setting == "routes.r.timeouts.between_tokens_seconds"
    assert "0.2 s" in caught.value.message


async def test_a_longer_expectation_outlives_the_idle_deadline_of_the_request(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, 0.8, chunk(b"some"), b"0\r\n\r\n")]) as upstream:
        got = await transport.send(get(upstream), replace(TIMEOUTS, idle=0.1))
        got.expect_within(30.0, "upstream.first_token_seconds")
        assert await got.read() == b"some"
        got.release()


async def test_an_expectation_holds_for_compressed_bodies_too(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked"), ("content-encoding", "gzip")], length=False)
    async with ScriptedUpstream([raw(head, chunk(gzip.compress(b"some")[:8]), STALL)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        got.expect_within(0.2, "upstream.first_token_seconds")
        with pytest.raises(TransportError) as caught:
            await got.next()
        got.release()
    assert (caught.value.fault, caught.value.setting) == (Fault.TIMEOUT, "upstream.first_token_seconds")


async def test_an_expectation_holds_for_its_response_alone(transport: Transport) -> None:
    slow = raw(response(200, [("transfer-encoding", "chunked")], length=False), 0.5, chunk(b"some"), b"0\r\n\r\n")
    async with ScriptedUpstream([OK, slow]) as upstream:
        first = await transport.send(get(upstream), TIMEOUTS)
        first.expect_within(0.01, "upstream.first_token_seconds")
        await first.read()
        first.release()
        assert await fetch(transport, get(upstream)) == (200, b"some")
    assert [request.connection for request in upstream.requests] == [0, 0]


async def test_an_error_names_the_setting_that_its_deadline_came_from(transport: Transport) -> None:
    settings: list[str | None] = []
    async with ScriptedUpstream(reads=False) as silent:
        url = silent.url.replace("http", "https")
        error = await fault_of(transport, HttpRequest("GET", url, ()), replace(NAMED, connect=0.1))
        settings.append(error.setting)
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(STALL), raw(head, STALL)]) as upstream:
        settings.append((await fault_of(transport, get(upstream), replace(NAMED, head=0.1))).setting)
        settings.append((await fault_of(transport, get(upstream), replace(NAMED, idle=0.1))).setting)
    assert settings == [NAMED.connect_setting, NAMED.head_setting, NAMED.idle_setting]


# Connecting.


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


async def test_a_refused_connection_is_an_error_at_once(transport: Transport) -> None:
    started = time.monotonic()
    error = await fault_of(transport, HttpRequest("GET", f"http://127.0.0.1:{closed_port()}/", ()))
    assert took(started) < SLACK_SECONDS
    assert (error.fault, error.replayable, error.is_unsent) == (Fault.CONNECT, False, True)


async def test_a_reset_after_accept_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream(on_connect=raw(RESET)) as upstream:
        error = await fault_of(transport, post(upstream))
    assert error.fault in {Fault.CONNECT, Fault.DISCONNECTED}
    assert not error.replayable


async def test_a_host_that_answers_no_handshake_ends_with_the_connect_deadline(transport: Transport) -> None:
    with silent_address() as port:
        started = time.monotonic()
        error = await fault_of(
            transport, HttpRequest("GET", f"http://127.0.0.1:{port}/", ()), replace(TIMEOUTS, connect=0.2)
        )
        assert 0.2 <= took(started) < 0.2 + SLACK_SECONDS
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.connect_seconds")
    assert error.is_unsent


async def test_a_name_that_does_not_exist_is_an_error(transport: Transport) -> None:
    error = await fault_of(transport, HttpRequest("GET", "http://no-such-host.invalid/", ()))
    assert (error.fault, error.is_unsent) == (Fault.DNS, True)


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
    assert error.is_unsent


@pytest.mark.parametrize("answer", [raw(STALL), raw(FIN), raw(RESET), raw(b"junk\r\n\r\n"), raw(b"HTTP/1.1 2", FIN)])
async def test_what_the_upstream_may_have_read_never_counts_as_unsent(transport: Transport, answer: Answer) -> None:
    async with ScriptedUpstream([OK, answer]) as upstream:
        await fetch(transport, get(upstream))
        for is_fresh in (False, True):
            with pytest.raises(TransportError) as caught:
                await transport.send(get(upstream), replace(TIMEOUTS, head=0.5), fresh=is_fresh)
            assert not caught.value.is_unsent


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
    assert (error.fault, error.is_unsent, upstream.requests) == (Fault.TLS, True, [])


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
    assert error.is_unsent


async def test_a_tls_handshake_that_trickles_does_not_put_the_connect_deadline_off(transport: Transport) -> None:
    def trickle() -> Iterator[Step]:
        yield b"\x16\x03\x03\x3f\xff"  # a record of a handshake, of 16 kB
        while True:
            yield b"\x02"
            yield 0.05

    async with ScriptedUpstream(on_connect=Answer(trickle())) as upstream:
        started = time.monotonic()
        url = upstream.url.replace("http", "https")
        error = await fault_of(transport, HttpRequest("GET", url, ()), replace(TIMEOUTS, connect=0.3))
        assert 0.3 <= took(started) < 0.3 + SLACK_SECONDS
        await upstream.wait_closed(0)
    assert (error.fault, error.setting, error.is_unsent) == (Fault.TIMEOUT, "upstream.connect_seconds", True)


async def test_cancelling_a_request_in_its_tls_handshake_closes_its_connection(transport: Transport) -> None:
    async with ScriptedUpstream(on_connect=raw(STALL)) as upstream:
        url = upstream.url.replace("http", "https")
        task = asyncio.create_task(transport.send(HttpRequest("GET", url, ()), TIMEOUTS))
        await upstream.wait_for_connections(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.wait_closed(0)


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
    assert (error.fault, error.is_unsent) == (Fault.PROTOCOL, True)
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
