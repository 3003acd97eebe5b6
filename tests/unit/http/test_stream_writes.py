"""What of a streamed response is written together: each write is a system call, and a packet for the client."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from adapters.types import Head, Operation
from gateway.domain import Outcome
from gateway.engine.settle import Settler
from gateway.errors import Draining, Internal
from gateway.http.api.inference import InferenceEndpoint
from gateway.http.edge import Transaction
from gateway.http.guard.exchange import JOIN_BYTES, Exchange
from gateway.http.guard.outbox import Outbox
from gateway.http.ids import Ids
from gateway.routing.route import Plan

EVENT = b'data: {"choices":[]}\n\n'
DONE = b"data: [DONE]\n\n"


class Wire:
    """Notes what is written; plays the connection of a client (gateway.http.guard.exchange.Wire)."""

    def __init__(self) -> None:
        self.bytes_written = 0
        self.is_write_paused = False
        self.outbox = Outbox(asyncio.get_running_loop(), ())
        self.written: list[bytes] = []
        self.has_ended = False
        self.is_waited_for = asyncio.Event()

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))

    async def drain(self) -> None:
        self.is_waited_for.set()
        await asyncio.sleep(0)
        self.is_write_paused = False

    def want_body(self) -> None:
        return

    def first_lines(self, status: int) -> bytes:
        return b"HTTP/1.1 %d OK\r\n" % status

    def ended(self, exchange: Exchange) -> None:
        self.has_ended = True

    def broken(self, exchange: Exchange) -> None:
        raise AssertionError("the response was broken off")

    def abort(self) -> None:
        raise AssertionError("the connection was cut")


def begun() -> tuple[Transaction, Wire]:
    wire = Wire()
    scope = {"http_version": "1.1", "method": "POST", "headers": [], "type": "http"}
    exchange = Exchange(wire, scope, keep_alive=True, awaits_continue=False)
    return Transaction(scope, exchange.receive, exchange.send, Outcome(request_id="r")), wire


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_the_head_goes_out_with_the_first_events_and_the_end_with_the_last_ones() -> None:
    transaction, wire = begun()
    await transaction.begin_stream([])
    assert not transaction.push_frames(EVENT), "nothing may overtake the head"
    await transaction.send_frames(EVENT)
    assert transaction.push_frames(EVENT * 2)
    await transaction.end_stream(DONE)
    first, second, last = wire.written
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\n" + chunk(EVENT))
    assert (second, last) == (chunk(EVENT * 2), chunk(DONE) + b"0\r\n\r\n")
    assert wire.has_ended
    outcome = transaction.outcome
    assert (outcome.chunks, outcome.events, outcome.bytes_out) == (3, 4, len(EVENT * 3 + DONE))


@pytest.mark.parametrize("hindrance", ["slow client", "much at once"])
async def test_what_cannot_go_out_at_once_is_not_pushed_and_not_counted(hindrance: str) -> None:
    transaction, wire = begun()
    await transaction.begin_stream([])
    await transaction.send_frames(EVENT)
    wire.is_write_paused = hindrance == "slow client"
    frames = EVENT if wire.is_write_paused else EVENT * JOIN_BYTES
    assert not transaction.push_frames(frames)
    assert transaction.outcome.chunks == 1
    await transaction.send_frames(frames)
    assert transaction.outcome.chunks == 2
    assert b"".join(wire.written).endswith(chunk(frames))


async def test_an_error_is_an_event_even_if_it_comes_before_the_first_one() -> None:
    transaction, wire = begun()
    await transaction.begin_stream([])
    await transaction.break_stream(Internal("it broke"))
    (whole,) = wire.written
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"it broke" in whole
    assert whole.endswith(b"\n\n\r\n0\r\n\r\n")
    assert wire.has_ended


@pytest.mark.parametrize("answer", ["stream", "whole"])
async def test_what_ends_the_wait_for_a_slow_client_before_the_head_is_out_is_answered_by_an_error(answer: str) -> None:
    transaction, wire = begun()
    wire.is_write_paused = True
    begin = transaction.begin_stream([]) if answer == "stream" else transaction.respond(200, b"{}", [])
    task = asyncio.create_task(begin)
    await wire.is_waited_for.wait()
    task.cancel()
    await asyncio.wait([task])
    assert not transaction.has_started
    wire.is_write_paused = False
    await transaction.respond_error(Draining("the gateway is shutting down"))
    (whole,) = wire.written
    assert whole.startswith(b"HTTP/1.1 503 ")
    assert wire.has_ended


class LateStream:
    """Has all that it says at once, but only when the time of the request is over; its body does not end."""

    head = Head(200)
    first = EVENT + DONE
    is_said = True
    error = usage = model = finish = None
    has_lingered = False

    def __init__(self) -> None:
        self.ends_by = time.monotonic() - 60

    async def next(self, push: object = None) -> bytes:
        return b""

    async def linger(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.has_lingered = True

    async def aclose(self) -> None:
        return


class OneStream:
    """An executor that has this stream."""

    def __init__(self, stream: LateStream) -> None:
        self._stream = stream

    async def run(self, *_: object) -> LateStream:
        return self._stream


async def test_a_connection_is_not_cut_for_time_that_passes_once_the_client_has_everything() -> None:
    unused: Any = None
    stream = LateStream()
    endpoint = InferenceEndpoint(
        Operation.CHAT,
        router=unused, executor=cast(Any, OneStream(stream)), mirror=unused, drain=unused, ids=Ids(),
        max_body_bytes=1, books=unused, gate=unused, settler=Settler(), keeper=unused, repeats=unused,
    )  # fmt: skip
    transaction, wire = begun()
    await endpoint._run(unused, Plan("m", ()), transaction)
    assert b"".join(wire.written).endswith(DONE + b"\r\n0\r\n\r\n")
    assert wire.has_ended
    assert stream.has_lingered
    assert transaction.outcome.error_code is None
