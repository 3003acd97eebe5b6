"""The official OpenAI SDK talks to a gateway process, sync and async, and must notice nothing unusual."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import APITimeoutError, AsyncOpenAI, InternalServerError, OpenAI, omit
from pydantic import BaseModel

from tests.e2e.answers import USAGE, chunk, completion, text_chunks, tool_delta
from tests.e2e.stage import Stage
from tests.upstreams.scripted import FIN, RESET, STALL, End, json_response, raw, sse_response

HELLO: Any = [{"role": "user", "content": "Hello"}]
WEATHER: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def test_a_chat_is_answered_and_the_upstream_sees_its_own_model_name(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion("Hi!")))
    answer = client.chat.completions.create(model="stub/quick", messages=HELLO)
    assert answer.choices[0].message.content == "Hi!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens == 10
    assert scripted.last.path == "/v1/chat/completions"
    assert scripted.last.json() == {"model": "quick", "messages": HELLO}


async def test_a_chat_is_answered_to_the_async_client(async_client: AsyncOpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion("Hi!")))
    answer = await async_client.chat.completions.create(model="fast", messages=HELLO)
    assert answer.choices[0].message.content == "Hi!"


def test_a_stream_without_the_wish_for_usage_shows_none(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Hello", " w", "örld")))
    with client.chat.completions.create(model="stub/quick", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "Hello wörld"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all("usage" not in each.model_fields_set for each in chunks)
    body: Any = scripted.last.json()
    assert body["stream_options"] == {"include_usage": True}, "the gateway counts for itself"


def test_a_stream_with_the_wish_for_usage_ends_with_one_chunk_of_it(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Hello")))
    with client.chat.completions.create(
        model="stub/quick", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    counted = [each for each in chunks if each.usage is not None]
    assert counted == [chunks[-1]]
    assert counted[0].choices == []
    assert counted[0].usage is not None and counted[0].usage.model_dump(exclude_none=True) == USAGE


async def test_an_async_stream_arrives_piece_by_piece(async_client: AsyncOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("a", "b", "c"), gap_seconds=0.02))
    pieces: list[str] = []
    stream = await async_client.chat.completions.create(model="stub/quick", messages=HELLO, stream=True)
    async with stream:
        async for each in stream:
            pieces += [choice.delta.content for choice in each.choices if choice.delta.content]
    assert pieces == ["a", "b", "c"]


def test_the_stream_helper_joins_the_answer(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Good ", "morning")))
    with client.chat.completions.stream(model="stub/quick", messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion()
    assert [delta for delta in deltas if delta] == ["Good ", "morning"]
    assert whole.choices[0].message.content == "Good morning"


async def test_the_async_stream_helper_joins_the_answer(async_client: AsyncOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Good ", "morning")))
    async with async_client.chat.completions.stream(
        model="stub/quick", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        whole = await stream.get_final_completion()
    assert whole.choices[0].message.content == "Good morning"
    assert whole.usage is not None and whole.usage.total_tokens == 10


def test_a_tool_call_and_its_result_travel_both_ways(client: OpenAI, scripted: Stage) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    scripted.play(
        json_response(completion(None, tool_calls=[call], finish_reason="tool_calls")),
        json_response(completion("It is sunny.")),
    )
    first = client.chat.completions.create(model="stub/quick", messages=HELLO, tools=WEATHER, tool_choice="auto")
    message = first.choices[0].message
    assert message.tool_calls is not None and message.tool_calls[0].type == "function"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    assert first.choices[0].finish_reason == "tool_calls"
    history: Any = [*HELLO, message, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    second = client.chat.completions.create(model="stub/quick", messages=history, tools=WEATHER)
    assert second.choices[0].message.content == "It is sunny."
    sent: Any = scripted.last.json()
    assert sent["tools"] == WEATHER
    assert sent["messages"][1]["tool_calls"] == [call]


def test_parallel_tool_calls_of_a_stream_are_joined_by_index(client: OpenAI, scripted: Stage) -> None:
    scripted.play(
        sse_response(
            [
                chunk({"role": "assistant", "content": None}),
                chunk(tool_delta(0, "", id="call_a", name="get_weather")),
                chunk(tool_delta(0, '{"ci')),
                chunk(tool_delta(1, "", id="call_b", name="get_weather")),
                chunk(tool_delta(1, '{"city": "B')),
                chunk(tool_delta(0, 'ty": "Oslo"}')),
                chunk(tool_delta(1, 'ern"}')),
                chunk({}, "tool_calls"),
            ]
        )
    )
    assert _streamed_calls(client) == [("call_a", "get_weather", "Oslo"), ("call_b", "get_weather", "Bern")]


def test_an_upstream_that_repeats_ids_and_names_is_put_right(client: OpenAI, scripted: Stage) -> None:
    scripted.play(
        sse_response(
            [
                chunk(tool_delta(0, '{"city"', id="call_a", name="get_weather")),
                chunk(tool_delta(0, ': "Oslo"}', id="call_a", name="get_weather")),
                chunk(tool_delta(1, '{"city": "Bern"}', id="call_b", name="get_weather")),
                chunk({}, "tool_calls"),
            ]
        )
    )
    assert _streamed_calls(client) == [("call_a", "get_weather", "Oslo"), ("call_b", "get_weather", "Bern")]


def _streamed_calls(client: OpenAI) -> list[tuple[str, str, str]]:
    with client.chat.completions.stream(model="stub/quick", messages=HELLO, tools=WEATHER) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    return [(call.id, call.function.name, json.loads(call.function.arguments)["city"]) for call in calls]


def test_a_tool_call_without_arguments_has_an_empty_object_of_them(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response([chunk(tool_delta(0, "", id="call_a", name="now")), chunk({}, "tool_calls")]))
    with client.chat.completions.stream(model="stub/quick", messages=HELLO, tools=WEATHER) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None and calls[0].function.arguments == "{}"


class Place(BaseModel):
    city: str
    country: str


def test_a_json_schema_passes_through_and_its_answer_is_parsed(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion('{"city": "Oslo", "country": "Norway"}')))
    answer = client.chat.completions.parse(model="stub/quick", messages=HELLO, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Oslo", country="Norway")
    sent: Any = scripted.last.json()
    assert sent["response_format"]["json_schema"]["name"] == "Place"
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert set(sent["response_format"]["json_schema"]["schema"]["properties"]) == {"city", "country"}


async def test_a_json_schema_is_parsed_from_a_stream(async_client: AsyncOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks('{"city": "Os', 'lo", "country": "Norway"}')))
    async with async_client.chat.completions.stream(
        model="stub/quick", messages=HELLO, response_format=Place
    ) as stream:
        whole = await stream.get_final_completion()
    assert whole.choices[0].message.parsed == Place(city="Oslo", country="Norway")


def test_two_choices_of_a_stream_stay_apart(client: OpenAI, scripted: Stage) -> None:
    def of(index: int, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        return chunk({}) | {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    events = [of(0, {"role": "assistant", "content": "a"}), of(1, {"role": "assistant", "content": "x"})]
    events += [of(1, {"content": "y"}), of(0, {"content": "b"}), of(0, {}, "stop"), of(1, {}, "length")]
    scripted.play(sse_response(events))
    texts = {0: "", 1: ""}
    finishes: dict[int, str] = {}
    with client.chat.completions.create(model="stub/quick", messages=HELLO, n=2, stream=True) as stream:
        for each in stream:
            for choice in each.choices:
                texts[choice.index] += choice.delta.content or ""
                if choice.finish_reason:
                    finishes[choice.index] = choice.finish_reason
    assert texts == {0: "ab", 1: "xy"}
    assert finishes == {0: "stop", 1: "length"}


def _text_completion(text: str, finish: str | None = "stop") -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1700000000,
        "model": "quick-2026",
        "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}],
    }


def test_a_text_completion_is_answered(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response({**_text_completion(" upon a time"), "usage": USAGE}))
    answer = client.completions.create(model="stub/quick", prompt="Once", max_tokens=5)
    assert answer.choices[0].text == " upon a time"
    assert answer.usage is not None and answer.usage.prompt_tokens == 7
    assert scripted.last.path == "/v1/completions"
    assert scripted.last.json() == {"model": "quick", "prompt": "Once", "max_tokens": 5}


async def test_a_text_completion_is_streamed(async_client: AsyncOpenAI, scripted: Stage) -> None:
    scripted.play(
        sse_response([_text_completion(" upon", None), _text_completion(" a", None), _text_completion(" time")])
    )
    stream = await async_client.completions.create(model="stub/quick", prompt="Once", stream=True)
    async with stream:
        texts = [choice.text async for each in stream for choice in each.choices]
    assert "".join(texts) == " upon a time"


def test_extra_fields_and_headers_of_the_client_reach_the_right_places(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion()))
    client.chat.completions.create(
        model="stub/quick",
        messages=HELLO,
        extra_body={"top_k": 40, "chat_template_kwargs": {"enable_thinking": False}},
        extra_headers={"x-client-secret": "not-for-upstreams"},
    )
    sent: Any = scripted.last.json()
    assert sent["top_k"] == 40
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    headers = scripted.last.headers
    assert headers["x-stub"] == "yes"
    assert "x-client-secret" not in headers
    assert "authorization" not in headers, "the client's key is for the gateway alone"
    assert not [name for name in headers if name.startswith("x-stainless")]


def test_the_upstream_gets_its_own_credential(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion()))
    client.chat.completions.create(model="openai/gpt-5", messages=HELLO)
    assert scripted.last.headers["authorization"] == "Bearer sk-upstream-secret-0001"


def test_response_headers_tell_the_request_and_pass_on_rate_limits(client: OpenAI, scripted: Stage) -> None:
    upstream = [("x-ratelimit-remaining-requests", "41"), ("openai-version", "2020-10-01"), ("set-cookie", "a=b")]
    scripted.play(json_response(completion(), headers=upstream))
    answer = client.chat.completions.with_raw_response.create(
        model="stub/quick", messages=HELLO, extra_headers={"x-request-id": "my-trace-1"}
    )
    headers = answer.headers
    assert headers["x-request-id"] == "my-trace-1"
    assert int(headers["openai-processing-ms"]) >= 0
    assert headers["x-ratelimit-remaining-requests"] == "41"
    assert headers["openai-version"] == "2020-10-01"
    assert headers["x-anyport-deployment"] == "stub/quick"
    assert "set-cookie" not in headers
    assert answer.parse().choices[0].message.content == "Hello there"


def test_a_stream_has_the_same_headers_and_a_new_request_id_if_none_was_given(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Hi")))
    with client.chat.completions.with_streaming_response.create(
        model="stub/quick", messages=HELLO, stream=True
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-anyport-deployment"] == "stub/quick"
        assert answer.read().endswith(b"data: [DONE]\n\n")


def test_a_reasoning_text_arrives_under_one_name(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion("42", reasoning="six times seven")))
    answer = client.chat.completions.create(model="stub/quick", messages=HELLO)
    extra = answer.choices[0].message.model_extra or {}
    assert extra["reasoning_content"] == "six times seven"
    assert answer.choices[0].message.content == "42"


def test_a_field_that_the_provider_does_not_take_is_named_in_a_header(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion()))
    answer = client.chat.completions.with_raw_response.create(
        model="cerebras/llama-3.3-70b", messages=HELLO, frequency_penalty=0.5, temperature=0.1
    )
    assert answer.headers["x-anyport-dropped"] == "frequency_penalty"
    assert scripted.last.json() == {"model": "llama-3.3-70b", "messages": HELLO, "temperature": 0.1}


@pytest.mark.parametrize("end", [FIN, RESET], ids=["closed", "reset"])
def test_a_kept_connection_that_turns_out_dead_is_no_error(client: OpenAI, scripted: Stage, end: End) -> None:
    scripted.play(json_response(completion("one")), raw(end), json_response(completion("two")))
    client.chat.completions.create(model="stub/quick", messages=HELLO)
    answer = client.chat.completions.with_raw_response.create(model="stub/quick", messages=HELLO)
    assert answer.parse().choices[0].message.content == "two"
    assert answer.headers["x-anyport-attempts"] == "2"
    first, dead, fresh = scripted.requests
    assert first.connection == dead.connection != fresh.connection
    assert fresh.body == dead.body


def test_a_client_that_leaves_a_stream_ends_the_upstreams_work(client: OpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Once", " upon")[:3], done=False, end=[STALL]))
    with client.chat.completions.create(model="stub/quick", messages=HELLO, stream=True) as stream:
        assert next(iter(stream)).choices
    assert scripted.closed_within(10, scripted.last.connection)


def test_a_client_that_leaves_before_the_answer_ends_the_upstreams_work(client: OpenAI, scripted: Stage) -> None:
    scripted.play(raw(STALL))
    unannounced = {"x-stainless-read-timeout": omit}
    with pytest.raises(APITimeoutError):
        client.with_options(timeout=1.0).chat.completions.create(
            model="stub/quick", messages=HELLO, extra_headers=unannounced
        )
    assert scripted.closed_within(10, scripted.last.connection)


def test_a_client_that_says_how_long_it_waits_is_told_in_time_what_it_waited_for(
    client: OpenAI, scripted: Stage, model: str
) -> None:
    scripted.play(raw(STALL))
    with pytest.raises(InternalServerError, match="x-stainless-read-timeout") as caught:
        client.with_options(timeout=2.0).chat.completions.create(model=model, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert scripted.closed_within(10, scripted.last.connection)


@pytest.mark.parametrize("content", [None, "", []], ids=["null", "empty", "no parts"])
def test_an_assistants_turn_of_tool_calls_alone_reaches_the_upstream(
    client: OpenAI, scripted: Stage, content: Any
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turn = {"role": "assistant", "content": content, "tool_calls": [call]}
    history: Any = [*HELLO, turn, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]
    scripted.play(json_response(completion()))
    client.chat.completions.create(model="stub/quick", messages=history)
    sent: Any = scripted.last.json()
    assert sent["messages"] == history


def test_a_file_by_its_address_reaches_the_upstream(client: OpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion()))
    parts: Any = [{"role": "user", "content": [{"type": "file_url", "file_url": {"url": "https://example.com/a.pdf"}}]}]
    client.chat.completions.create(model="stub/quick", messages=parts)
    sent: Any = scripted.last.json()
    assert sent["messages"] == parts
