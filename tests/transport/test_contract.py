"""What every transport must do with requests and connections, on real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx2
import pytest
import trustme

from adapters.types import HttpRequest
from gateway.transport.base import Fault, Transport, TransportError
from gateway.transport.builtin import BuiltinTransport
from tests.transport.contract import (
    KIB,
    MIB,
    OK,
    TIMEOUTS,
    bytes_until_it_stops,
    client_context,
    endless,
    fault_of,
    fetch,
    get,
    make,
    post,
    server_context,
    silent_address,
)
from tests.upstreams.scripted import (
    FIN,
    STALL,
    Answer,
    Recorded,
    ScriptedUpstream,
    chunk,
    json_response,
    raw,
    response,
    sse_response,
)

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
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.wait_closed(0)


async def test_over_tls_a_cancelled_reader_closes_and_a_whole_response_is_reused(
    kind: str, authority: trustme.CA
) -> None:
    transport = make(kind, context=client_context(authority))
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    answers = [OK, raw(head, chunk(bytes(MIB)), STALL)]
    async with ScriptedUpstream(answers, ssl_context=server_context(authority, "127.0.0.1")) as upstream:
        assert await fetch(transport, post(upstream)) == (200, b'{"ok": true}')
        task = asyncio.create_task(fetch(transport, post(upstream)))
        await upstream.wait_for_requests(2)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.wait_closed(0)
        await transport.aclose()
    assert [request.connection for request in upstream.requests] == [0, 0]


async def test_over_tls_a_slow_reader_stops_the_upstream(kind: str, authority: trustme.CA) -> None:
    transport = make(kind, context=client_context(authority))
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    answer = endless(head, chunk(bytes(64 * KIB)))
    async with ScriptedUpstream([answer], ssl_context=server_context(authority, "127.0.0.1")) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await bytes_until_it_stops(upstream.connections[0]) < 16 * MIB
        got.release()
        await upstream.wait_closed(0)
        await transport.aclose()


@pytest.mark.parametrize("method", ["next", "read"])
async def test_cancelling_a_reader_closes_its_connection_at_once(transport: Transport, method: str) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, STALL)]) as upstream:
        got = await transport.send(post(upstream), TIMEOUTS)
        task = asyncio.ensure_future(getattr(got, method)())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.wait_closed(0)
        got.release()


async def test_releasing_an_unfinished_response_closes_its_connection_at_once(transport: Transport) -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([raw(head, chunk(b"some"), STALL)]) as upstream:
        got = await transport.send(post(upstream), TIMEOUTS)
        assert await got.next() == b"some"
        got.release()
        await upstream.wait_closed(0)
        with pytest.raises(TransportError):
            await got.next()


async def test_no_number_of_cancelled_requests_costs_a_slot(kind: str) -> None:
    total, at_once, pace = (20_000, 50, 1) if kind == "builtin" else (1_000, 50, 20)
    transport = make(kind, limit=10)
    delays = [0.0, 0.0001, 0.0005, 0.001, 0.002]

    async def one(number: int, upstream: ScriptedUpstream) -> None:
        task = asyncio.ensure_future(fetch(transport, post(upstream), TIMEOUTS))
        await asyncio.sleep(pace * delays[number % len(delays)])
        task.cancel()
        await asyncio.wait([task])

    def script(_request: Recorded) -> Answer:
        return raw(0.001, response(200, [], b"ok"))

    async with ScriptedUpstream(script) as upstream:
        for first in range(0, total, at_once):
            await asyncio.gather(*(one(first + number, upstream) for number in range(at_once)))
        if kind == "builtin":
            # They were cancelled in every phase: before, while and after they had a connection.
            assert 10 < len(upstream.requests) < total
        answers = await asyncio.gather(*(fetch(transport, post(upstream)) for _ in range(10)))
        assert answers == [(200, b"ok")] * 10
        if isinstance(transport, BuiltinTransport):
            assert transport.stats() == {upstream.url: (10, 10, 0)}
        await transport.aclose()


@pytest.mark.parametrize("phase", ["tcp", "tls"])
async def test_no_number_of_requests_cancelled_while_connecting_costs_a_slot(kind: str, phase: str) -> None:
    total, at_once = (2_000, 50) if kind == "builtin" else (400, 50)
    transport = make(kind, limit=10)

    async def one(number: int, url: str) -> None:
        task = asyncio.ensure_future(transport.send(HttpRequest("GET", url, ()), TIMEOUTS))
        await asyncio.sleep((0.0, 0.0005, 0.002)[number % 3])
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async with ScriptedUpstream(on_connect=raw(STALL)) as upstream:
        with silent_address() as port:
            url = f"http://127.0.0.1:{port}" if phase == "tcp" else f"https://127.0.0.1:{upstream.port}"
            for first in range(0, total, at_once):
                await asyncio.gather(*(one(first + number, url) for number in range(at_once)))
            if isinstance(transport, BuiltinTransport):
                assert transport.stats() == {url: (0, 0, 0)}
            error = await fault_of(transport, HttpRequest("GET", url, ()), replace(TIMEOUTS, connect=0.1))
            assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.connect_seconds")
        for number in range(len(upstream.connections)):
            await upstream.wait_closed(number)
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
