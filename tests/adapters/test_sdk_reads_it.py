"""The official SDK's own types and accumulators judge what the client gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from adapters.types import Operation
from tests.adapters.recorded import Case, events, load_cases

ANSWERED = [case for case in load_cases() if case.expected.read_bytes() and case.call.operation is not Operation.RERANK]
STREAMS = [case for case in ANSWERED if case.call.stream and case.call.operation is Operation.CHAT]
WHOLE = [case for case in STREAMS if case.expected.read_bytes().endswith(b"data: [DONE]\n\n")]
TYPES = {
    (Operation.CHAT, False): ChatCompletion,
    (Operation.CHAT, True): ChatCompletionChunk,
    (Operation.COMPLETIONS, False): Completion,
    (Operation.COMPLETIONS, True): Completion,
    (Operation.EMBEDDINGS, False): CreateEmbeddingResponse,
}


def answers(case: Case) -> list[Any]:
    data = case.expected.read_bytes()
    return [event for event in events(data) if event != "[DONE]"] if case.call.stream else [json.loads(data)]


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.name)
def test_every_recorded_answer_fits_the_sdks_types(case: Case) -> None:
    type = TYPES[case.call.operation, case.call.stream]
    for answer in answers(case):
        if type is Completion and case.call.stream and answer["choices"]:
            answer["choices"][0]["finish_reason"] = answer["choices"][0]["finish_reason"] or "stop"
        if type is CreateEmbeddingResponse and bytes(case.call.fields.get("encoding_format", b"")) == b'"base64"':
            assert all(isinstance(item.pop("embedding"), str) for item in answer["data"])
            continue
        assert type.model_validate(answer)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_the_sdks_accumulator_puts_every_whole_stream_together(case: Case) -> None:
    state = ChatCompletionStreamState()
    for answer in answers(case):
        state.handle_chunk(ChatCompletionChunk.model_validate(answer))
    completion = state.current_completion_snapshot
    for choice in completion.choices:
        assert choice.finish_reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
        assert choice.message.role == "assistant"  # it adds up what is said twice
        for number, call in enumerate(choice.message.tool_calls or []):
            assert call.type == "function"
            assert call.id
            assert call.function.name
            assert isinstance(json.loads(call.function.arguments), dict), number
    if case.call.wants_usage:
        assert completion.usage is not None
    elif case.target.rules.stream_usage == "opt_in":
        assert completion.usage is None


def accumulated(name: str) -> ChatCompletion:
    case = next(case for case in WHOLE if case.directory.name == name and case.adapter.protocol == "openai")
    state = ChatCompletionStreamState()
    for answer in answers(case):
        state.handle_chunk(ChatCompletionChunk.model_validate(answer))
    return state.current_completion_snapshot


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("tool_id_and_name_repeated", [("call_1", "ff", {"a": 1})]),
        ("tool_call_without_arguments", [("call_1", "now", {})]),
        ("tool_call_with_empty_arguments", [("call_1", "now", {})]),
        ("tool_calls_begin_at_one", [("call_1", "one", {"a": 1})]),
        ("parallel_tools_interleaved", [("call_1", "one", {"a": 1}), ("call_2", "two", {"b": 2})]),
        ("ollama_calls_all_at_index_zero", [("call_1", "one", {"a": 1}), ("call_2", "two", {"b": 2})]),
        ("two_calls_one_without_type", [("call_1", "one", {}), ("call_2", "two", {})]),
        ("mistral_calls_without_index", [("D681PevKs", "one", {"a": 1}), ("x81PevKsq", "two", {})]),
        ("whole_call_with_a_foreign_finish", [("call_1", "one", {})]),
        ("stream_answered_with_json", [("call_1", "one", {"a": 1})]),
    ],
)
def test_tool_calls_arrive_once_and_whole(name: str, calls: list[tuple[str, str, Any]]) -> None:
    got = accumulated(name).choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in got] == calls


@pytest.mark.parametrize(
    ("name", "reasoning", "content"),
    [
        ("vllm_reasoning_field", "Let me think.", "Hello"),
        ("reasoning_under_two_names", "same", "Hello"),
        ("openrouter_reasoning_twice", "thinkmore", "Hello"),
        ("minimax_think_tags", "a", "b <think> c"),
        ("mistral_content_list", "hm", "Hello"),
        ("perplexity_message_beside_delta_crlf", None, "ab"),
        ("stream_of_many_tongues", None, "é漢字🙂\u2028\u0085\u2029x\u200d👩\u200d👩"),
    ],
)
def test_reasoning_and_text_arrive_apart_and_once(name: str, reasoning: str | None, content: str) -> None:
    message = accumulated(name).choices[0].message
    assert (getattr(message, "reasoning_content", None), message.content) == (reasoning, content)
