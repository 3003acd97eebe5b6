"""Bodies that are given to whoever takes them, piece by piece as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.transport.base import Fault, Transport, TransportError
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.exchange import GIVEN_BYTES
from gateway.transport.stock import StockTransport
from tests.transport.contract import MIB, OK, SLACK_SECONDS, TIMEOUTS, bytes_until_it_stops, endless, fetch, get
from tests.upstreams.scripted import RESET, STALL, ScriptedUpstream, chunk, raw, response

HEAD = response(200, [("transfer-encoding", "chunked")], length=False)
LAST = b"0\r\n\r\n"


class Taken:
    """Takes what comes, up to `most` pieces; notes in which task, and sets the next of some events."""

    def __init__(self, *events: asyncio.Event, most: int = 1_000_000) -> None:
        self.pieces: list[bytes] = []
        self.tasks: list[asyncio.Task[object] | None] = []
        self._events = list(events)
        self._most = most

    def __call__(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        self.tasks.append(asyncio.current_task())
        if self._events:
            self._events.pop(0).set()
        return len(self.pieces) < self._most


@pytest.fixture
async def builtin() -> AsyncIterator[BuiltinTransport]:
    made = BuiltinTransport()
    yield made
    await made.aclose()


async def test_a_body_is_poured_to_its_end_and_its_connection_used_again(transport: Transport) -> None:
    one, two = asyncio.Event(), asyncio.Event()
    answer = raw(HEAD, chunk(b"one"), one, chunk(b"two"), two, chunk(b"three") + LAST)
    async with ScriptedUpstream([answer, OK]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        taken = Taken(one, two)
        async with asyncio.timeout(SLACK_SECONDS):
            assert await got.pour(taken) is False
        assert taken.pieces == [b"one", b"two", b"three"], "each is given before the next one comes"
        assert got.is_complete
        got.release()
        await fetch(transport, get(upstream))
    assert [request.connection for request in upstream.requests] == [0, 0]


async def test_a_taker_that_wants_no_more_gets_no_more(transport: Transport) -> None:
    one, go = asyncio.Event(), asyncio.Event()
    answer = raw(HEAD, chunk(b"one"), one, chunk(b"two"), go, chunk(b"three") + LAST)
    async with ScriptedUpstream([answer]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        taken = Taken(one, most=2)
        async with asyncio.timeout(SLACK_SECONDS):
            assert await got.pour(taken) is True
            go.set()
            assert await got.next() == b"three"
            assert await got.next() == b""
        assert taken.pieces == [b"one", b"two"]
        got.release()


@pytest.mark.parametrize("broken", [b"zz\r\n", b"zz"], ids=["in the same packet", "later"])
async def test_what_came_before_an_error_is_given_first(transport: Transport, broken: bytes) -> None:
    one, two = asyncio.Event(), asyncio.Event()
    together = (chunk(b"two") + broken,) if broken.endswith(b"\n") else (chunk(b"two"), two, broken, RESET)
    async with ScriptedUpstream([raw(HEAD, chunk(b"one"), one, *together, STALL)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        taken = Taken(one, two)
        with pytest.raises(TransportError) as caught:
            await got.pour(taken)
        got.release()
        await upstream.wait_closed(0)
    assert taken.pieces[0] == b"one"
    assert isinstance(transport, StockTransport) or taken.pieces == [b"one", b"two"]
    assert caught.value.fault in (Fault.PROTOCOL, Fault.DISCONNECTED)


async def test_what_a_taker_raises_ends_the_wait_and_the_connection(transport: Transport) -> None:
    def broken(piece: bytes) -> bool:
        raise ZeroDivisionError(piece)

    async with ScriptedUpstream([raw(HEAD, 0.05, chunk(b"one"), STALL)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        with pytest.raises(ZeroDivisionError):
            await got.pour(broken)
        got.release()
        await upstream.wait_closed(0)


async def test_a_wait_that_was_shortened_while_something_came_ends_in_time(transport: Transport) -> None:
    async with ScriptedUpstream([raw(HEAD, 0.05, chunk(b"one"), STALL)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)

        def shorten(piece: bytes) -> bool:
            got.expect_within(0.1, "routes.r.timeouts.total_seconds")
            return True

        with pytest.raises(TransportError) as caught:
            async with asyncio.timeout(SLACK_SECONDS):
                await got.pour(shorten)
        got.release()
    assert (caught.value.fault, caught.value.setting) == (Fault.TIMEOUT, "routes.r.timeouts.total_seconds")


async def test_a_piece_is_given_without_a_turn_of_the_waiting_task(builtin: BuiltinTransport) -> None:
    one, two = asyncio.Event(), asyncio.Event()
    answer = raw(HEAD + chunk(b"one"), one, chunk(b"two"), two, chunk(b"three") + LAST)
    async with ScriptedUpstream([answer]) as upstream:
        got = await builtin.send(get(upstream), TIMEOUTS)
        taken = Taken(one, two)
        await got.pour(taken)
        got.release()
    me = asyncio.current_task()
    assert taken.pieces == [b"one", b"two", b"three"]
    assert taken.tasks == [me, None, me], "what was there before is for the task, and so is the end"


async def test_much_at_once_is_left_to_the_waiting_task(builtin: BuiltinTransport) -> None:
    async with ScriptedUpstream([endless(HEAD, chunk(bytes(MIB)))]) as upstream:
        got = await builtin.send(get(upstream), TIMEOUTS)
        await bytes_until_it_stops(upstream.connections[0])
        taken = Taken(most=8)
        assert await got.pour(taken)
        sizes = [len(piece) for piece, task in zip(taken.pieces, taken.tasks, strict=True) if task is None]
        assert max(sizes, default=0) <= GIVEN_BYTES
        before = await bytes_until_it_stops(upstream.connections[0])
        assert before < 16 * MIB, "nobody takes anything now"
        got.release()


async def test_a_task_that_is_cancelled_while_something_is_given_gets_no_more(builtin: BuiltinTransport) -> None:
    async with ScriptedUpstream([endless(HEAD, chunk(b"piece"))]) as upstream:
        got = await builtin.send(get(upstream), TIMEOUTS)
        taken = Taken()

        def leave(piece: bytes) -> bool:
            pouring.cancel()
            return taken(piece)

        pouring = asyncio.create_task(got.pour(leave))
        await asyncio.wait([pouring])
        assert pouring.cancelled()
        await upstream.wait_closed(0)
        assert len(taken.pieces) == 1


async def test_what_a_taker_raises_that_also_cancels_the_task_is_no_trouble_of_the_loop(
    builtin: BuiltinTransport,
) -> None:
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
    waits = asyncio.Event()

    def leave(piece: bytes) -> bool:
        pouring.cancel()
        raise ZeroDivisionError(piece)

    async with ScriptedUpstream([raw(HEAD, waits, chunk(b"piece"), STALL)]) as upstream:
        got = await builtin.send(get(upstream), TIMEOUTS)
        pouring = asyncio.create_task(got.pour(leave))
        asyncio.get_running_loop().call_soon(waits.set)
        await asyncio.wait([pouring])
        assert pouring.cancelled()
        await upstream.wait_closed(0)
    assert not troubles
