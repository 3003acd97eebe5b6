"""An answer that was streamed although nobody asked for that is put together, by every protocol's own decoder."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from adapters.errors import UpstreamSaid
from adapters.gathered import gather_reply, is_stream
from adapters.types import Operation
from tests.adapters.contract import asked, call_for
from tests.adapters.recorded import ADAPTERS, Case, events, load_cases, target_of

STREAMS = [case for case in load_cases() if case.call.stream and case.suffix == ".sse" and is_stream(case.upstream)]
WHOLE = [
    case
    for case in STREAMS
    if case.call.operation is Operation.CHAT and case.expected.read_bytes().endswith(b"data: [DONE]\n\n")
]
HEAD = STREAMS[0].head


def gathered(case: Case) -> dict[str, Any]:
    call = msgspec.structs.replace(case.call, stream=False)
    return json.loads(gather_reply(case.adapter, call, case.target, case.head, case.upstream).body)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_it_says_what_the_sdk_makes_of_the_stream(case: Case) -> None:
    state = ChatCompletionStreamState()
    for event in events(case.expected.read_bytes()):
        if event != "[DONE]":
            state.handle_chunk(ChatCompletionChunk.model_validate(event))
    answer = gathered(case)
    assert ChatCompletion.model_validate(answer)
    assert answer["object"] == "chat.completion"
    for theirs, ours in zip(state.current_completion_snapshot.choices, answer["choices"], strict=True):
        message = ours["message"]
        assert (message["content"] or "") == (theirs.message.content or "")
        assert message.get("reasoning_content", None) == getattr(theirs.message, "reasoning_content", None)
        assert ours["finish_reason"] == theirs.finish_reason
        calls = [
            (each["id"], each["function"]["name"], each["function"]["arguments"])
            for each in message.get("tool_calls") or []
            if "function" in each
        ]
        assert calls == [
            (each.id, each.function.name, each.function.arguments)
            for each in theirs.message.tool_calls or []
            if each.type == "function"
        ]


def test_its_counts_come_along() -> None:
    body = (
        b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"h"}}]}\n\n'
        b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"i"},"finish_reason":"stop"}]}\n\n'
        b'data: {"id":"1","model":"m","choices":[],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
        b"data: [DONE]\n\n"
    )
    reply = gather_reply(ADAPTERS["openai"], call_for(asked()), target_of(), HEAD, body)
    answer = json.loads(reply.body)
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hi", "refusal": None}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert reply.usage is not None
    assert (reply.usage.prompt, reply.usage.completion, reply.finish, reply.model) == (3, 2, "stop", "m")


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
        b'data: {"error":{"message":"no","code":500}}\n\n',
        b": ping\n\n",
    ],
)
def test_a_stream_that_is_cut_or_broken_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamSaid):
        gather_reply(ADAPTERS["openai"], call_for(asked()), target_of(), HEAD, body)


@pytest.mark.parametrize("body", [b"data: {}", b"\xef\xbb\xbf: ping", b"\r\nevent: x", b"id:1", b"retry: 1"])
def test_events_are_known_by_their_beginning(body: bytes) -> None:
    assert is_stream(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'"data:"', b"[1]", b"<html>data:", b' {"a":1}'])
def test_other_bodies_are_none(body: bytes) -> None:
    assert not is_stream(body)
