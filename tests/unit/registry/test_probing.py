"""Ejected deployments are asked about for free, and nothing else is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from adapters.failures import Failure, FailureKind
from adapters.types import Operation, Target
from gateway.credentials.keyring import KeyRing
from gateway.domain import ProviderSpec
from gateway.health.vitals import HealthPolicy, Vitals
from gateway.registry.adapters import ADAPTERS, paths_of
from gateway.registry.probing import Prober
from gateway.resilience.consequences import Turn, begin, fail
from gateway.routing.deployment import Deployment
from gateway.secret import Secret
from gateway.transport.control import ControlClient
from tests.upstreams.scripted import FIN, Answer, ScriptedUpstream, json_response, raw, response

SPEC = ProviderSpec("openai", "OpenAI", "openai", "http://127.0.0.1:1/v1")
LIST = json_response({"object": "list", "data": []})
OFTEN = 0.02


def ejected(url: str, *, name: str = "openai/gpt", seconds: float = 600, spec: ProviderSpec = SPEC) -> Deployment:
    policy = HealthPolicy(consecutive_failures=1, ejection_seconds=seconds, max_ejection_seconds=seconds)
    target = Target(model="gpt", base_url=f"{url}/v1", paths={}, has_credential=True)
    ring = KeyRing(spec, (Secret("sk-of-the-probe"),))
    made = Deployment(name, "openai", target, ADAPTERS["openai"], ring, Vitals(policy))
    now = time.monotonic()
    running = begin(made, ring.keys[0], now, is_first=True, charged=None)
    assert [event.turn for event in fail(running, Failure(FailureKind.SERVER, "oops"), now)] == [Turn.EJECTED]
    return made


@asynccontextmanager
async def probing(every_seconds: float = OFTEN) -> AsyncIterator[Prober]:
    client = ControlClient()
    prober = Prober(client, clock=time.monotonic)
    task = asyncio.create_task(prober.run(every_seconds))
    try:
        yield prober
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.005)


async def test_an_answer_ends_the_ejection_and_then_nothing_more_is_asked() -> None:
    async with ScriptedUpstream([LIST]) as upstream, probing() as prober:
        deployment = ejected(upstream.url)
        prober.ejected(deployment)
        await until(lambda: deployment.vitals.obstacle(time.monotonic()) is None)
        await asyncio.sleep(10 * OFTEN)
    (request,) = upstream.requests
    assert (request.method, request.path, request.body) == ("GET", "/v1/models", b"")
    assert request.headers["authorization"] == "Bearer sk-of-the-probe"
    assert deployment.vitals.is_half_open  # the next request sees whether it works


async def test_nothing_is_asked_while_nothing_is_ejected() -> None:
    async with ScriptedUpstream([LIST]) as upstream, probing():
        await asyncio.sleep(10 * OFTEN)
    assert upstream.connections == []


async def test_what_comes_back_by_itself_is_not_asked() -> None:
    async with ScriptedUpstream([LIST]) as upstream, probing(0.1) as prober:
        prober.ejected(ejected(upstream.url, seconds=0.01))
        await asyncio.sleep(0.3)
    assert upstream.connections == []


async def test_one_place_is_asked_once_for_all_its_deployments() -> None:
    async with ScriptedUpstream([LIST]) as upstream, probing() as prober:
        deployments = [ejected(upstream.url, name=f"openai/{number}") for number in range(20)]
        for deployment in deployments:
            prober.ejected(deployment)
        await until(lambda: all(each.vitals.obstacle(time.monotonic()) is None for each in deployments))
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "answer", [json_response({}, 500), json_response({}, 503), raw(FIN)], ids=["500", "503", "cut"]
)
async def test_trouble_is_no_answer_and_it_is_asked_again(answer: Answer) -> None:
    async with ScriptedUpstream([answer, answer, LIST]) as upstream, probing() as prober:
        deployment = ejected(upstream.url)
        prober.ejected(deployment)
        await upstream.wait_for_requests(2)
        assert deployment.vitals.obstacle(time.monotonic()) is not None
        await until(lambda: deployment.vitals.obstacle(time.monotonic()) is None)


@pytest.mark.parametrize("status", [401, 404, 429])
async def test_a_server_that_refuses_is_there(status: int) -> None:
    async with ScriptedUpstream([json_response({}, status)]) as upstream, probing() as prober:
        deployment = ejected(upstream.url)
        prober.ejected(deployment)
        await until(lambda: deployment.vitals.obstacle(time.monotonic()) is None)


async def test_a_provider_without_a_list_is_knocked_at_without_a_key() -> None:
    spec = replace(SPEC, protocol="azure", operations=frozenset({Operation.CHAT}))
    assert Operation.MODELS not in paths_of(spec)
    async with ScriptedUpstream([raw(response(404))]) as upstream, probing() as prober:
        deployment = ejected(upstream.url, spec=spec)
        prober.ejected(deployment)
        await until(lambda: deployment.vitals.obstacle(time.monotonic()) is None)
    assert [(request.path, "authorization" in request.headers) for request in upstream.requests] == [("/", False)]
