"""Deployments that are given only so much: what is over it goes elsewhere, waits a little, or is told when to come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from tests.faults.client import connected, request_bytes, reset
from tests.faults.official import count, hear, sdk
from tests.faults.shapes import fine
from tests.faults.stage import SLACK, Settings, Stage, eventually
from tests.faults.streaming import GOOD_BODY, stream_of
from tests.upstreams.scripted import STALL, Step, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
PER_MINUTE = 3


def route(limits: Settings, *others: str, **more: object) -> Settings:
    deployments = [{"model": "up/*", "name": f"limited-by-{'-'.join(limits)}{len(others)}", "limits": limits}]
    return {"strategy": "ordered", "deployments": [*deployments, *({"model": each} for each in others)], **more}


SETTINGS = {
    "routes": {
        "one-at-a-time-*": route({"max_in_flight": 1}),
        "one-then-second-*": route({"max_in_flight": 1}, "second/*"),
        "few-a-minute-*": route({"requests_per_minute": PER_MINUTE}),
        "few-then-second-*": route({"requests_per_minute": PER_MINUTE}, "second/*"),
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(stage: Stage) -> AsyncIterator[None]:
    yield
    await stage.quiet()
    assert "Traceback" not in stage.gateway.log


async def test_requests_wait_for_room_and_are_served_one_after_the_other(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    at_work, most = 0, 0

    def slow() -> Played:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)

        def steps() -> Iterator[Step]:
            nonlocal at_work
            yield 0.05
            at_work -= 1
            yield from fine().steps

        return Played(steps())

    scene = stage.plays(lambda recorded: slow())
    heard = await asyncio.gather(*(hear(client, f"one-at-a-time-{scene.name}", stream=False) for _ in range(6)))
    assert [one.text for one in heard] == ["fine"] * 6
    assert most == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_what_is_over_a_limit_goes_to_the_next_deployment_at_once(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    scene = stage.plays(raw(STALL))
    second = stage.beside(scene, stream_of(GOOD_BODY) if stream else fine("Hello, wörld"))
    model = f"one-then-second-{scene.name}"
    waiting = asyncio.create_task(hear(client, model, stream=stream))
    await scene.heard(1)
    heard = await hear(client, model, stream=stream)
    assert (heard.text, heard.headers["x-anyport-attempts"]) == ("Hello, wörld", "1")
    assert count(scene, second) == (1, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await scene.closed()


async def test_a_client_that_leaves_gives_its_place_back(stage: Stage, client: openai.AsyncOpenAI) -> None:
    scene = stage.plays(raw(STALL), fine())
    scene.model = f"one-at-a-time-{scene.name}"
    one = connected(stage.port)
    await asyncio.get_running_loop().sock_sendall(one, request_bytes(scene.body(), close=False))
    await scene.heard(1)
    next_one = asyncio.create_task(hear(client, scene.model, stream=False))
    await asyncio.sleep(0.1)
    assert count(scene) == (1,)
    reset(one)
    assert (await next_one).text == "fine"


async def test_a_limit_that_is_used_up_is_told_with_the_time_of_the_next_request(stage: Stage) -> None:
    scene = stage.plays(fine())
    scene.model = f"few-a-minute-{scene.name}"
    for _ in range(PER_MINUTE):
        assert (await scene.ask()).status == 200
    began = time.monotonic()
    answer = await scene.ask()
    assert time.monotonic() - began < SLACK
    assert (answer.status, answer.error["code"]) == (429, "deployment_limit")
    assert answer.error["type"] == "rate_limit_error"
    assert 60 / PER_MINUTE - SLACK <= int(answer.headers["retry-after"]) <= 60 / PER_MINUTE
    assert answer.headers["x-should-retry"] == "true", "nobody was asked"
    assert "limits.requests_per_minute" in answer.error["message"]
    assert count(scene) == (PER_MINUTE,)
    await stage.settled(answer, error="deployment_limit", attempts=0)


async def test_many_at_once_get_no_more_of_a_limit_than_there_is_and_none_is_lost(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    scene = stage.plays(fine("first"))
    second = stage.beside(scene, fine("second"))
    heard = await asyncio.gather(*(hear(client, f"few-then-second-{scene.name}", stream=False) for _ in range(40)))
    assert [one.error for one in heard] == [None] * 40
    assert count(scene, second) == (PER_MINUTE, 40 - PER_MINUTE)
    await eventually(lambda: all(one.id in stage.gateway.records() for one in heard))
