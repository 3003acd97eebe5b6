"""Clients that leave, wait, read slowly or say too much: what they cost the upstream and the gateway."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.faults.client import DONE, connected, one_answer, request_bytes, reset, split_answer, talk
from tests.faults.shapes import FINISH, GOOD_STREAM, ROLE, WORDS, delta, event, fine
from tests.faults.stage import SLACK, Scene, Stage, eventually
from tests.upstreams.scripted import STALL, Recorded, Step, chunk, raw, sse_response
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"upstream": {"head_seconds": 60, "between_tokens_seconds": 60, "max_connections": 2000}}
TRIES = 50
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def close(one: socket.socket) -> None:
    """Closes as a program that ends does: FIN, and RST for what comes later."""
    one.close()


leaves = pytest.mark.parametrize("leave", [close, reset], ids=["fin", "rst"])
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


async def assert_closes(
    stage: Stage,
    scene: Scene,
    leave: Callable[[socket.socket], None],
    *,
    stream: bool,
    reads: bool = False,
    status: int = 499,
) -> None:
    """Leaves TRIES times; asserts that each ends the upstream's request, long before a deadline would, and the records.

    Shows the 99th percentile of how long that takes, which is for the reader: it says as much of the machine as of us.
    """
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    for _ in range(TRIES):
        one = connected(stage.port)
        try:
            await loop.sock_sendall(one, request_bytes(scene.body(stream=stream), close=False))
            await scene.heard(len(seconds) + 1)
            got = b""
            while reads and b"lo, " not in got:
                got += await loop.sock_recv(one, 65536)
        finally:
            left = time.monotonic()
            leave(one)
        closed = await stage.upstream.wait_closed(scene.requests[-1].connection, SLACK)
        seconds.append(closed - left)
    assert len(scene.requests) == TRIES
    await assert_cancelled(stage, scene, TRIES, status)
    slowest = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    print(f"{leave.__name__}, stream={stream}, reads={reads}: p99 {slowest * 1000:.1f} ms")


async def assert_cancelled(stage: Stage, scene: Scene, count: int, status: int) -> None:
    """Asserts that each request of the scene left one record that says so, and nothing else."""

    def ours() -> list[dict[str, object]]:
        records = [record for many in stage.gateway.records().values() for record in many]
        return [record for record in records if record["model"] == scene.model]

    await eventually(lambda: len(ours()) >= count)
    assert len(ours()) == count
    assert {(record["status"], record["cancelled"], record["attempts"]) for record in ours()} == {(status, True, 1)}
    assert {record["error"] for record in ours()} == {None}
    await stage.quiet()


@leaves
@both
async def test_leaving_before_the_first_byte_closes_the_upstream(
    stage: Stage, leave: Callable[[socket.socket], None], stream: bool
) -> None:
    await assert_closes(stage, stage.plays(raw(STALL)), leave, stream=stream)


@leaves
async def test_leaving_while_an_upstream_sends_its_json_closes_the_upstream(
    stage: Stage, leave: Callable[[socket.socket], None]
) -> None:
    played = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", STALL)
    await assert_closes(stage, stage.plays(played), leave, stream=False)


@leaves
async def test_leaving_after_quiet_events_closes_the_upstream(
    stage: Stage, leave: Callable[[socket.socket], None]
) -> None:
    played = raw(CHUNKED, chunk(event(ROLE)), STALL)
    await assert_closes(stage, stage.plays(played), leave, stream=True)


@leaves
async def test_leaving_in_the_middle_of_a_stream_closes_the_upstream(
    stage: Stage, leave: Callable[[socket.socket], None]
) -> None:
    played = raw(CHUNKED, *(chunk(event(part)) for part in (ROLE, *WORDS)), STALL)
    await assert_closes(stage, stage.plays(played), leave, stream=True, reads=True, status=200)


@leaves
async def test_leaving_while_the_upstream_goes_on_sending_closes_it(
    stage: Stage, leave: Callable[[socket.socket], None]
) -> None:
    def endless() -> Iterator[Step]:
        yield CHUNKED
        while True:
            yield chunk(event(delta(content="lo, ")))
            yield 0.002

    scene = stage.plays(lambda recorded: Played(endless()))
    await assert_closes(stage, scene, leave, stream=True, reads=True, status=200)


@leaves
async def test_leaving_while_uploading_calls_nobody(stage: Stage, leave: Callable[[socket.socket], None]) -> None:
    scene = stage.plays(fine())
    loop = asyncio.get_running_loop()
    data = request_bytes(scene.body(padding="x" * 200_000))
    for cut in (1, 60, 200, 400, 100_000, len(data) - 1):
        one = connected(stage.port)
        await loop.sock_sendall(one, data[:cut])
        await asyncio.sleep(0.01)
        leave(one)
    await stage.quiet()
    assert not scene.requests
    assert scene.model not in stage.gateway.access_path.read_text()


# Half-closed and pipelining clients


@both
async def test_a_client_that_ended_its_side_gets_its_answer(stage: Stage, stream: bool) -> None:
    good = sse_response(GOOD_STREAM, gap_seconds=0.03) if stream else Played([0.15, *fine("late").steps])
    scene = stage.plays(good)
    data = request_bytes(scene.body(stream=stream), close=False)
    answer = one_answer(await talk(stage.port, data, half_close=True))
    assert answer.status == 200
    assert (answer.event_error is None) if stream else (b"late" in answer.body)
    await stage.settled(answer)


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    def script(recorded: Recorded) -> Played:
        number = json.loads(recorded.body)["seed"]
        return Played([0.003 * (number % 3), *fine(f"answer {number}").steps])

    scene = stage.plays(script)
    count = 40
    requests = (
        request_bytes(
            scene.body(seed=number), close=number == count - 1, headers={"x-request-id": f"pipelined-{number}"}
        )
        for number in range(count)
    )
    data = b"".join(requests)
    rest = await talk(stage.port, data)
    for number in range(count):
        answer, rest = split_answer(rest)
        assert answer.id == f"pipelined-{number}"
        assert answer.json["choices"][0]["message"]["content"] == f"answer {number}"
    assert not rest
    assert [json.loads(request.body)["seed"] for request in scene.requests] == list(range(count))
    await stage.quiet()


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["same packet", "later"])
async def test_garbage_behind_a_good_request_is_refused_and_never_mixed_up(stage: Stage, pause: float) -> None:
    scene = stage.plays(Played([0.05, *fine().steps]))
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request_bytes(scene.body(), close=False))
    await asyncio.sleep(pause)
    writer.write(b"POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n" + request_bytes(scene.body()))
    async with asyncio.timeout(SLACK):
        rest = await reader.read(-1)
    writer.transport.abort()
    statuses: list[int] = []
    while rest:
        answer, rest = split_answer(rest)
        statuses.append(answer.status)
    assert statuses in ([400], [200, 400])
    assert len(scene.requests) <= 1
    await stage.quiet()


# Slow readers


KERNEL_BYTES = 16 * 1024 * 1024
"""What the socket buffers of two loopback connections may hold after they have grown."""
PER_STREAM_BYTES = 1024 * 1024
BIG = event(delta(content="x" * 4000))
BIG_BODY = event(ROLE) + BIG * 9_000 + event(FINISH) + DONE


def _steps() -> list[Step]:
    size = 65_536
    pieces = [chunk(BIG_BODY[at : at + size]) for at in range(0, len(BIG_BODY), size)]
    return [CHUNKED, *pieces, b"0\r\n\r\n"]


async def _settle_down(read: Callable[[], int]) -> int:
    """Returns the value of `read` once it has not changed for a while."""
    last, since = read(), time.monotonic()
    while time.monotonic() - since < 0.3:
        await asyncio.sleep(0.02)
        if (now := read()) != last:
            last, since = now, time.monotonic()
    return last


@asynccontextmanager
async def stuck(stage: Stage, scene: Scene, count: int) -> AsyncIterator[list[socket.socket]]:
    """Has `count` clients that read nothing of a big stream, and waits until nothing moves any more."""
    loop = asyncio.get_running_loop()
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(connected(stage.port, receive_buffer=4096))
            await loop.sock_sendall(clients[-1], request_bytes(scene.body(stream=True)))
        await scene.heard(count)
        await _settle_down(lambda: sum(peer.sent_bytes for peer in stage.upstream.connections))
        yield clients
    finally:
        for one in clients:
            reset(one)


async def test_a_client_that_stops_reading_stops_the_upstream_and_gets_everything_later(stage: Stage) -> None:
    scene = stage.plays(raw(*_steps()))
    loop = asyncio.get_running_loop()
    async with stuck(stage, scene, 1) as (one,):
        peer = stage.upstream.connections[scene.requests[0].connection]
        assert peer.sent_bytes < PER_STREAM_BYTES + KERNEL_BYTES
        received = bytearray()
        async with asyncio.timeout(40):
            while data := await loop.sock_recv(one, 262_144):
                received += data
    answer = one_answer(bytes(received))
    assert answer.body == BIG_BODY
    await stage.settled(answer)


SLOW = {"x-request-id": "reads-too-slowly", "x-request-timeout": "1"}


async def test_a_client_that_reads_slower_than_the_time_of_its_request_allows_is_cut_off(stage: Stage) -> None:
    scene = stage.plays(raw(*_steps()))
    loop = asyncio.get_running_loop()
    one = connected(stage.port, receive_buffer=4096)
    try:
        await loop.sock_sendall(one, request_bytes(scene.body(stream=True), headers=SLOW))
        await scene.heard(1)
        await stage.upstream.wait_closed(scene.requests[0].connection, 2 + SLACK)
        await stage.quiet()
    finally:
        reset(one)
    record = await stage.gateway.record(SLOW["x-request-id"])
    assert (record["error"], record["cancelled"], record["status"]) == ("client_too_slow", True, 499)


async def test_a_client_that_stops_reading_costs_bounded_memory(stage: Stage) -> None:
    first = stage.plays(lambda recorded: raw(*_steps()))
    more = stage.plays(lambda recorded: raw(*_steps()))
    async with stuck(stage, first, 8):
        few = stage.gateway.rss_bytes()
        async with stuck(stage, more, 16):
            each = (stage.gateway.rss_bytes() - few) / 16
            print(f"a stream whose client does not read: {each / 1024:.0f} KiB")
            assert each <= PER_STREAM_BYTES
            assert (await stage.plays(fine()).ask()).status == 200
    await assert_cancelled(stage, more, 16, 200)


# Many at once


@leaves
async def test_hundreds_of_clients_leaving_at_once_hurt_nobody(
    stage: Stage, leave: Callable[[socket.socket], None]
) -> None:
    count = 500
    scene = stage.plays(raw(CHUNKED, *(chunk(event(part)) for part in (ROLE, *WORDS)), STALL))
    loop = asyncio.get_running_loop()
    clients: list[socket.socket] = []
    for _ in range(count):
        one = connected(stage.port)
        await loop.sock_sendall(one, request_bytes(scene.body(stream=True), close=False))
        clients.append(one)
    await scene.heard(count, 40)
    for one in clients:
        leave(one)
    answer = await stage.plays(fine()).ask()
    assert answer.status == 200
    for request in scene.requests:
        await stage.upstream.wait_closed(request.connection, SLACK)
    await stage.quiet(20)


async def test_leaving_again_and_again_leaks_nothing(stage: Stage) -> None:
    scene = stage.plays(raw(STALL))
    loop = asyncio.get_running_loop()

    async def leave_once() -> None:
        one = connected(stage.port)
        await loop.sock_sendall(one, request_bytes(scene.body(), close=False))
        await asyncio.sleep(0.002)
        reset(one)

    for _ in range(40):
        await asyncio.gather(*(leave_once() for _ in range(25)))
    await stage.quiet(20)
    for _ in range(5):
        assert (await stage.plays(fine()).ask()).status == 200
    await eventually(lambda: stage.upstream.open_connections <= 1, 20)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(stage: Stage) -> AsyncIterator[None]:
    yield
    await stage.quiet()
    assert "Traceback" not in stage.gateway.log
