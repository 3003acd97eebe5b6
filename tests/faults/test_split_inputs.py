"""Embeddings of more texts than a provider takes at once, and operations that its protocol lacks."""

from __future__ import annotations

import asyncio
import json
import time

import openai
import pytest

from tests.faults.client import Answer, connected, request_bytes, reset
from tests.faults.stage import SLACK, Scene, Stage
from tests.upstreams.scripted import FIN, RESET, STALL, Recorded, Step, json_response, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "providers": {"up": {"protocol": "cohere"}},
    "upstream": {"answer_seconds": 20, "between_tokens_seconds": 20},
}
TEXTS = [str(number) for number in range(200)]
CALLS = 3
"""Cohere embeds 96 texts at once."""


def embeds(recorded: Recorded) -> Played:
    """Answers with vectors that say which text they belong to, the longer the list the later."""
    texts = json.loads(recorded.body)["texts"]
    vectors = [[float(text), 0.5] for text in texts]
    units = {"input_tokens": len(texts)}
    answer = {"id": "1", "texts": texts, "embeddings": {"float": vectors}, "meta": {"billed_units": units}}
    return Played([len(texts) / 1000, *json_response(answer).steps])


async def ask(scene: Scene) -> Answer:
    return await scene.send({"model": scene.model, "input": TEXTS}, path="/v1/embeddings")


async def test_every_text_gets_its_own_vector_and_all_calls_are_counted(stage: Stage) -> None:
    scene = stage.plays(embeds)
    answer = await ask(scene)
    assert answer.status == 200, answer.body
    data = answer.json["data"]
    assert [(item["index"], item["embedding"][0]) for item in data] == [(i, float(i)) for i in range(len(TEXTS))]
    assert answer.json["usage"] == {"prompt_tokens": 200, "total_tokens": 200}
    assert len(scene.requests) == CALLS
    record = await stage.settled(answer, attempts=CALLS)
    assert (record["prompt_tokens"], record["operation"]) == (200, "embeddings")


async def test_the_official_sdk_reads_joined_embeddings(stage: Stage) -> None:
    scene = stage.plays(embeds)
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{stage.port}/v1", api_key="k", max_retries=0) as client:
        found = await client.embeddings.create(model=scene.model, input=TEXTS)
    assert [item.embedding[0] for item in found.data] == [float(text) for text in TEXTS]
    assert [item.index for item in found.data] == list(range(len(TEXTS)))
    await stage.quiet()


async def test_a_refusal_of_one_call_ends_the_others(stage: Stage) -> None:
    scene = stage.plays(raw(STALL), raw(STALL), json_response({"message": "past the per minute request limit"}, 429))
    scene.hurries()
    started = time.monotonic()
    answer = await ask(scene)
    assert time.monotonic() - started < SLACK
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    for request in scene.requests[:2]:
        await stage.upstream.wait_closed(request.connection, 2)
    await stage.settled(answer, error="rate_limit_exceeded", attempts=CALLS)


@pytest.mark.parametrize("end", [RESET, FIN], ids=["rst", "fin"])
async def test_a_call_that_is_cut_is_the_whole_answers_failure(stage: Stage, end: Step) -> None:
    cut = raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{", end)
    scene = stage.plays(embeds, embeds, cut)
    answer = await ask(scene)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert len(scene.requests) == CALLS + 1
    await stage.settled(answer, error="upstream_disconnected", attempts=CALLS + 1)


async def test_a_client_that_leaves_ends_every_call(stage: Stage) -> None:
    scene = stage.plays(raw(STALL))
    one = connected(stage.port)
    body = {"model": scene.model, "input": TEXTS}
    data = request_bytes(body, path="/v1/embeddings", close=False)
    await asyncio.get_running_loop().sock_sendall(one, data)
    await scene.heard(CALLS)
    reset(one)
    for request in scene.requests:
        await stage.upstream.wait_closed(request.connection, 2)
    await stage.quiet()


async def test_an_operation_that_the_protocol_lacks_is_a_400_that_says_what_there_is(stage: Stage) -> None:
    scene = stage.plays(embeds)
    answer = await scene.send({"model": scene.model, "prompt": "x"}, path="/v1/completions")
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == (400, "unsupported_operation", "model")
    assert "up has no completions" in error["message"]
    assert "chat, embeddings" in error["message"]
    assert not scene.requests
    record = await stage.settled(answer, error="unsupported_operation", attempts=0)
    assert record["provider"] == "up"
