"""One call played in several parts: what is joined, what ends all of them, and what nobody may leave behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.failures import FailureKind as K
from adapters.openai import OpenAIAdapter
from adapters.parts import split_choices, split_inputs
from adapters.types import Call, Operation, Target
from gateway.engine.answer import Answer
from gateway.engine.parts import MOST_AT_ONCE, JoinedStream
from gateway.errors import UnsupportedParameter, UpstreamError
from gateway.http.api.inbound import read_call
from tests.engine.doubles import END, ROLE, TEXT, Response, Stage, dead, event

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COUNTED = event({}, "stop", usage=USAGE) + b"data: [DONE]\n\n"
BUSY = json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}).encode()


class OneByOne(OpenAIAdapter):
    """Speaks a protocol that makes one choice, and reads one input, at a time."""

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        return split_inputs(call) if call.operation is Operation.EMBEDDINGS else split_choices(call)


class Tripping(OneByOne):
    """Has a bug that the second answer brings out."""

    def reply(self, *args: Any) -> Any:
        if b"second" in args[3]:
            raise ZeroDivisionError
        return super().reply(*args)


@pytest.fixture
def stage() -> Stage:
    return Stage(adapter=OneByOne())


def body(text: str, usage: dict[str, int] | None = USAGE) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": text, "model": "up", "choices": [choice], "usage": usage}).encode()


def says(text: str) -> bytes:
    return event({"content": text})


def embed(*texts: str) -> Call:
    asked = {"model": "p/m", "input": texts}
    return read_call(Operation.EMBEDDINGS, json.dumps(asked).encode(), id="x", created=1)


def vectors(*values: float) -> bytes:
    data = [{"index": index, "embedding": [value]} for index, value in enumerate(values)]
    return json.dumps({"data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()


async def all_of(stream: JoinedStream) -> bytes:
    told = [stream.first]
    while piece := await stream.next():
        told.append(piece)
    return b"".join(told)


def texts(told: bytes) -> dict[int, str]:
    """Returns what each choice says."""
    found: dict[int, str] = {}
    for block in told.split(b"\n\n"):
        if block and block != b"data: [DONE]":
            for choice in json.loads(block[6:])["choices"]:
                found[choice["index"]] = found.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return found


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def assert_nothing_left(*responses: Response) -> None:
    assert [response.releases for response in responses] == [1] * len(responses)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Whole answers.


async def test_choices_are_asked_for_one_by_one_and_joined(stage: Stage) -> None:
    responses = [stage.response(body(text)) for text in ("a", "b", "c")]
    answer = await stage.run(*responses, n=3, store=True)
    assert isinstance(answer, Answer)
    joined = json.loads(answer.reply.body)
    assert [choice["message"]["content"] for choice in joined["choices"]] == ["a", "b", "c"]
    assert (joined["id"], joined["usage"]["total_tokens"]) == ("a", 15)
    assert answer.reply.usage.completion == 6
    assert ["n" in json.loads(request.body) for request, _, _ in stage.script.sent] == [False] * 3
    assert_nothing_left(*responses)


async def test_the_outcome_records_the_attempts_of_all_parts() -> None:
    stage = Stage(adapter=OneByOne(), rules={"drop": ["store"]})
    await stage.run(
        dead(replayable=True), stage.response(2.0, body("b")), stage.response(body("a")), n=2, store=True
    )  # fmt: skip
    outcome = stage.outcome
    assert (outcome.deployment, outcome.provider, outcome.dropped) == ("p/m", "p", ("store",))
    assert [attempt.number for attempt in outcome.attempts] == [1, 2, 3]
    assert sorted(attempt.part for attempt in outcome.attempts) == [0, 0, 1]
    assert [attempt.failure is None for attempt in outcome.attempts] == [False, True, True]
    assert outcome.upstream_seconds == 2.0, "what passes at the same time passes once"
    assert outcome.usage is not None
    assert outcome.usage.prompt == 6


async def test_the_first_failure_ends_the_others_and_is_what_the_client_hears(stage: Stage) -> None:
    good, slow = stage.response(body("a")), stage.response(b"{", asyncio.Event())
    busy = stage.response(BUSY, status=429, retry_after="7")
    with pytest.raises(UpstreamError) as caught:
        await stage.run(good, slow, busy, n=3)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert dict(caught.value.headers())["retry-after"] == "7"
    assert_nothing_left(good, slow, busy)
    assert all(attempt.ended is not None for attempt in stage.outcome.attempts)
    assert stage.outcome.usage is not None, "what the finished part cost is counted"
    assert stage.outcome.usage.prompt == 3


async def test_more_choices_than_are_reasonable_are_refused(stage: Stage) -> None:
    with pytest.raises(UnsupportedParameter, match="at most 16"):
        await stage.run(n=17)
    assert stage.script.sent == []


async def test_only_a_few_parts_are_at_work_at_the_same_time(stage: Stage) -> None:
    gates = [asyncio.Event() for _ in range(16)]
    responses = [stage.response(gate, body("x")) for gate in gates]
    task = asyncio.create_task(stage.run(*responses, n=16))
    await settle()
    assert len(stage.script.sent) == MOST_AT_ONCE
    gates[3].set()
    await settle()
    assert len(stage.script.sent) == MOST_AT_ONCE + 1
    for gate in gates:
        gate.set()
    answer = await task
    assert len(json.loads(answer.reply.body)["choices"]) == 16
    assert_nothing_left(*responses)


async def test_leaving_ends_every_part(stage: Stage) -> None:
    responses = [stage.response(asyncio.Event()) for _ in range(3)]
    task = asyncio.create_task(stage.run(*responses, n=3))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_left(*responses)


async def test_answers_that_are_too_long_together_are_given_up() -> None:
    stage = Stage(adapter=OneByOne(), limit=400)
    responses = [stage.response(body("x" * 100)) for _ in range(2)]
    with pytest.raises(UpstreamError, match=r"upstream\.max_response_bytes"):
        await stage.run(*responses, n=2)
    assert_nothing_left(*responses)


async def test_a_bug_in_one_part_comes_out_as_it_is() -> None:
    stage = Stage(adapter=Tripping())
    responses = [stage.response(body("first")), stage.response(body("second"))]
    with pytest.raises(ZeroDivisionError):
        await stage.run(*responses, n=2)
    assert_nothing_left(*responses)


async def test_inputs_are_embedded_one_by_one_and_joined_in_order(stage: Stage) -> None:
    late = asyncio.Event()
    responses = [stage.response(late, vectors(1.0)), stage.response(vectors(2.0)), stage.response(vectors(3.0))]
    task = asyncio.create_task(stage.play(embed("a", "b", "c"), *responses))
    await settle()
    late.set()
    joined = json.loads((await task).reply.body)
    assert [(item["index"], item["embedding"]) for item in joined["data"]] == [(0, [1.0]), (1, [2.0]), (2, [3.0])]
    assert joined["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert_nothing_left(*responses)


async def test_embeddings_that_are_not_as_many_as_the_inputs_are_a_502(stage: Stage) -> None:
    responses = [stage.response(vectors(1.0, 2.0)), stage.response(vectors(3.0))]
    with pytest.raises(UpstreamError) as caught:
        await stage.play(embed("a", "b"), *responses)
    assert (caught.value.status, caught.value.code) == (502, "upstream_invalid_response")
    assert_nothing_left(*responses)


# Streams.


async def test_streams_are_told_as_one(stage: Stage) -> None:
    options = {"include_usage": True}
    responses = [stage.response(ROLE, says("a"), says("b"), COUNTED), stage.response(ROLE + says("c"), COUNTED)]
    stream = await stage.run(*responses, n=2, stream=True, stream_options=options)
    assert isinstance(stream, JoinedStream)
    told = await all_of(stream)
    assert texts(told) == {0: "ab", 1: "c"}
    assert told.count(b"data: [DONE]") == 1
    last = json.loads(told.split(b"\n\n")[-3][6:])
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 10)
    assert stream.error is None
    assert (stream.usage.prompt, stream.usage.completion, stream.finish) == (6, 4, "stop")
    assert await stream.next() == b"", "over is over"
    await stream.linger()
    await stream.aclose()
    assert_nothing_left(*responses)


async def test_a_stream_is_committed_when_one_part_has_content(stage: Stage) -> None:
    gate = asyncio.Event()
    responses = [stage.response(ROLE, gate, says("late"), END), stage.response(ROLE, says("early"), END)]
    stream = await stage.run(*responses, n=2, stream=True)
    assert texts(stream.first) == {1: "early"}
    gate.set()
    assert texts(await all_of(stream)) == {0: "late", 1: "early"}
    await stream.aclose()
    assert_nothing_left(*responses)


async def test_more_streams_than_may_run_at_once_follow_each_other(stage: Stage) -> None:
    responses = [stage.response(TEXT, says(str(number)), END) for number in range(16)]
    stream = await stage.run(*responses, n=16, stream=True)
    told = await all_of(stream)
    assert texts(told) == {number: f"hi{number}" for number in range(16)}
    await stream.linger()
    await stream.aclose()
    assert_nothing_left(*responses)


async def test_a_part_that_fails_before_all_content_is_an_http_error(stage: Stage) -> None:
    quiet, busy = stage.response(ROLE, asyncio.Event()), stage.response(BUSY, status=429)
    with pytest.raises(UpstreamError) as caught:
        await stage.run(quiet, busy, n=2, stream=True)
    assert caught.value.status == 429
    assert_nothing_left(quiet, busy)


async def test_a_part_that_fails_after_the_commit_ends_all(stage: Stage) -> None:
    gate = asyncio.Event()
    cut, slow = stage.response(TEXT, gate, dead()), stage.response(TEXT, asyncio.Event())
    stream = await stage.run(cut, slow, n=2, stream=True)
    gate.set()
    told = await all_of(stream)
    assert texts(told) == {0: "hi", 1: "hi"}
    assert b"[DONE]" not in told
    assert (stream.error.status, stream.error.code) == (502, "upstream_disconnected")
    kinds = [attempt.failure and attempt.failure.kind for attempt in stage.outcome.attempts]
    assert kinds == [K.CONNECT, None]
    assert_nothing_left(cut, slow)
    await stream.aclose()


async def test_a_part_that_is_refused_after_the_commit_ends_all(stage: Stage) -> None:
    gate = asyncio.Event()
    good, busy = stage.response(TEXT, asyncio.Event()), stage.response(gate, BUSY, status=429)
    stream = await stage.run(good, busy, n=2, stream=True)
    gate.set()
    assert await stream.next() == b""
    assert stream.error.code == "rate_limit_exceeded"
    await stream.aclose()
    assert_nothing_left(good, busy)


async def test_closing_a_stream_ends_every_part(stage: Stage) -> None:
    responses = [stage.response(TEXT, asyncio.Event()) for _ in range(3)]
    stream = await stage.run(*responses, n=3, stream=True)
    await stream.aclose()
    assert_nothing_left(*responses)


@pytest.mark.parametrize("turns", [1, 2, 4, 8])
async def test_leaving_before_the_commit_ends_every_part(stage: Stage, turns: int) -> None:
    responses = [stage.response(ROLE, asyncio.Event()) for _ in range(3)]
    task = asyncio.create_task(stage.run(*responses, n=3, stream=True))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_left(*responses[: len(stage.script.sent)])


async def test_a_client_that_does_not_read_stops_the_reading(stage: Stage) -> None:
    responses = [stage.response(*[TEXT] * 100, END) for _ in range(2)]
    stream = await stage.run(*responses, n=2, stream=True)
    await settle()
    left = [len(response.pieces) for response in responses]
    await settle()
    assert [len(response.pieces) for response in responses] == left, "nobody reads on"
    assert sum(left) > 180
    told = await all_of(stream)
    assert texts(told) == {0: "hi" * 100, 1: "hi" * 100}
    await stream.linger()
    await stream.aclose()
    assert_nothing_left(*responses)


async def test_a_bug_after_the_commit_comes_out_as_it_is(stage: Stage) -> None:
    gate = asyncio.Event()
    responses = [stage.response(TEXT, asyncio.Event()), stage.response(TEXT, gate, ZeroDivisionError())]
    stream = await stage.run(*responses, n=2, stream=True)
    gate.set()
    with pytest.raises(ZeroDivisionError):
        await all_of(stream)
    await stream.aclose()
    assert_nothing_left(*responses)
