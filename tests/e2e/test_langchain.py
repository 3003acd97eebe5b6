"""LangChain, which many programs speak through, against a gateway process."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.e2e.answers import chunk, completion, error, text_chunks, tool_delta, vectors
from tests.e2e.stage import Stage
from tests.upstreams.scripted import Answer, Recorded, json_response, sse_response


@pytest.fixture
async def chat(anyport: str) -> AsyncIterator[ChatOpenAI]:
    # With clients of its own: LangChain's are kept for the process and outlive a test's event loop.
    with httpx2.Client() as plain:
        async with httpx2.AsyncClient() as asynchronous:
            yield ChatOpenAI(
                model="stub/quick",
                base_url=f"{anyport}/v1",
                api_key=SecretStr("any"),
                max_retries=0,
                timeout=20,
                http_client=plain,
                http_async_client=asynchronous,
            )


@tool
def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"rain in {city}"


class Place(BaseModel):
    """A place on a map."""

    city: str
    country: str


def test_invoke_answers_with_text_and_counts(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion("Hi!")))
    answer = chat.invoke([HumanMessage("Hello")])
    assert answer.content == "Hi!"
    assert isinstance(answer, AIMessage) and answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 7
    assert answer.usage_metadata["output_tokens"] == 3


async def test_the_async_way_answers_too(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion("Hi!")))
    assert (await chat.ainvoke("Hello")).content == "Hi!"


def test_stream_joins_to_the_whole_text_with_counts(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Good ", "morn", "ing")))
    whole: AIMessageChunk | None = None
    for piece in chat.stream("Hello", stream_usage=True):
        assert isinstance(piece, AIMessageChunk)
        whole = piece if whole is None else whole + piece
    assert whole is not None and whole.content == "Good morning"
    assert whole.usage_metadata is not None and whole.usage_metadata["total_tokens"] == 10
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_the_async_stream_joins_too(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Good ", "morn", "ing")))
    assert "".join([str(piece.content) async for piece in chat.astream("Hello")]) == "Good morning"


def test_a_bound_tool_is_called_and_its_result_sent_back(chat: ChatOpenAI, scripted: Stage) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    scripted.play(
        json_response(completion(None, tool_calls=[call], finish_reason="tool_calls")),
        json_response(completion("It rains.")),
    )
    bound = chat.bind_tools([get_weather])
    first = bound.invoke("Weather?")
    assert isinstance(first, AIMessage)
    assert [(each["id"], each["name"], each["args"]) for each in first.tool_calls] == [
        ("call_1", "get_weather", {"city": "Oslo"})
    ]
    result = get_weather.invoke(first.tool_calls[0])
    assert isinstance(result, ToolMessage)
    second = bound.invoke([HumanMessage("Weather?"), first, result])
    assert second.content == "It rains."
    sent: Any = scripted.last.json()
    assert sent["tools"][0]["function"]["name"] == "get_weather"
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["messages"][2]["content"] == "rain in Oslo"


def test_streamed_tool_calls_are_joined(chat: ChatOpenAI, scripted: Stage) -> None:
    events = [
        chunk(tool_delta(0, "", id="call_a", name="get_weather")),
        chunk(tool_delta(0, '{"city": ')),
        chunk(tool_delta(0, '"Oslo"}')),
        chunk(tool_delta(1, '{"city": "Bern"}', id="call_b", name="get_weather")),
        chunk({}, "tool_calls"),
    ]
    scripted.play(sse_response(events))
    whole: AIMessageChunk | None = None
    for piece in chat.bind_tools([get_weather]).stream("Weather?"):
        assert isinstance(piece, AIMessageChunk)
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert [(each["id"], each["args"]) for each in whole.tool_calls] == [
        ("call_a", {"city": "Oslo"}),
        ("call_b", {"city": "Bern"}),
    ]


def test_structured_output_is_parsed(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(json_response(completion('{"city": "Oslo", "country": "Norway"}')))
    assert chat.with_structured_output(Place).invoke("Where?") == Place(city="Oslo", country="Norway")
    sent: Any = scripted.last.json()
    assert sent["response_format"]["type"] == "json_schema"


def test_a_rate_limit_is_an_exception(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(error(429, "slow down", code="rate_limit_exceeded"))
    with pytest.raises(Exception, match="slow down"):
        chat.invoke("Hello")


def test_a_broken_stream_is_an_exception(chat: ChatOpenAI, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("Once", " upon")[:3], done=False))
    with pytest.raises(Exception, match="stub/quick: "):
        list(chat.stream("Hello"))


def test_documents_and_questions_are_embedded(anyport: str, scripted: Stage) -> None:
    known = {"a": [0.5, -0.25], "b": [1.0, 2.0]}

    def role(request: Recorded) -> Answer:
        body: Any = request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        found = [known[text] for text in texts]
        if body.get("encoding_format") == "base64":
            return vectors(base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in found)
        return vectors(found)

    scripted.play(role)
    with httpx2.Client() as client:
        embeddings = OpenAIEmbeddings(
            model="stub/embed",
            base_url=f"{anyport}/v1",
            api_key=SecretStr("any"),
            check_embedding_ctx_length=False,
            http_client=client,
        )
        assert embeddings.embed_documents(["a", "b"]) == [known["a"], known["b"]]
        assert embeddings.embed_query("b") == known["b"]
