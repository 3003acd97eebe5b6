"""Two replicas with the configuration of compose.yaml, behind the balancer with its own, on real servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.deploy.balancer import CHECK_SECONDS, Kind, balancer, kinds
from tests.deploy.replicas import ROUTE, Replica, Replicas
from tests.e2e.answers import completion, text_chunks
from tests.upstreams.scripted import Answer, Recorded, json_response, sse_response

SLACK_SECONDS = 30.0
QUESTION = {"model": ROUTE, "messages": [{"role": "user", "content": "Hello!"}]}

# The small proxy passes all of these as well; test_balancer.py holds it to the same behaviour.
pytestmark = [pytest.mark.parametrize("kind", kinds()[:1]), pytest.mark.timeout(240)]


@asynccontextmanager
async def client_of(port: int, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}, timeout=SLACK_SECONDS
    ) as client:
        yield client


async def begin(replicas: Replicas) -> list[Replica]:
    """Starts two replicas at the same moment."""
    return await asyncio.gather(*(asyncio.to_thread(replicas.start, name) for name in ("one", "two")))


def chats(replica: Replica) -> list[int]:
    return [record["status"] for record in replica.records() if record["operation"] == "chat"]


async def test_both_replicas_serve_and_each_knows_the_keys_that_the_other_one_made(
    kind: Kind, replicas: Replicas
) -> None:
    replicas.stage.play(json_response(completion("Hi")))
    assert "up to date" in await asyncio.to_thread(replicas.run, "tables", "db", "upgrade")  # as compose.yaml does
    started = await begin(replicas)
    async with balancer([each.port for each in started], kind) as port:
        async with client_of(port, replicas.environ["ANYPORT_API_KEY"]) as client:
            for _ in range(10):
                answer = await client.post("/v1/chat/completions", json=QUESTION)
                assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "Hi")
        said = await asyncio.to_thread(replicas.run, "one", "keys", "create", "--name", "laptop", "--json")
        async with client_of(port, json.loads(said)["key"]) as client:
            end = time.monotonic() + SLACK_SECONDS
            in_a_row = 0
            while in_a_row < 6:  # three at each of them
                answer = await client.post("/v1/chat/completions", json=QUESTION)
                assert answer.status_code in (200, 401), answer.text
                in_a_row = in_a_row + 1 if answer.status_code == 200 else 0
                assert time.monotonic() < end
                await asyncio.sleep(0 if in_a_row else 1)  # who guesses keys faster is slowed down
    assert [each.process.stop() for each in started] == [0, 0]
    assert all(200 in chats(each) for each in started)


async def test_a_stream_comes_through_the_balancer_piece_by_piece(kind: Kind, replicas: Replicas) -> None:
    started = await asyncio.to_thread(replicas.start, "one")
    pieces = [f"piece {number} " for number in range(5)]
    replicas.stage.play(sse_response(text_chunks(*pieces), gap_seconds=0.3))
    arrived: dict[str, float] = {}
    async with (
        balancer([started.port], kind) as port,
        client_of(port, replicas.environ["ANYPORT_API_KEY"]) as client,
        client.stream("POST", "/v1/chat/completions", json={**QUESTION, "stream": True}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            arrived.update({piece: time.monotonic() for piece in pieces if piece in line})
    moments = list(arrived.values())
    assert list(arrived) == pieces
    # Were they held back anywhere, they would come together.
    assert moments[-1] - moments[0] > 0.6


async def test_a_rolling_restart_under_load_fails_no_request(kind: Kind, replicas: Replicas) -> None:
    def plays(request: Recorded) -> Answer:
        if json.loads(request.body).get("stream"):
            return sse_response(text_chunks("a ", "stream"), gap_seconds=0.1)
        return json_response(completion("Hi"))

    replicas.stage.play(plays)
    started = await begin(replicas)
    ports = [each.port for each in started]
    over = asyncio.Event()
    statuses: list[int] = []

    async def ask(client: httpx2.AsyncClient, *, stream: bool) -> None:
        while not over.is_set():
            answer = await client.post("/v1/chat/completions", json={**QUESTION, "stream": stream})
            assert answer.status_code == 200, answer.text
            assert not stream or answer.text.rstrip().endswith("data: [DONE]")
            statuses.append(answer.status_code)
            await asyncio.sleep(0.02)

    async with balancer(ports, kind) as port, client_of(port, replicas.environ["ANYPORT_API_KEY"]) as client:
        load = [asyncio.create_task(ask(client, stream=number % 2 == 0)) for number in range(6)]
        for name, replica in zip(("one", "two"), started, strict=True):
            assert await asyncio.to_thread(replica.process.stop) == 0, replica.process.errors
            before = len(chats(replica))
            successor = await asyncio.to_thread(replicas.start, name, replica.port)
            end = time.monotonic() + SLACK_SECONDS
            while len(chats(successor)) == before:  # the balancer has seen it before the other one goes
                assert time.monotonic() < end
                await asyncio.sleep(CHECK_SECONDS)
        over.set()
        await asyncio.gather(*load)
    assert len(statuses) > 20


async def test_requests_go_on_at_the_other_replica_when_one_is_killed(kind: Kind, replicas: Replicas) -> None:
    replicas.stage.play(json_response(completion("Hi")))
    started = await begin(replicas)
    async with (
        balancer([each.port for each in started], kind) as port,
        client_of(port, replicas.environ["ANYPORT_API_KEY"]) as client,
    ):
        await asyncio.to_thread(started[0].process.kill)
        answers = [await client.post("/v1/chat/completions", json=QUESTION) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 10
