"""The end of the process: what runs may finish, what cannot is told so, and nothing hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.client import DONE, Answer, one_answer, request_bytes, talk
from tests.faults.shapes import FINISH, ROLE, WORDS, delta, event, fine
from tests.faults.stage import SLACK, Scene, Stage, eventually, staged
from tests.upstreams.scripted import STALL, Step, chunk, json_response, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DELAY, GRACE = 1.0, 2.0


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    server = {"drain_delay_seconds": DELAY, "grace_seconds": GRACE}
    async with staged(tmp_path, {"server": server}) as made:
        yield made


def slow_words(seconds: float, count: int = 10) -> tuple[Played, bytes]:
    """Returns a stream that takes so long in all, and its body."""
    parts = [event(value) for value in (ROLE, *WORDS, *(delta(content=f" {n}") for n in range(count)), FINISH)]
    body = b"".join(parts) + DONE
    steps: list[Step] = [CHUNKED]
    for part in parts:
        steps += [chunk(part), seconds / len(parts)]
    return Played([*steps, chunk(DONE), b"0\r\n\r\n"]), body


def endless() -> Played:
    return raw(CHUNKED, *(chunk(event(part)) for part in (ROLE, *WORDS)), STALL)


async def refuses(port: int) -> bool:
    """Returns whether a new connection is refused."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


async def until_all_stream(stage: Stage, running: list[asyncio.Task[Answer]], heard: list[Scene]) -> None:
    await eventually(lambda: sum(len(scene.requests) for scene in heard) == len(running))
    await asyncio.sleep(0.05)  # the first events reach the gateway
    assert not any(task.done() for task in running)


async def test_streams_that_end_within_the_grace_are_whole_and_the_others_are_told(stage: Stage) -> None:
    played, body = slow_words(0.9)
    ends = stage.plays(lambda recorded: Played(played.steps))
    stays = stage.plays(lambda recorded: endless())
    running = [asyncio.create_task(ends.ask(stream=True)) for _ in range(25)]
    running += [asyncio.create_task(stays.ask(stream=True)) for _ in range(25)]
    await until_all_stream(stage, running, [ends, stays])

    signalled = time.monotonic()
    stage.gateway.signal(signal.SIGTERM)
    await asyncio.sleep(0.05)
    ready = await stage.gateway.get("/health/ready")
    assert (ready.status, ready.json) == (503, {"status": "draining"})
    assert (await stage.gateway.get("/health/live")).status == 200
    late = await stage.plays(fine("late")).ask()  # a load balancer may need the delay to notice
    assert (late.status, late.json["choices"][0]["message"]["content"]) == (200, "late")
    assert time.monotonic() - signalled < DELAY
    while not await refuses(stage.port):
        assert time.monotonic() - signalled < DELAY + 0.4 + SLACK
        await asyncio.sleep(0.02)
    assert time.monotonic() - signalled > DELAY - 0.05

    answers = await asyncio.gather(*running)
    told_at = time.monotonic() - signalled
    assert DELAY + GRACE - 0.1 < told_at < DELAY + GRACE + SLACK
    for answer in answers[:25]:
        assert (answer.status, answer.body) == (200, body)
    for answer in answers[25:]:
        error = answer.event_error
        assert error is not None
        assert (error["code"], error["type"]) == ("server_shutting_down", "server_error")
        assert answer.text == "Hello, wörld"
    assert await stage.gateway.exit_code() == 0
    assert time.monotonic() - signalled < DELAY + GRACE + SLACK
    await assert_recorded(stage, answers)


async def assert_recorded(stage: Stage, answers: list[Answer]) -> None:
    """Asserts that every request has one record, although the process is gone."""
    records = stage.gateway.records()
    for answer in answers:
        (record,) = records[answer.id]
        assert (record["status"], record["cancelled"]) == (200, False)
        expected = None if answer.event_error is None else "server_shutting_down"
        assert record["error"] == expected
    assert "Traceback" not in stage.gateway.log


async def test_a_request_without_an_answer_at_the_end_of_the_grace_gets_a_503(stage: Stage) -> None:
    silent = stage.plays(raw(STALL))
    pausing = stage.plays(json_response({"error": {"message": "slow down"}}, 429, [("retry-after", "9")]))
    failing = stage.plays(json_response({"error": {"message": "boom"}}, 500))
    second = stage.beside(failing, raw(STALL))
    asked = [(silent, False), (silent, True), (pausing, True), (failing, False), (failing, True)]
    running = [asyncio.create_task(scene.ask(stream=stream)) for scene, stream in asked]
    await until_all_stream(stage, running[:3], [silent, pausing])
    await second.heard(2)
    stage.gateway.signal(signal.SIGTERM)
    for answer in await asyncio.gather(*running):
        assert (answer.status, answer.error["code"]) == (503, "server_shutting_down")
        assert answer.headers["x-should-retry"] == "true"
        assert answer.headers["retry-after"] == "1"
    assert await stage.gateway.exit_code() == 0
    records = [record for (record,) in stage.gateway.records().values()]
    assert [(record["status"], record["error"]) for record in records] == [(503, "server_shutting_down")] * 5
    assert sorted(record["attempts"] for record in records) == [1, 1, 1, 2, 2]
    assert "ending after SIGTERM; requests under way: 5" in stage.gateway.log
    assert stage.gateway.log.rstrip().endswith("ended")
    assert "Traceback" not in stage.gateway.log


async def test_a_second_signal_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    async with staged(tmp_path, {"server": {"grace_seconds": 30}}) as stage:
        stays = stage.plays(lambda recorded: endless())
        running = [asyncio.create_task(stays.ask(stream=True)) for _ in range(10)]
        await until_all_stream(stage, running, [stays])
        stage.gateway.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in running)
        second = time.monotonic()
        stage.gateway.signal(signal.SIGTERM)
        for answer in await asyncio.gather(*running):
            assert answer.event_error is not None
            assert answer.event_error["code"] == "server_shutting_down"
        assert await stage.gateway.exit_code() == 130
        assert time.monotonic() - second < SLACK
        assert len(stage.gateway.records()) == 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "with kept connections"])
async def test_a_signal_while_nothing_runs_ends_the_process_at_once(tmp_path: Path, number: int, warm: bool) -> None:
    async with staged(tmp_path, {"server": {"grace_seconds": 30}}) as stage:
        writer = None
        if warm:
            assert (await stage.plays(fine()).ask()).status == 200
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(request_bytes(stage.plays(fine()).body(), close=False))
            assert (await reader.read(1)) == b"H"
        signalled = time.monotonic()
        stage.gateway.signal(number)
        assert await stage.gateway.exit_code() == 0
        assert time.monotonic() - signalled < 1 + SLACK
        if writer is not None:
            writer.transport.abort()
        assert "Traceback" not in stage.gateway.log


async def test_an_upload_that_is_under_way_may_finish(stage: Stage) -> None:
    scene = stage.plays(fine("in time"))
    data = request_bytes(scene.body(padding="x" * 100_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(data[:50_000])
    await asyncio.sleep(0.1)
    stage.gateway.signal(signal.SIGTERM)
    await asyncio.sleep(DELAY + 0.2)
    writer.write(data[50_000:])
    async with asyncio.timeout(DELAY + GRACE + SLACK):
        answer = one_answer(await reader.read(-1))
    writer.transport.abort()
    assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "in time")
    assert await stage.gateway.exit_code() == 0


async def test_a_client_that_reads_nothing_cannot_hold_the_process(stage: Stage) -> None:
    def flood() -> Any:
        yield CHUNKED
        while True:
            yield chunk(event(delta(content="x" * 4000)))
            yield 0.0

    scene = stage.plays(lambda recorded: Played(flood()))
    _, writer = await asyncio.open_connection("127.0.0.1", stage.port, limit=1024)
    writer.transport.pause_reading()
    writer.write(request_bytes(scene.body(stream=True)))
    await scene.heard(1)
    await asyncio.sleep(0.3)
    stage.gateway.signal(signal.SIGTERM)
    await stage.gateway.exit_code(DELAY + GRACE + SLACK)
    writer.transport.abort()


async def test_connections_close_after_their_answer_while_draining(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    scene = stage.plays(fine())
    writer.write(request_bytes(scene.body(), close=False))
    async with asyncio.timeout(DELAY + GRACE + SLACK):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200" in head.split(b"\r\n")[0]
        stage.gateway.signal(signal.SIGTERM)
        await reader.read(-1)
    writer.transport.abort()
    assert await stage.gateway.exit_code() == 0


async def test_nothing_listens_when_the_process_is_gone(stage: Stage) -> None:
    stage.gateway.signal(signal.SIGTERM)
    assert await stage.gateway.exit_code() == 0
    with pytest.raises(ConnectionRefusedError):
        await talk(stage.port, b"")


async def test_nothing_follows_half_of_an_event_that_a_slow_client_could_not_take(stage: Stage) -> None:
    big = event(delta(content="x" * 15_000_000))  # more than the buffers of both sockets hold
    scene = stage.plays(raw(CHUNKED, chunk(event(WORDS[0])), 0.1, chunk(big), STALL))
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request_bytes(scene.body(stream=True)))
    got = await reader.readuntil(b"xxxx")
    writer.transport.pause_reading()
    stage.gateway.signal(signal.SIGTERM)
    await asyncio.sleep(DELAY + GRACE + 0.3)
    writer.transport.resume_reading()
    got += await reader.read()
    writer.close()
    assert len(got) < len(big), "the client was quick enough: this proves nothing"
    assert got.endswith(b"xxxx")
    assert await stage.gateway.exit_code() == 0
