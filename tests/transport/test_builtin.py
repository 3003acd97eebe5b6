"""What only the built-in transport promises: its pool, its names and addresses, its deadlines without timers."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from math import inf

import pytest

from adapters.types import HttpRequest
from gateway.transport.base import Fault, TransportError
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.connection import Connection
from gateway.transport.sweeper import TICK_SECONDS, Sweeper
from tests.transport.contract import MIB, OK, SLACK_SECONDS, TIMEOUTS, fault_of, fetch, get, post, took
from tests.upstreams.scripted import FIN, STALL, Answer, Recorded, ScriptedUpstream, raw, response


@pytest.fixture
async def transport() -> AsyncIterator[BuiltinTransport]:
    made = BuiltinTransport()
    yield made
    await made.aclose()


# The pool.


async def test_stats_tell_open_idle_and_waiting_per_origin() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([raw(STALL)]) as busy, ScriptedUpstream([OK]) as idle:
        await fetch(transport, get(idle))
        tasks = [asyncio.create_task(transport.send(get(busy), TIMEOUTS)) for _ in range(3)]
        await busy.wait_for_requests(1)
        assert transport.stats() == {busy.url: (1, 0, 2), idle.url: (1, 1, 0)}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert transport.stats() == {busy.url: (0, 0, 0), idle.url: (1, 1, 0)}
        await transport.aclose()


async def test_the_connection_used_last_is_used_first(transport: BuiltinTransport) -> None:
    hold = asyncio.Event()

    def script(request: Recorded) -> Answer:
        return raw(hold, response(200, (), b"late")) if request.path == "/hold" else OK

    async with ScriptedUpstream(script) as upstream:
        held = asyncio.create_task(fetch(transport, get(upstream, "/hold")))
        await upstream.wait_for_requests(1)
        await fetch(transport, get(upstream))
        hold.set()
        await held
        for _ in range(3):
            await fetch(transport, get(upstream))
    assert [request.connection for request in upstream.requests] == [0, 1, 0, 0, 0]


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    transport = BuiltinTransport(keep_alive_seconds=0.1)
    async with ScriptedUpstream([OK]) as upstream:
        started = time.monotonic()
        await fetch(transport, get(upstream))
        await upstream.wait_closed(0)
        assert took(started) >= 0.1
        assert transport.stats() == {upstream.url: (0, 0, 0)}
        await transport.aclose()


async def test_a_connection_in_use_outlives_the_idle_time() -> None:
    transport = BuiltinTransport(keep_alive_seconds=0.8)
    async with ScriptedUpstream([OK]) as upstream:
        for _ in range(11):
            await fetch(transport, get(upstream))
            await asyncio.sleep(0.1)
        await transport.aclose()
    assert len(upstream.connections) == 1


async def test_a_connection_used_again_is_closed_after_its_last_use() -> None:
    transport = BuiltinTransport(keep_alive_seconds=0.8)
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, get(upstream))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        await fetch(transport, get(upstream))
        await upstream.wait_closed(0)
        assert took(started) >= 0.8
        await transport.aclose()
    assert len(upstream.connections) == 1


async def test_the_socket_sends_at_once_and_notices_a_dead_peer(
    transport: BuiltinTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, int]] = []
    made = Connection.connection_made

    def connection_made(self: Connection, lower: asyncio.BaseTransport) -> None:
        made(self, lower)
        sock: socket.socket = lower.get_extra_info("socket")
        seen.append(
            (
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            )
        )

    monkeypatch.setattr(Connection, "connection_made", connection_made)
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, get(upstream))
    assert [(bool(nodelay), bool(keepalive), idle) for nodelay, keepalive, idle in seen] == [(True, True, 30)]


async def test_a_fresh_request_at_the_limit_takes_the_place_of_an_idle_connection() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, get(upstream))
        got = await transport.send(get(upstream), TIMEOUTS, fresh=True)
        await got.read()
        got.release()
        await upstream.wait_closed(0)
        assert transport.stats() == {upstream.url: (1, 1, 0)}
        await transport.aclose()
    assert [request.connection for request in upstream.requests] == [0, 1]


async def test_a_fresh_request_that_waited_opens_a_connection_of_its_own() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([raw(0.05, response()), OK]) as upstream:
        first = asyncio.create_task(fetch(transport, get(upstream)))
        await upstream.wait_for_requests(1)
        got = await transport.send(get(upstream), TIMEOUTS, fresh=True)
        got.release()
        await first
        assert transport.stats()[upstream.url][0] == 1
        await transport.aclose()
    assert [request.connection for request in upstream.requests] == [0, 1]


async def test_a_connection_that_ends_while_it_is_handed_to_a_fresh_request_costs_one_slot_not_two() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([OK]) as upstream:
        first = await transport.send(get(upstream), TIMEOUTS)
        waiting = asyncio.create_task(transport.send(get(upstream), TIMEOUTS, fresh=True))
        await asyncio.sleep(0.01)
        await first.read()
        first.release()  # to the one who waits, who has not run yet when the server closes it
        for pool in transport._pools.values():
            for connection in tuple(pool.live):
                connection.abort()
        second = await waiting
        assert transport.stats() == {upstream.url: (1, 0, 0)}
        second.release()
        await transport.aclose()


async def test_a_place_in_the_queue_that_is_given_up_costs_nobody_a_turn() -> None:
    transport = BuiltinTransport(max_connections=1)
    hold = asyncio.Event()
    async with ScriptedUpstream([raw(hold, response(200, (), b"ok"))]) as upstream:
        tasks = [asyncio.create_task(fetch(transport, get(upstream, f"/{number}"))) for number in range(4)]
        await upstream.wait_for_requests(1)
        await asyncio.sleep(0)
        tasks[1].cancel()
        hold.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await transport.aclose()
    assert [isinstance(result, asyncio.CancelledError) for result in done] == [False, True, False, False]
    assert [request.path for request in upstream.requests] == ["/0", "/2", "/3"]


async def test_a_connection_handed_over_in_the_moment_of_cancellation_goes_to_the_next() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([OK]) as upstream:
        held = await transport.send(get(upstream), TIMEOUTS)
        await held.read()
        waiting = [asyncio.create_task(fetch(transport, get(upstream))) for _ in range(2)]
        await asyncio.sleep(0.01)
        held.release()
        waiting[0].cancel()
        assert await waiting[1] == (200, b'{"ok": true}')
        assert transport.stats() == {upstream.url: (1, 1, 0)}
        await transport.aclose()
    assert len(upstream.connections) == 1


async def test_a_failed_connection_gives_its_slot_back() -> None:
    transport = BuiltinTransport(max_connections=1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for _ in range(3):
            error = await fault_of(transport, HttpRequest("GET", url, ()), TIMEOUTS)
            assert error.fault is Fault.CONNECT
    assert transport.stats() == {url: (0, 0, 0)}
    await transport.aclose()


async def test_a_large_response_released_unread_leaves_a_working_pool(transport: BuiltinTransport) -> None:
    async with ScriptedUpstream([raw(response(200, (), bytes(4 * MIB))), OK]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        await asyncio.sleep(0.1)
        got.release()
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


async def test_an_answer_before_the_end_of_a_large_request_spoils_the_connection(
    transport: BuiltinTransport,
) -> None:
    async with ScriptedUpstream(on_connect=raw(0.05, response(413), STALL), reads=False) as upstream:
        status, _ = await fetch(transport, post(upstream, bytes(16 * MIB)))
        assert status == 413
        assert transport.stats() == {upstream.url: (0, 0, 0)}


async def test_closing_fails_those_who_wait_and_those_in_flight() -> None:
    transport = BuiltinTransport(max_connections=1)
    async with ScriptedUpstream([raw(STALL)]) as upstream:
        tasks = [asyncio.create_task(transport.send(get(upstream), TIMEOUTS)) for _ in range(2)]
        await upstream.wait_for_requests(1)
        await asyncio.sleep(0)
        await transport.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, TransportError) for result in results)
        await upstream.wait_closed(0)


def test_an_idle_pool_does_not_keep_the_event_loop_alive() -> None:
    async def use() -> None:
        transport = BuiltinTransport()
        async with ScriptedUpstream([OK]) as upstream:
            await fetch(transport, get(upstream))
            await transport.aclose()

    started = time.monotonic()
    asyncio.run(use())
    assert took(started) < SLACK_SECONDS


async def test_more_urls_than_are_remembered_all_work(transport: BuiltinTransport) -> None:
    async with ScriptedUpstream([OK]) as upstream:
        for number in range(1100):
            await fetch(transport, get(upstream, f"/{number}"))
    assert len(upstream.requests) == 1100
    assert len(upstream.connections) == 1


async def test_headers_of_the_connection_are_the_transports_alone(transport: BuiltinTransport) -> None:
    headers = (
        ("host", "evil"),
        ("content-length", "9"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("accept-encoding", "gzip"),
    )
    async with ScriptedUpstream([OK]) as upstream:
        await fetch(transport, post(upstream, b"body", headers))
    assert upstream.requests[0].headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "accept-encoding": "gzip",
        "content-length": "4",
    }


# Deadlines without timers.


class Clocked:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = asyncio.Event()

    def expire(self) -> None:
        self.deadline = inf
        self.expired.set()


async def test_the_sweeper_ends_what_is_due_and_leaves_the_rest() -> None:
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(loop)
    soon, later, gone = Clocked(loop.time() + 0.1), Clocked(loop.time() + 60.0), Clocked(loop.time() + 0.1)
    for item in (later, soon, gone):
        sweeper.watch(item)
        sweeper.expect(item.deadline)
    sweeper.unwatch(gone)
    await asyncio.wait_for(soon.expired.wait(), SLACK_SECONDS)
    assert not later.expired.is_set()
    assert not gone.expired.is_set()


async def test_the_sweeper_rests_while_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    sweep = Sweeper._tick  # pyright: ignore[reportPrivateUsage]

    def counted(self: Sweeper) -> None:
        ticks.append(time.monotonic())
        sweep(self)

    monkeypatch.setattr(Sweeper, "_tick", counted)
    sweeper = Sweeper(asyncio.get_running_loop())
    item = Clocked(inf)
    sweeper.watch(item)
    await asyncio.sleep(3.5 * TICK_SECONDS)
    sweeper.unwatch(item)
    await asyncio.sleep(1.5 * TICK_SECONDS)
    count = len(ticks)
    await asyncio.sleep(3 * TICK_SECONDS)
    assert 1 <= count == len(ticks)


# Heads that come again.

AGAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %b\r\n\r\n%b"
FIRST = AGAIN % (b"5", b"hello")


@pytest.mark.parametrize(
    "second",
    [
        AGAIN % (b"5", b"world"),
        AGAIN % (b"12", b"twelve bytes"),
        AGAIN % (b"007", b"bond 7!"),
        AGAIN % (b"0", b""),
        AGAIN % (b"5", b"worlds apart"),
        AGAIN % (b"9", b"short"),
        AGAIN % (b"+5", b"world"),
        AGAIN % (b"5 ", b"world"),
        AGAIN % (b"5\r\nContent-Length: 5", b"world"),
        AGAIN % (b"5\r\nContent-Length: 6", b"world!"),
        AGAIN % (b"5\r\nTransfer-Encoding: chunked", b"5\r\nworld\r\n0\r\n\r\n"),
        AGAIN % (b"18446744073709551621", b"world"),
        AGAIN % (b"5", b"world") + AGAIN % (b"5", b"other"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + AGAIN % (b"5", b"world"),
        (AGAIN % (b"5", b"world")).replace(b"200 OK", b"204 No Content"),
        (AGAIN % (b"5", b"world")).replace(b"1.1", b"1.0"),
    ],
)
async def test_a_response_with_the_head_of_the_last_one_is_read_as_if_it_came_alone(second: bytes) -> None:
    async def read(answers: list[bytes]) -> list[object]:
        transport = BuiltinTransport()
        found: list[object] = []
        script = [raw(answer) if answer == FIRST else raw(answer, FIN) for answer in answers]
        async with ScriptedUpstream(script) as upstream:
            for _ in answers:
                try:
                    response = await transport.send(get(upstream), TIMEOUTS)
                    try:
                        found.append((response.head.status, dict(response.head.headers), await response.read()))
                    finally:
                        response.release()
                except TransportError as error:
                    found.append((error.fault, error.message))
        await transport.aclose()
        return found

    assert (await read([FIRST, second]))[1:] == await read([second])


class _Mark:
    """Something that a request has."""


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", FIRST[:-2]], ids=["nothing", "nonsense", "cut short"])
async def test_a_request_that_failed_holds_nothing_until_the_collector_comes(said: bytes) -> None:
    async def fail(transport: BuiltinTransport, upstream: ScriptedUpstream) -> weakref.ref[_Mark]:
        mark = _Mark()
        with suppress(TransportError):
            response = await transport.send(get(upstream), TIMEOUTS)
            try:
                await response.read()
            finally:
                response.release()
        return weakref.ref(mark)

    transport = BuiltinTransport()
    gc.disable()
    try:
        async with ScriptedUpstream([raw(said, FIN)]) as upstream:
            mark = await fail(transport, upstream)
            await asyncio.sleep(0)
            assert mark() is None
    finally:
        gc.enable()
        await transport.aclose()
