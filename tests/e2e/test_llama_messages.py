"""The gateway in front of a real server's Messages API: llama.cpp's, with a model that says words at random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.conftest import StartGateway
from tests.e2e.llama import HELLO, MODEL, SCHEMA, TOOLS, LlamaServer, start_llama

NAME = f"messages/{MODEL}"
CALLING = f"calling/{MODEL}"
CALL_BIAS = 5.0
"""A word's: the protocol has no bias of tokens, without which the usual model never begins a call."""


@pytest.fixture(scope="module")
def calling(tiny_model: Path) -> Iterator[LlamaServer]:
    """A server whose model may begin a call as it may say a word."""
    from tests.upstreams.tiny_model import write_model

    server = start_llama(write_model(tiny_model.with_name("calling.gguf"), call_bias=CALL_BIAS))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(gateway: StartGateway, llama: LlamaServer, calling: LlamaServer) -> Iterator[OpenAI]:
    url = gateway(
        {
            "server": {"access_log": "off"},
            "discovery": {"enabled": False},
            "providers": {
                "messages": {"protocol": "anthropic", "base_url": llama.url, "requires_credential": False},
                "calling": {"protocol": "anthropic", "base_url": f"{calling.url}/v1", "requires_credential": False},
            },
        }
    )
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=30) as made:
        yield made


def test_the_server_answers_a_chat_and_counts_it(client: OpenAI) -> None:
    history: Any = [{"role": "system", "content": "be kind"}, *HELLO, {"role": "assistant", "content": "hi"}, *HELLO]
    answer = client.chat.completions.create(model=NAME, messages=history, max_tokens=12, temperature=0.5)
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.choices[0].message.content is not None
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0 and 0 < answer.usage.completion_tokens <= 12


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": HELLO, "max_tokens": 30, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for each in chunks for choice in each.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage is not None and whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


CALLS: Any = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}


def test_the_server_calls_a_tool_and_takes_its_result(client: OpenAI) -> None:
    first = client.chat.completions.create(model=CALLING, messages=HELLO, **CALLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None and message.tool_calls[0].type == "function"
    call = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    turn = {"role": "assistant", "tool_calls": [call.model_dump()]}
    history: Any = [*HELLO, turn, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = client.chat.completions.create(model=NAME, messages=history, max_tokens=5)
    assert second.choices[0].message.content is not None
    assert second.usage is not None and first.usage is not None
    assert second.usage.prompt_tokens > 0


def test_a_streamed_tool_call_is_joined_by_the_sdk(client: OpenAI) -> None:
    with client.chat.completions.stream(model=CALLING, messages=HELLO, **CALLS) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.id and call.type == "function" and call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_by_a_schema_comes_through_a_tool(client: OpenAI, is_streamed: bool) -> None:
    asked: Any = {"model": CALLING, "messages": HELLO, "response_format": SCHEMA}
    if is_streamed:
        with client.chat.completions.create(**asked, stream=True) as stream:
            text = "".join(choice.delta.content or "" for each in stream for choice in each.choices)
    else:
        text = client.chat.completions.create(**asked).choices[0].message.content or ""
    said = json.loads(text)
    assert set(said) == {"city", "is_big"}
    assert isinstance(said["is_big"], bool)


def test_several_choices_come_from_several_calls(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=HELLO, max_tokens=5, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_a_prompt_beyond_the_context_is_a_bad_request_with_its_code(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "hello " * 5000}])
    assert caught.value.code == "context_length_exceeded"


def test_what_the_protocol_does_not_know_is_named_in_a_header(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=5, seed=1)
    assert raw.headers["x-anyport-dropped"] == "seed"
