"""Whole answers of the Messages API as chat completions."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.errors import Malformed
from adapters.failures import Failure, FailureKind
from tests.adapters.anthropic.asking import TOOL, answer, body, failed

TEXT = [{"type": "text", "text": "hi"}]


def message(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["choices"][0]["message"]
    return found


def test_texts_are_joined_and_the_model_is_named_as_the_upstream_does() -> None:
    made = answer([*TEXT, {"type": "server_tool_use", "id": "s", "name": "web_search"}, {"type": "text", "text": "!"}])
    assert message(made) == {"role": "assistant", "content": "hi!", "refusal": None}
    assert (made["model"], made["id"], made["created"]) == ("claude-x", "chatcmpl-1", 1)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"), ("compaction", "stop"), (None, "stop"), (5, "stop"),
    ],
)  # fmt: skip
def test_reasons_of_ending_are_told_in_openais_words(reason: Any, finish: str) -> None:
    assert answer(TEXT, reason)["choices"][0]["finish_reason"] == finish


def test_calls_come_with_their_arguments_as_text_and_their_names_given_back() -> None:
    tool = {"type": "function", "function": {"name": "a.b"}}
    name = body(tools=[tool])["tools"][0]["name"]
    blocks = [
        {"type": "tool_use", "id": "t1", "name": name, "input": {"x": "é"}},
        {"type": "tool_use", "id": "t2", "name": "f"},
    ]
    made = answer(blocks, "tool_use", ask_tools=[tool, TOOL])
    assert message(made)["content"] is None
    assert [(call["id"], call["function"]) for call in message(made)["tool_calls"]] == [
        ("t1", {"name": "a.b", "arguments": '{"x":"é"}'}),
        ("t2", {"name": "f", "arguments": "{}"}),
    ]
    assert made["choices"][0]["finish_reason"] == "tool_calls"
    assert answer(blocks, "end_turn")["choices"][0]["finish_reason"] == "tool_calls"
    assert answer(blocks, "max_tokens")["choices"][0]["finish_reason"] == "length"


def test_old_functions_get_a_function_call() -> None:
    made = answer(
        [{"type": "tool_use", "id": "t", "name": "f", "input": {}}], "tool_use", ask_functions=[TOOL["function"]]
    )
    assert message(made)["function_call"] == {"name": "f", "arguments": "{}"}
    assert made["choices"][0]["finish_reason"] == "function_call"


def test_a_custom_tool_gets_its_text() -> None:
    custom = {"type": "custom", "custom": {"name": "sql"}}
    made = answer(
        [{"type": "tool_use", "id": "t", "name": "sql", "input": {"input": "SELECT\n1"}}],
        "tool_use",
        ask_tools=[custom],
    )
    assert message(made)["tool_calls"] == [
        {"id": "t", "type": "custom", "custom": {"name": "sql", "input": "SELECT\n1"}}
    ]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}}}


def test_an_answer_through_a_tool_is_an_answer() -> None:
    call = {"type": "tool_use", "id": "t", "name": "s", "input": {"a": 1}}
    blocks = [*TEXT, call, {**call, "input": {"a": 2}}]
    made = answer(blocks, "tool_use", model="claude-opus-4-1", ask_response_format=SCHEMA)
    assert message(made) == {"role": "assistant", "content": '{"a":1}', "refusal": None}
    assert made["choices"][0]["finish_reason"] == "stop"


def test_json_asked_for_in_words_loses_its_fence() -> None:
    fenced = [{"type": "text", "text": '```json\n{"a": 1}\n```'}]
    assert message(answer(fenced, ask_response_format={"type": "json_object"}))["content"] == '{"a": 1}'
    assert message(answer(fenced))["content"] == fenced[0]["text"]


def test_counts_are_openais_with_the_cached_ones_among_them() -> None:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "output_tokens": 5,
    }
    details = {"output_tokens_details": {"thinking_tokens": 3}, "service_tier": "standard"}
    made = answer(TEXT, usage={**usage, **details})
    assert made["usage"] == {
        "prompt_tokens": 1110,
        "completion_tokens": 5,
        "total_tokens": 1115,
        "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert made["service_tier"] == "default"


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "x", {"input_tokens": "5"}, {"input_tokens": -1}, {"input_tokens": True}, {"input_tokens": 2**60}],
)
def test_counts_that_make_no_sense_are_not_told(usage: Any) -> None:
    assert "usage" not in answer(TEXT, usage=usage)


def test_a_refusal_takes_the_place_of_what_was_said() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    for content in ([], TEXT):
        made = answer(content, "refusal", stop_details=details)
        assert message(made) == {"role": "assistant", "content": None, "refusal": "No."}
        assert made["choices"][0]["finish_reason"] == "content_filter"
    assert message(answer([], "refusal"))["refusal"]


def test_a_natural_end_without_words_is_an_empty_answer() -> None:
    assert message(answer([]))["content"] == ""


def test_citations_of_pages_become_annotations() -> None:
    cited = {"type": "web_search_result_location", "url": "https://x/", "title": "X", "cited_text": "…"}
    blocks = [*TEXT, {"type": "text", "text": "there", "citations": [cited, {"type": "char_location"}]}]
    assert message(answer(blocks))["annotations"] == [
        {"type": "url_citation", "url_citation": {"start_index": 2, "end_index": 7, "title": "X", "url": "https://x/"}}
    ]


@pytest.mark.parametrize(
    "whole",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"content":"hi"}',
        b'{"content":[]}',
        b'{"content":[{"type":"tool_use"}],"stop_reason":"tool_use"}',
    ],
)
def test_what_is_no_answer_is_refused(whole: bytes) -> None:
    assert isinstance(failed(whole), Malformed)


def test_an_error_under_status_200_is_an_error() -> None:
    said = failed({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert isinstance(said, Failure) and said.kind is FailureKind.OVERLOADED
    bare = failed({"error": {"message": "no"}})
    assert isinstance(bare, Failure) and bare.message == "no"
