"""Clients that leave while attempts, pauses and hedges are under way: everything ends at once, nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.faults.client import connected, request_bytes, reset
from tests.faults.official import count, hear, sdk
from tests.faults.shapes import ROLE, WORDS, fine
from tests.faults.stage import SLACK, Scene, Stage, eventually
from tests.faults.streaming import stream_of
from tests.faults.trouble import said
from tests.upstreams.scripted import STALL, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEDGE_SECONDS = 0.05
SETTINGS = {
    "upstream": {"head_seconds": 30, "answer_seconds": 30, "between_tokens_seconds": 30},
    "routes": {
        "hedged-*": {
            "strategy": "ordered",
            "deployments": [{"model": "up/*"}, {"model": "second/*"}],
            "hedge": {"after_seconds": HEDGE_SECONDS, "share": 1},
        },
    },
}
leaves = pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
Leave = Callable[[socket.socket], None]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(stage: Stage) -> AsyncIterator[None]:
    yield
    await stage.quiet()
    assert "Traceback" not in stage.gateway.log
    assert "never retrieved" not in stage.gateway.log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


async def begin(stage: Stage, scene: Scene, *, stream: bool) -> socket.socket:
    """Sends a request and returns its connection."""
    one = connected(stage.port)
    await asyncio.get_running_loop().sock_sendall(one, request_bytes(scene.body(stream=stream), close=False))
    return one


async def cancelled(stage: Stage, model: str, attempts: int, status: int = 499) -> dict[str, Any]:
    """Asserts that the request left one record that says so; returns it."""

    def ours() -> list[dict[str, Any]]:
        return [one for many in stage.gateway.records().values() for one in many if one["model"] == model]

    await eventually(ours)
    (record,) = ours()
    assert (record["status"], record["cancelled"], record["error"]) == (status, True, None)
    assert record["attempts"] == attempts
    await stage.quiet()
    return record


@leaves
@both
async def test_leaving_during_the_second_attempt_closes_it(stage: Stage, leave: Leave, stream: bool) -> None:
    first = stage.plays(said(500)())
    second = stage.beside(first, raw(STALL))
    one = await begin(stage, first, stream=stream)
    await second.heard(1)
    leave(one)
    await second.closed()
    await cancelled(stage, first.model, 2)
    assert count(first, second) == (1, 1)


@leaves
async def test_leaving_in_the_middle_of_the_stream_of_a_second_attempt_closes_it(stage: Stage, leave: Leave) -> None:
    first = stage.plays(said(503)())
    second = stage.beside(first, stream_of(ROLE, *WORDS, end=(STALL,)))
    one = await begin(stage, first, stream=True)
    got = b""
    while b"lo, " not in got:
        got += await asyncio.get_running_loop().sock_recv(one, 65_536)
    leave(one)
    await second.closed()
    await cancelled(stage, first.model, 2, status=200)


@leaves
@both
async def test_leaving_during_a_pause_ends_it_and_nobody_is_asked_again(
    stage: Stage, leave: Leave, stream: bool
) -> None:
    scene = stage.plays(said(429, ("retry-after-ms", "1500"))(), fine())
    one = await begin(stage, scene, stream=stream)
    await scene.heard(1)
    await asyncio.sleep(0.05)
    left = time.monotonic()
    leave(one)
    await cancelled(stage, scene.model, 1)
    assert time.monotonic() - left < 1.4, "the pause has not been sat out"
    await asyncio.sleep(max(0.0, left + 1.6 - time.monotonic()))
    assert count(scene) == (1,)


@leaves
@both
async def test_leaving_while_two_deployments_are_asked_closes_both(stage: Stage, leave: Leave, stream: bool) -> None:
    first = stage.plays(raw(STALL))
    second = stage.beside(first, raw(STALL))
    first.model = f"hedged-{first.name}"
    one = await begin(stage, first, stream=stream)
    await first.heard(1)
    await second.heard(1)
    leave(one)
    await first.closed()
    await second.closed()
    await cancelled(stage, first.model, 2)


@both
async def test_the_slower_of_two_deployments_is_closed_at_once_when_the_other_answers(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    first = stage.plays(raw(STALL))
    stage.beside(first, stream_of(ROLE, *WORDS, json_end()) if stream else fine("Hello, wörld"))
    heard = await hear(client, f"hedged-{first.name}", stream=stream)
    assert (heard.text, heard.error) == ("Hello, wörld", None)
    await first.closed(within=5)
    await eventually(lambda: heard.id in stage.gateway.records())
    (record,) = stage.gateway.records()[heard.id]
    assert (record["attempts"], record["hedged"], record["provider"]) == (2, True, "second")


def json_end() -> bytes:
    """Returns a finish and the end of a stream."""
    finish = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    finish |= {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return b"data: " + json.dumps(finish).encode() + b"\n\ndata: [DONE]\n\n"


async def test_leaving_hundreds_of_times_at_any_moment_leaks_nothing(stage: Stage) -> None:
    scenes: list[tuple[Scene, Scene]] = []
    for slow in (raw(STALL), said(500)(), said(429, ("retry-after-ms", "300"))()):
        first = stage.plays(slow)
        scenes.append((first, stage.beside(first, raw(STALL))))
    hedged = stage.plays(raw(STALL))
    scenes.append((hedged, stage.beside(hedged, stream_of(ROLE, end=(STALL,)))))
    hedged.model = f"hedged-{hedged.name}"

    async def leave_once(number: int) -> None:
        one = await begin(stage, scenes[number % 4][0], stream=number % 8 > 3)
        await asyncio.sleep(number % 50 / 500)
        (reset if number % 3 else socket.socket.close)(one)

    for start in range(0, 400, 50):
        await asyncio.gather(*(leave_once(number) for number in range(start, start + 50)))
    await stage.quiet(20)
    for scene, other in scenes:
        for each in (scene, other):
            for number in range(len(each.requests)):
                await each.closed(number, SLACK)


async def test_a_user_of_the_sdk_that_gives_up_closes_the_upstream(stage: Stage, client: openai.AsyncOpenAI) -> None:
    first = stage.plays(said(500)())
    second = stage.beside(first, raw(STALL))
    asking = asyncio.create_task(hear(client, first.model, stream=True))
    await second.heard(1)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await second.closed()
    await cancelled(stage, first.model, 2)
