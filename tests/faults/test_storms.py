"""Many requests at once while upstreams are in trouble: nothing is lost that could be served, nothing is multiplied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import openai
import pytest
import pytest_asyncio

from tests.faults.official import Heard, count, hear, sdk, settled
from tests.faults.shapes import fine
from tests.faults.stage import SLACK, Scene, Stage, closed_port, eventually
from tests.faults.trouble import said
from tests.upstreams.scripted import RESET, Recorded, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
WINDOW_SECONDS, FLOOR_PER_SECOND, SHARE = 10, 3, 0.2
"""Of the retry budget, as it is without a setting."""
RECOVERY_SECONDS = 10
CLOSED_PORT = closed_port()
SETTINGS = {
    "providers": {"refused": {"base_url": f"http://127.0.0.1:{CLOSED_PORT}/v1", "requires_credential": False}},
    "routes": {
        "refused-*": {"strategy": "ordered", "deployments": [{"model": "refused/*"}, {"model": "second/*"}]},
        "generous-*": {
            "strategy": "ordered",
            "deployments": [{"model": "up/*"}, {"model": "second/*"}],
            "retry": {"budget_floor_per_second": 20},
        },
        "spread-*": {"deployments": [{"model": "up/*"}, {"model": "second/*"}, {"model": "third/*"}]},
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


async def many(client: openai.AsyncOpenAI, model: str, count: int, at_once: int = 64) -> list[Heard]:
    """Asks `count` times, so many at once."""
    turns = asyncio.Semaphore(at_once)

    async def one() -> Heard:
        async with turns:
            return await hear(client, model, stream=False)

    return await asyncio.gather(*(one() for _ in range(count)))


def statuses(heard: Sequence[Heard]) -> dict[int, int]:
    return {status: sum(one.status == status for one in heard) for status in {one.status for one in heard}}


@pytest.mark.parametrize(
    ("name", "route", "at_once"),
    [
        ("refused", "refused", 64),
        ("reset", "two", WINDOW_SECONDS * FLOOR_PER_SECOND - 6),
        ("internal error", "two", WINDOW_SECONDS * FLOOR_PER_SECOND - 6),
        ("reset", "generous", 64),
        ("internal error", "generous", 64),
        ("too many requests", "generous", 64),
    ],
)
async def test_of_requests_at_once_that_the_budget_allows_for_none_is_lost_while_another_deployment_works(
    stage: Stage, client: openai.AsyncOpenAI, name: str, route: str, at_once: int
) -> None:
    plays = {"reset": lambda: raw(RESET), "too many requests": said(429)}.get(name, said(500))
    first = stage.plays(lambda recorded: plays())
    second = stage.beside(first, fine())
    heard = await many(client, f"{route}-{first.name}", at_once)
    assert statuses(heard) == {200: at_once}
    assert count(second) == (at_once,)
    for one in heard:
        await eventually(lambda one=one: one.id in stage.gateway.records())
    await stage.quiet()


@pytest.mark.parametrize("route", ["three", "spread"])
async def test_where_every_deployment_fails_retries_stay_within_their_budget(stage: Stage, route: str) -> None:
    scene, others = _three(stage, said(500)())
    offered, first_seen = 300, time.monotonic()
    async with sdk(stage, max_retries=2) as patient:
        heard = await many(patient, f"{route}-{scene.name}", offered)
    windows = (time.monotonic() - first_seen) // WINDOW_SECONDS + 1
    assert statuses(heard) == {502: offered}
    assert len({one.id for one in heard}) == offered
    attempts = sum(count(scene, *others))
    floor = FLOOR_PER_SECOND * WINDOW_SECONDS * 3 * windows
    assert attempts <= (1 + SHARE) * offered + floor, f"{attempts} attempts for {offered} requests"
    records = [stage.gateway.records()[one.id] for one in heard]
    assert sum(record["attempts"] for (record,) in records) == attempts
    await stage.quiet()


def _three(stage: Stage, *answers: Played) -> tuple[Scene, list[Scene]]:
    scene = stage.plays(*answers)
    return scene, [stage.beside(scene, *answers, place=place) for place in (1, 2)]


async def test_clients_that_try_again_are_told_not_to_so_that_nobody_multiplies(stage: Stage) -> None:
    scene = stage.plays(said(500)())
    async with sdk(stage, max_retries=2) as patient:
        heard = await hear(patient, scene.model, stream=False)
    assert heard.status == 502
    assert count(scene) == (2,), "the gateway's own two attempts, and none of the client's"
    await settled(stage, heard, attempts=2, within=1)


async def test_an_ejected_deployment_gets_single_requests_to_see_and_all_of_them_after_it_has_healed(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    is_well = False

    def plays(recorded: Recorded) -> Played:
        return fine("first") if is_well else Played([0.02, *said(500)().steps])

    first = stage.plays(plays)
    second = stage.beside(first, fine("second"))
    for _ in range(5):
        assert (await hear(client, first.model, stream=False)).text == "second"
    ejected = time.monotonic()
    assert count(first) == (5,)
    while time.monotonic() < ejected + 0.8:
        assert (await hear(client, first.model, stream=False)).text == "second"
    assert count(first) == (5,), "nothing goes to what has just been ejected"
    await asyncio.sleep(max(0.0, ejected + 1.05 - time.monotonic()))
    heard = await many(client, first.model, 32, 32)
    assert {one.text for one in heard} == {"second"}
    assert count(first) == (6,), "of many at once, one sees whether it works again"
    is_well = True
    healed = time.monotonic()
    while (await hear(client, first.model, stream=False)).text != "first":
        assert time.monotonic() < healed + RECOVERY_SECONDS + SLACK
        await asyncio.sleep(0.05)
    assert {one.text for one in await many(client, first.model, 16)} == {"first"}
    assert sum(count(first, second)) == len(second.requests) + 6 + 1 + 16
    await stage.quiet()


async def test_a_route_that_failed_altogether_serves_everything_after_it_has_healed(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    is_well = False
    scene = stage.plays(lambda recorded: fine() if is_well else said(500)())
    others = [stage.beside(scene, lambda recorded: fine() if is_well else said(500)(), place=n) for n in (1, 2)]
    model = f"spread-{scene.name}"
    assert statuses(await many(client, model, 60)) == {502: 60}
    is_well = True
    healed = time.monotonic()
    before = count(scene, *others)
    while statuses(await many(client, model, 8)) != {200: 8}:
        assert time.monotonic() < healed + RECOVERY_SECONDS + SLACK
    while not all(now > then for now, then in zip(count(scene, *others), before, strict=True)):
        assert time.monotonic() < healed + RECOVERY_SECONDS + SLACK
        assert statuses(await many(client, model, 8)) == {200: 8}
        await asyncio.sleep(0.1)
    await stage.quiet()


async def test_the_only_deployment_is_asked_once_a_second_while_no_connection_comes_about(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    model = f"refused/{stage.plays(fine()).name}"
    for _ in range(3):
        assert (await hear(client, model, stream=False)).code == "upstream_connection_error"
    began = time.monotonic()
    heard = await many(client, model, 64)
    seconds = time.monotonic() - began
    assert statuses(heard) == {502: 64}
    assert {one.code for one in heard} == {"upstream_connection_error"}
    assert {one.headers.get("retry-after") for one in heard} >= {"1"}
    for one in heard:
        await eventually(lambda one=one: one.id in stage.gateway.records())
    attempts = [stage.gateway.records()[one.id][0]["attempts"] for one in heard]
    assert sum(attempts) <= seconds + 3
    await stage.quiet()
