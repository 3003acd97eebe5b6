"""What every transport must do, on real sockets; what the stock one does not is listed in KNOWN_FAILURES."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import trustme

from adapters.types import Headers, HttpRequest
from gateway.transport.base import Fault, Timeouts, Transport, TransportError
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.stock import StockTransport
from tests.upstreams.scripted import (
    FIN,
    RESET,
    STALL,
    Answer,
    Recorded,
    ScriptedUpstream,
    Step,
    chunk,
    json_response,
    raw,
    response,
    sse_response,
)

KNOWN_FAILURES = {
    "test_surplus_bytes_in_the_same_packet_are_never_an_answer": "httpcore hands them to the next request",
    "test_a_reused_connection_that_answered_one_byte_gives_no_replayable_error": "h11 forgets the byte",
    "test_a_response_that_is_not_plain_http_is_refused[folded header]": "h11 unfolds it",
    "test_a_response_that_is_not_plain_http_is_refused[HTTP/0.9]": "h11 waits for a line end, until the deadline",
}
"""Contract tests that the stock transport fails, and why; strict, so a mended one must leave the list."""

OK = json_response({"ok": True})
TIMEOUTS = Timeouts(connect=2.0, pool=2.0, head=2.0, idle=2.0)
KIB, MIB = 1024, 1024 * 1024


@pytest.fixture(params=["builtin", "stock"])
def kind(request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("[stock]", "").replace("[stock-", "[")
    if request.param == "stock" and name in KNOWN_FAILURES:
        request.applymarker(pytest.mark.xfail(reason=KNOWN_FAILURES[name], strict=True))
    return request.param


def make(kind: str, *, limit: int = 100, context: ssl.SSLContext | None = None) -> BuiltinTransport | StockTransport:
    cls = BuiltinTransport if kind == "builtin" else StockTransport
    return cls(max_connections=limit, ssl_context=context)


@pytest.fixture
async def transport(kind: str) -> AsyncIterator[Transport]:
    made = make(kind)
    yield made
    await made.aclose()


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


# The plain case.


async def test_a_request_arrives_as_given_and_its_answer_comes_back(transport: Transport) -> None:
    async with ScriptedUpstream([json_response({"a": 1}, 201, [("X-Request-Id", "r1")])]) as upstream:
        headers = (("authorization", "Bearer sk-1"), ("content-type", "application/json"))
        got = await transport.send(post(upstream, b'{"model":"m"}', headers), TIMEOUTS)
        assert await got.read() == b'{"a": 1}'
        assert got.is_complete
        assert got.head.status == 201
        assert got.head.headers["x-request-id"] == "r1"
        got.release()
        got.release()
    seen = upstream.requests[0]
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/chat/completions", b'{"model":"m"}')
    assert seen.headers["authorization"] == "Bearer sk-1"
    assert seen.headers["host"] == f"127.0.0.1:{upstream.port}"
    assert seen.headers["content-length"] == "13"
    assert seen.headers["accept-encoding"] == "identity"


async def test_a_large_body_is_sent_whole(transport: Transport) -> None:
    body = bytes(range(256)) * 4096 * 5
    async with ScriptedUpstream([OK]) as upstream:
        assert (await fetch(transport, post(upstream, body)))[0] == 200
    assert upstream.requests[0].body == body


async def test_a_connection_is_used_again_after_a_whole_response(transport: Transport) -> None:
    async with ScriptedUpstream([OK]) as upstream:
        for _ in range(3):
            assert (await fetch(transport, post(upstream)))[0] == 200
    assert [request.connection for request in upstream.requests] == [0, 0, 0]


async def test_a_fresh_request_gets_a_connection_of_its_own(transport: Transport) -> None:
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, post(upstream))
        got = await transport.send(post(upstream), TIMEOUTS, fresh=True)
        assert await got.read() == b'{"ok": true}'
        got.release()
    assert [request.connection for request in upstream.requests] == [0, 1]


async def test_a_stream_comes_piece_by_piece(transport: Transport) -> None:
    go = asyncio.Event()
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, chunk(b"first"), go, chunk(b"second"), b"0\r\n\r\n")]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.next() == b"first"
        assert not got.is_complete
        go.set()
        assert await got.next() == b"second"
        assert await got.next() == b""
        assert got.is_complete
        got.release()


async def test_server_sent_events_arrive_whole(transport: Transport) -> None:
    async with ScriptedUpstream([sse_response([{"n": 1}, "two"], chunked=False)]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b'data: {"n": 1}\n\ndata: two\n\ndata: [DONE]\n\n')


async def test_repeated_headers_are_joined_and_cookies_dropped(transport: Transport) -> None:
    headers = [("X-A", "1"), ("x-a", "2"), ("Set-Cookie", "a=b"), ("set-cookie", "c=d")]
    async with ScriptedUpstream([json_response({}, 200, headers), OK]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        await got.read()
        got.release()
        await fetch(transport, get(upstream))
    assert got.head.headers["x-a"] == "1, 2"
    assert "set-cookie" not in got.head.headers
    assert "cookie" not in upstream.requests[1].headers


async def test_a_redirect_is_an_answer_and_not_followed(transport: Transport) -> None:
    async with (
        ScriptedUpstream([OK]) as elsewhere,
        ScriptedUpstream([raw(response(307, [("location", elsewhere.url)]))]) as upstream,
    ):
        assert (await fetch(transport, post(upstream, headers=(("x-api-key", "sk"),))))[0] == 307
    assert elsewhere.requests == []


async def test_proxies_of_the_environment_are_ignored(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedUpstream([OK]) as proxy, ScriptedUpstream([OK]) as upstream:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await fetch(transport, get(upstream)))[0] == 200
    assert proxy.connections == []


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_ends_with_its_head(transport: Transport, status: int) -> None:
    async with ScriptedUpstream([raw(response(status, length=False)), OK]) as upstream:
        assert await fetch(transport, get(upstream)) == (status, b"")
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


async def test_an_answer_to_head_has_no_body_whatever_its_length_says(transport: Transport) -> None:
    head = response(200, [("content-length", "1000")], length=False)
    async with ScriptedUpstream([raw(head), OK]) as upstream:
        assert await fetch(transport, HttpRequest("HEAD", upstream.url + "/", ())) == (200, b"")
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


# Surplus bytes: an answer never goes to somebody else's request.


EVIL = response(200, [], b'{"evil"1}')


async def test_surplus_bytes_in_the_same_packet_are_never_an_answer(transport: Transport) -> None:
    mine = response(200, [], b"mine")
    async with ScriptedUpstream([raw(mine + EVIL), raw(response(200, [], b"yours"))]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b"mine")
        assert await fetch(transport, get(upstream)) == (200, b"yours")


async def test_surplus_bytes_on_an_idle_connection_are_never_an_answer(transport: Transport) -> None:
    mine = response(200, [], b"mine")
    async with ScriptedUpstream([raw(mine, 0.2, EVIL), raw(response(200, [], b"yours"))]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b"mine")
        await asyncio.sleep(0.3)
        assert await fetch(transport, get(upstream)) == (200, b"yours")
    assert upstream.requests[1].connection == 1


async def test_a_connection_closed_while_idle_is_not_used_again(transport: Transport) -> None:
    async with ScriptedUpstream([raw(response(200, [], b"mine"), FIN), OK]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b"mine")
        await upstream.wait_closed(0)
        await asyncio.sleep(0.01)
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


# Cancellation.


async def test_cancelling_a_request_closes_its_connection_at_once(transport: Transport) -> None:
    async with ScriptedUpstream([raw(STALL)]) as upstream:
        task = asyncio.create_task(transport.send(post(upstream), TIMEOUTS))
        await upstream.wait_for_requests(1)
        cancelled_at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await upstream.wait_closed(0) - cancelled_at < 0.2


@pytest.mark.parametrize("method", ["next", "read"])
async def test_cancelling_a_reader_closes_its_connection_at_once(transport: Transport, method: str) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, STALL)]) as upstream:
        got = await transport.send(post(upstream), TIMEOUTS)
        task = asyncio.ensure_future(getattr(got, method)())
        await asyncio.sleep(0.01)
        cancelled_at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await upstream.wait_closed(0) - cancelled_at < 0.2
        got.release()


async def test_releasing_an_unfinished_response_closes_its_connection_at_once(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, chunk(b"some"), STALL)]) as upstream:
        got = await transport.send(post(upstream), TIMEOUTS)
        assert await got.next() == b"some"
        released_at = time.monotonic()
        got.release()
        assert await upstream.wait_closed(0) - released_at < 0.2
        with pytest.raises(TransportError):
            await got.next()


async def test_no_number_of_cancelled_requests_costs_a_slot(kind: str) -> None:
    total, at_once = (20_000, 50) if kind == "builtin" else (1_000, 50)
    transport = make(kind, limit=10)
    delays = [0.0, 0.0001, 0.0005, 0.001, 0.002]

    async def one(number: int, upstream: ScriptedUpstream) -> None:
        task = asyncio.ensure_future(fetch(transport, post(upstream), Timeouts(2.0, 30.0, 2.0, 2.0)))
        await asyncio.sleep(delays[number % len(delays)])
        task.cancel()
        await asyncio.wait([task])

    def script(_request: Recorded) -> Answer:
        return raw(0.001, response(200, [], b"ok"))

    async with ScriptedUpstream(script) as upstream:
        for first in range(0, total, at_once):
            await asyncio.gather(*(one(first + number, upstream) for number in range(at_once)))
        answers = await asyncio.gather(*(fetch(transport, post(upstream)) for _ in range(10)))
        assert answers == [(200, b"ok")] * 10
        await transport.aclose()


# The keep-alive race.


def closes_a_reused_connection(request: Recorded) -> Answer:
    return raw(FIN) if request.number == 1 else OK


async def test_a_reused_connection_that_was_just_closed_gives_a_replayable_error(transport: Transport) -> None:
    async with ScriptedUpstream(closes_a_reused_connection) as upstream:
        await fetch(transport, post(upstream))
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, True)
    assert upstream.requests[1].connection == 0


async def test_a_new_connection_that_is_closed_gives_no_replayable_error(transport: Transport) -> None:
    async with ScriptedUpstream([raw(FIN)]) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_a_reused_connection_that_answered_one_byte_gives_no_replayable_error(transport: Transport) -> None:
    async with ScriptedUpstream([OK, raw(b"H", FIN)]) as upstream:
        await fetch(transport, post(upstream))
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_httpx_sees_one_replay_of_the_keep_alive_race_and_no_more() -> None:
    async with (
        httpx2.AsyncClient(transport=BuiltinTransport()) as client,
        ScriptedUpstream(closes_a_reused_connection) as upstream,
    ):
        for _ in range(2):
            assert (await client.post(upstream.url, content=b"once")).json() == {"ok": True}
    assert [(request.connection, request.body) for request in upstream.requests] == [
        (0, b"once"),
        (0, b"once"),
        (1, b"once"),
    ]


# Broken responses.


@pytest.mark.parametrize("end", [FIN, RESET])
@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort",
    ],
)
async def test_a_body_cut_short_is_an_error(transport: Transport, start: bytes, end: Step) -> None:
    async with ScriptedUpstream([raw(start, 0.02, end)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.next() == b"short"
        with pytest.raises(TransportError) as caught:
            await got.next()
        assert not got.is_complete
        got.release()
    assert (caught.value.fault, caught.value.replayable) == (Fault.DISCONNECTED, False)


async def test_a_reset_before_the_head_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream([raw(RESET)]) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_a_head_cut_short_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream([raw(b"HTTP/1.1 200 OK\r\ncontent-", 0.01, FIN)]) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_a_reset_ends_a_body_that_only_the_close_would_end(transport: Transport) -> None:
    async with ScriptedUpstream([raw(b"HTTP/1.1 200 OK\r\n\r\nsome", 0.02, RESET)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.next() == b"some"
        with pytest.raises(TransportError) as caught:
            await got.next()
        got.release()
    assert caught.value.fault is Fault.DISCONNECTED


async def test_interim_responses_are_skipped(transport: Transport) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with ScriptedUpstream([raw(interim, 0.01, b"HTTP/1.1 102 P\r\n\r\n" + response(200, [], b"ok"))]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b"ok")


REFUSED = {
    "101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "status 600": response(600),
    "status 999": response(999),
    "status 1000": response(1000),
    "status 99": response(99).replace(b" 99 ", b" 099 "),
    "status 20": response(20),
    "HTTP/0.9": b"hello",
    "HTTP/2.0": response().replace(b"/1.1", b"/2.0"),
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nx-a: 1\0\r\ncontent-length: 0\r\n\r\n",
    "junk chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "header block of 70 KiB": response(200, [("x-a", "a" * 70 * KIB)]),
    "header block of 70 KiB in lines": response(200, [(f"x-{n}", "a" * KIB) for n in range(70)]),
    "300 headers": response(200, [(f"x-{n}", "a") for n in range(300)]),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_response_that_is_not_plain_http_is_refused(transport: Transport, name: str) -> None:
    async with ScriptedUpstream([raw(REFUSED[name], STALL), OK]) as upstream:
        error = await fault_of(transport, get(upstream))
        assert error.fault is Fault.PROTOCOL
        assert "aaaa" not in error.message
        await upstream.wait_closed(0)
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


async def test_an_endless_header_line_is_refused(transport: Transport) -> None:
    def endless() -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nx-a: "
        while True:
            yield b"a" * 16 * KIB

    async with ScriptedUpstream([Answer(endless())]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is Fault.PROTOCOL


# Caps and back-pressure.


def endless(head: bytes, piece: bytes) -> Answer:
    def steps() -> Iterator[Step]:
        yield head
        while True:
            yield piece

    return Answer(steps())


async def test_a_giant_body_is_cut_at_the_limit(transport: Transport) -> None:
    zeros = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", bytes(64 * KIB))
    async with ScriptedUpstream([zeros]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        with pytest.raises(TransportError) as caught:
            await got.read(MIB)
        got.release()
        await upstream.wait_closed(0)
        assert upstream.connections[0].sent_bytes < 32 * MIB
    assert caught.value.fault is Fault.TOO_LARGE


async def test_a_slow_reader_stops_the_upstream(transport: Transport) -> None:
    piece = chunk(bytes(64 * KIB))
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([endless(head, piece)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        await asyncio.sleep(0.2)
        before = upstream.connections[0].sent_bytes
        await asyncio.sleep(0.1)
        assert upstream.connections[0].sent_bytes == before
        assert before < 16 * MIB
        read = 0
        while read <= before:
            read += len(await got.next())
        assert upstream.connections[0].sent_bytes > before
        got.release()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate"])
async def test_one_layer_of_compression_is_decoded(transport: Transport, encoding: str) -> None:
    text = b'{"ok": true}' * 50_000
    raw_deflate = zlib.compressobj(wbits=-15)
    body = {
        "gzip": gzip.compress(text),
        "x-gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw_deflate.compress(text) + raw_deflate.flush(),
    }[encoding]
    answer = raw(response(200, [("content-encoding", encoding.split()[-1])], body))
    async with ScriptedUpstream([answer]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.read() == text
        assert got.is_complete
        assert "content-encoding" not in got.head.headers
        assert "content-length" not in got.head.headers
        got.release()


async def test_a_compression_bomb_is_cut_at_the_limit_of_decoded_bytes(transport: Transport) -> None:
    bomb = gzip.compress(bytes(50 * MIB))
    async with ScriptedUpstream([raw(response(200, [("content-encoding", "gzip")], bomb))]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert len(await got.next()) <= MIB
        with pytest.raises(TransportError) as caught:
            await got.read(4 * MIB)
        got.release()
    assert caught.value.fault is Fault.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, identity"])
async def test_other_content_encodings_are_refused(transport: Transport, encoding: str) -> None:
    answer = raw(response(200, [("content-encoding", encoding)], gzip.compress(gzip.compress(b"x"))))
    async with ScriptedUpstream([answer]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is Fault.PROTOCOL


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"not gzip at all", Fault.PROTOCOL),
        (gzip.compress(b"x" * 1000)[:-9], Fault.DISCONNECTED),
        (gzip.compress(b"x") + b"more", Fault.PROTOCOL),
    ],
)
async def test_a_lying_content_encoding_is_an_error(transport: Transport, body: bytes, fault: Fault) -> None:
    async with ScriptedUpstream([raw(response(200, [("content-encoding", "gzip")], body))]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is fault


# Deadlines.


def took(started: float) -> float:
    return time.monotonic() - started


async def test_a_silent_upstream_ends_with_the_head_deadline(transport: Transport) -> None:
    async with ScriptedUpstream([raw(STALL)]) as upstream:
        started = time.monotonic()
        error = await fault_of(transport, get(upstream), Timeouts(0.3, 0.1, 0.2, 2.0))
        assert 0.2 <= took(started) < 0.9
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
        error = await fault_of(transport, get(upstream), Timeouts(0.2, 0.1, 0.3, 2.0))
        assert took(started) < 1.0
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.head_seconds")


async def test_a_body_that_stops_ends_with_the_idle_deadline(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, chunk(b"some"), STALL)]) as upstream:
        started = time.monotonic()
        got = await transport.send(get(upstream), Timeouts(2.0, 2.0, 2.0, 0.2))
        assert await got.next() == b"some"
        with pytest.raises(TransportError) as caught:
            await got.next()
        assert 0.2 <= took(started) < 0.7
        got.release()
        await upstream.wait_closed(0)
    assert (caught.value.fault, caught.value.setting) == (Fault.TIMEOUT, "upstream.idle_seconds")


async def test_a_slow_but_steady_body_outlives_the_idle_deadline(transport: Transport) -> None:
    async with ScriptedUpstream([sse_response(range(8), gap_seconds=0.1, done=False)]) as upstream:
        status, body = await fetch(transport, get(upstream), Timeouts(2.0, 2.0, 2.0, 0.4))
    assert (status, body.count(b"data: ")) == (200, 8)


async def test_a_reader_that_is_slow_itself_does_not_run_into_the_idle_deadline(transport: Transport) -> None:
    go = asyncio.Event()
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    answer = raw(head, chunk(b"some"), go, chunk(b"more"), b"0\r\n\r\n")
    async with ScriptedUpstream([answer]) as upstream:
        got = await transport.send(get(upstream), Timeouts(2.0, 2.0, 2.0, 0.1))
        assert await got.next() == b"some"
        await asyncio.sleep(0.3)
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
    assert took(started) < 0.5
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
        error = await fault_of(transport, HttpRequest("GET", f"http://127.0.0.1:{port}/", ()), Timeouts(connect=0.2))
        assert 0.2 <= took(started) < 0.9
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
        error = await fault_of(transport, get(upstream), Timeouts(pool=0.1))
        assert 0.1 <= took(started) < 0.6
        busy.cancel()
        await asyncio.wait([busy])
        await transport.aclose()
    assert (error.fault, error.setting) == (Fault.POOL, "upstream.pool_seconds")


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_works_with_a_trusted_certificate(kind: str, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    transport = make(kind, context=trusting)
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
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    transport = make(kind, context=trusting)
    async with ScriptedUpstream([OK], ssl_context=server_context(authority, "else.example")) as upstream:
        error = await fault_of(transport, post(upstream))
        await transport.aclose()
    assert (error.fault, upstream.requests) == (Fault.TLS, [])


async def test_a_tls_handshake_that_stalls_ends_with_the_connect_deadline(transport: Transport) -> None:
    async with ScriptedUpstream(reads=False) as upstream:
        url = upstream.url.replace("http", "https")
        error = await fault_of(transport, HttpRequest("GET", url, ()), Timeouts(connect=0.2))
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
