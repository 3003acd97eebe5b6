"""The gateway in front of a real inference server: llama.cpp's, with a model that says words at random."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.e2e.conftest import StartGateway
from tests.e2e.llama import HELLO, MODEL, SCHEMA, TOOLS, LlamaServer, free_port, start_llama
from tests.e2e.process import GatewayProcess, start_gateway

NAME = f"llama-cpp/{MODEL}"
EMBED = f"embedder/{MODEL}"


@pytest.fixture(scope="module")
def client(gateway: StartGateway, llama: LlamaServer, llama_embeddings: LlamaServer) -> Iterator[OpenAI]:
    url = gateway(
        {
            "server": {"access_log": "off"},
            "discovery": {"enabled": False},
            "providers": {
                "llama-cpp": {"base_url": f"{llama.url}/v1"},
                "embedder": {
                    "protocol": "openai",
                    "base_url": f"{llama_embeddings.url}/v1",
                    "requires_credential": False,
                },
            },
        }
    )
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=30) as made:
        yield made


TALKS: Any = {"extra_body": {"ignore_eos": True}}
"""A field of llama.cpp's own: without it the model may have nothing to say."""


def test_the_server_answers_a_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=HELLO, max_tokens=12, **TALKS)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.completion_tokens == 12
    assert answer.model == MODEL


def test_the_server_streams_what_it_says_without_a_stream(client: OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": HELLO, "max_tokens": 30, "temperature": 0, **TALKS}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for each in chunks for choice in each.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 30


def test_a_stream_that_did_not_ask_for_usage_shows_none(client: OpenAI) -> None:
    with client.chat.completions.create(model=NAME, messages=HELLO, max_tokens=8, stream=True, **TALKS) as stream:
        chunks = list(stream)
    assert all(each.usage is None and each.choices for each in chunks)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


def test_the_server_keeps_to_a_json_schema(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=HELLO, response_format=SCHEMA)
    said = json.loads(answer.choices[0].message.content or "")
    assert set(said) == {"city", "is_big"}
    assert isinstance(said["is_big"], bool)


# Without this the model would never begin a call: it knows nothing of tools, the server's grammar does.
CALLS: Any = {"tools": TOOLS, "tool_choice": "required", "logit_bias": {"259": 19}}


def test_the_server_calls_a_tool_and_takes_its_result(client: OpenAI) -> None:
    first = client.chat.completions.create(model=NAME, messages=HELLO, **CALLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None and message.tool_calls[0].type == "function"
    call = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    history = [*HELLO, message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = client.chat.completions.create(model=NAME, messages=history, max_tokens=5, **TALKS)
    assert second.choices[0].message.content


def test_a_streamed_tool_call_is_joined_by_the_sdk(client: OpenAI) -> None:
    with client.chat.completions.stream(model=NAME, messages=HELLO, **CALLS) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.id and call.type == "function" and call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_log_probabilities_come_through(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME, messages=HELLO, max_tokens=3, logprobs=True, top_logprobs=2, **TALKS
    )
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert tokens and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_the_server_completes_a_text_whole_and_streamed(client: OpenAI) -> None:
    whole = client.completions.create(model=NAME, prompt="hello", max_tokens=6, temperature=0, **TALKS)
    stream = client.completions.create(model=NAME, prompt="hello", max_tokens=6, temperature=0, stream=True, **TALKS)
    with stream:
        streamed = "".join(choice.text for each in stream for choice in each.choices)
    assert whole.choices[0].text
    assert streamed == whole.choices[0].text


def test_embeddings_are_the_same_in_both_encodings(client: OpenAI) -> None:
    texts = ["green river", "yellow fish on the road"]
    decoded = client.embeddings.create(model=EMBED, input=texts)
    floats = client.embeddings.create(model=EMBED, input=texts, encoding_format="float")
    assert len(decoded.data) == 2
    for ours, theirs in zip(decoded.data, floats.data, strict=True):
        assert len(ours.embedding) == 32
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)
        assert math.hypot(*ours.embedding) == pytest.approx(1, abs=1e-3)
    assert decoded.data[0].embedding != decoded.data[1].embedding


def test_a_prompt_beyond_the_context_is_a_bad_request_with_its_code(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "hello " * 5000}])
    assert caught.value.code == "context_length_exceeded"


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def discovering(tmp_path: Path) -> Iterator[tuple[GatewayProcess, int]]:
    """A gateway that looks every second at a port where nobody is yet."""
    port = free_port()
    process = start_gateway(
        tmp_path,
        config={"server": {"access_log": "off"}, "discovery": {"interval_seconds": 1}},
        environ={"LLAMACPP_BASE_URL": f"http://127.0.0.1:{port}/v1"},
    )
    process.wait_until_ready()
    yield process, port
    assert process.stop() == 0, process.errors


def test_a_server_is_found_used_and_forgotten_as_it_comes_and_goes(
    discovering: tuple[GatewayProcess, int], tiny_model: Path
) -> None:
    process, port = discovering

    def is_listed() -> bool:
        listed = httpx2.get(f"{process.url}/v1/models").json()["data"]
        return NAME in [model["id"] for model in listed]

    assert not is_listed()
    server = start_llama(tiny_model, port=port)
    try:
        assert _within(15, is_listed), "not found at the interval"
        with OpenAI(base_url=f"{process.url}/v1", api_key="any", max_retries=0) as client:
            answer = client.chat.completions.create(model=NAME, messages=HELLO, max_tokens=5, **TALKS)
            assert answer.choices[0].message.content
            with pytest.raises(NotFoundError):
                client.models.retrieve("llama-cpp/another")
    finally:
        server.stop()
    assert _within(15, lambda: not is_listed()), "not forgotten at the interval"
