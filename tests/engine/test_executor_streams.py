"""The loop with streams: nothing is committed before the first content."""

from __future__ import annotations

import pytest

from adapters.failures import FailureKind as K
from gateway.engine.answer import SingleStream
from tests.engine.doubles import BODY, END, MORE, PING, ROLE, TEXT, Stage, dead, event, failed

# Streams: nothing is committed before the first content.


async def test_a_stream_is_handed_over_at_its_first_content_with_all_that_came_before(stage: Stage) -> None:
    response = stage.response(PING, ROLE, MORE, END)
    stream = await stage.run(response, stream=True)
    assert isinstance(stream, SingleStream)
    assert stream.first == PING + ROLE + MORE
    assert response.pieces == [END]
    assert response.releases == 0, "whoever relays it closes it"
    assert (await stream.next(), await stream.next(), stream.error) == (END, b"", None)
    await stream.aclose()
    assert response.releases == 1


async def test_a_stream_is_read_up_to_the_total_limit(stage: Stage) -> None:
    stream = await stage.run(stage.response(TEXT, 600.0, MORE, END), stream=True)
    assert await stream.next() == MORE, "what has come is sent"
    assert (await stream.next(), stream.error.code) == (b"", "upstream_timeout")
    assert "upstream.total_seconds" in stream.error.message


async def test_the_trouble_of_a_begun_stream_is_told_and_recorded(stage: Stage) -> None:
    stream = await stage.run(stage.response(TEXT, dead()), stream=True)
    assert (await stream.next(), stream.error.code) == (b"", "upstream_disconnected")
    assert stream.error.message == "p/m: the connection died"
    assert stage.outcome.attempts[0].failure.kind is K.CONNECT


@pytest.mark.parametrize(
    "first",
    [
        event({"content": "x"}),
        event({"reasoning_content": "x"}),
        event({"reasoning": "x"}),
        event({"refusal": "x"}),
        event({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}]}),
        event({"function_call": {"name": "f"}}),
        event({"audio": {"id": "a"}}),
        event({}, "stop"),
    ],
)
async def test_whatever_a_client_would_miss_is_content(stage: Stage, first: bytes) -> None:
    response = stage.response(ROLE, first, TEXT, END)
    await stage.run(response, stream=True)
    assert response.pieces == [TEXT, END]


@pytest.mark.parametrize("before", [(), (PING,), (ROLE,), (PING, ROLE), (b"data: {", b'"choices"'), (b"event: x\n\n",)])
async def test_a_stream_that_dies_before_content_is_an_http_error(stage: Stage, before: tuple[bytes, ...]) -> None:
    response = stage.response(*before, dead())
    error = await failed(stage, response, stream=True)
    assert (error.status, error.code) == (502, "upstream_disconnected")
    assert response.releases == 1


async def test_a_stream_that_says_nothing_at_length_is_given_up(stage: Stage) -> None:
    comment = b": " + b"x" * 1_000_000 + b"\n\n"
    response = stage.response(*[comment] * 20, TEXT)
    error = await failed(stage, response, stream=True)
    assert (error.status, error.code) == (502, "upstream_invalid_response")
    assert "no content" in error.message
    assert response.releases == 1


@pytest.mark.parametrize("before", [(), (PING,), (ROLE,)])
async def test_a_stream_that_ends_before_content_is_an_http_error(stage: Stage, before: tuple[bytes, ...]) -> None:
    error = await failed(stage, stage.response(*before), stream=True)
    assert (error.status, error.type) == (502, "upstream_error")
    error = await failed(Stage(), stage.response(*before, b"data: [DONE]\n\n"), stream=True)
    assert error.status == 502


@pytest.mark.parametrize(
    ("first", "status", "code"),
    [
        (b'data: {"error":{"code":429,"message":"slow"}}\n\n', 429, "rate_limit_exceeded"),
        (b'data: {"object":"error","message":"bad n","code":400}\n\n', 400, "400"),
        (b'event: error\ndata: {"message":"died","code":500}\n\n', 502, "upstream_error"),
        (b'data: {"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}\n\n', 429,
         "insufficient_quota"),
        (b"data: junk\n\n", 502, "upstream_invalid_event"),
    ],
)  # fmt: skip
async def test_an_error_as_first_event_is_an_http_error(stage: Stage, first: bytes, status: int, code: str) -> None:
    response = stage.response(PING, ROLE + first)
    error = await failed(stage, response, stream=True)
    assert (error.status, error.code) == (status, code)
    assert response.releases == 1


async def test_an_error_after_content_in_one_packet_is_handed_over_with_the_content(stage: Stage) -> None:
    response = stage.response(TEXT + b'data: {"error":{"message":"died"}}\n\n')
    stream = await stage.run(response, stream=True)
    assert stream.first == TEXT
    assert (await stream.next(), stream.error.message) == (b"", "p/m: died")


async def test_the_usage_of_a_stream_that_failed_is_kept(stage: Stage) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
    await failed(stage, stage.response(event({}, None, usage=usage) + b"data: junk\n\n"), stream=True)
    assert stage.outcome.usage is not None
    assert stage.outcome.usage.prompt == 7


async def test_pings_without_end_are_ended_by_the_total_limit() -> None:
    stage = Stage(total=50)
    response = stage.response(*[PING, 20.0] * 10)
    error = await failed(stage, response, stream=True)
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert "upstream.total_seconds" in error.message
    assert response.releases == 1


async def test_a_json_answer_to_a_stream_is_told_as_a_stream(stage: Stage) -> None:
    stream = await stage.run(stage.response(BODY, content_type="application/json"), stream=True)
    assert stream.first.endswith(b"data: [DONE]\n\n")
    assert stream.usage.completion == 2
