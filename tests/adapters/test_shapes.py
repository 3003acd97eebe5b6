"""What is put right in messages: think tags, content lists, reasoning, tool calls, finish reasons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.shapes import (
    ThinkTags,
    argument_text,
    complete_tool_call,
    finish_reason,
    join_content,
    lift_reasoning,
    split_think_tags,
)
from tests.adapters.recorded import rules_of

PIECES = st.lists(
    st.one_of(
        st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</th", "ink>", "\n", " ", "<", "</", "a", "<b>"]),
        st.text(max_size=4),
    ),
    max_size=8,
)


def split(pieces: list[str]) -> tuple[str, str]:
    tags = ThinkTags()
    parts = [*map(tags.feed, pieces), tags.close()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>a</think>\n\nb", "a", "b"),
        ("<think>\na\n</think>b", "a\n", "b"),
        ("\n <think>a</think>b", "a", "b"),
        ("<think></think>b", "", "b"),
        ("<think>a", "a", ""),
        ("<think>a</thin", "a</thin", ""),
        ("<think>a</think>", "a", ""),
        ("<think>a</think>\n\n\nb\n\nc", "a", "b\n\nc"),
        ("<think>a <think> b</think>c</think>", "a <think> b", "c</think>"),
        ("b", "", "b"),
        ("", "", ""),
        ("\n b", "", "\n b"),
        ("  ", "", "  "),
        ("<thi", "", "<thi"),
        ("<thing>b", "", "<thing>b"),
        ("b <think>a</think>", "", "b <think>a</think>"),
        ("a</think>b", "", "a</think>b"),
    ],
)
def test_think_tags_are_taken_apart(text: str, reasoning: str, content: str) -> None:
    assert split([text]) == (reasoning, content)
    assert split(list(text)) == (reasoning, content)


@given(PIECES)
def test_any_cutting_of_think_tags_gives_the_same(pieces: list[str]) -> None:
    assert split(pieces) == split(["".join(pieces)])


@given(PIECES)
def test_nothing_but_tags_and_line_breaks_is_lost(pieces: list[str]) -> None:
    whole = "".join(pieces)
    reasoning, content = split([whole])
    assert len(whole.lstrip()) - len((reasoning + content).strip()) <= len("<think></think>") + whole.count("\n") + (
        len(whole.lstrip()) - len(whole.strip()) + len(reasoning) - len(reasoning.rstrip())
    )
    assert content in whole
    assert reasoning in whole


def test_think_tags_of_a_whole_message_are_split_where_the_row_says_so() -> None:
    message: dict[str, Any] = {"content": "<think>a</think>b"}
    split_think_tags(message, rules_of())
    assert message == {"content": "<think>a</think>b"}
    split_think_tags(message, rules_of(reasoning_out="think_tags"))
    assert message == {"content": "b", "reasoning_content": "a"}
    empty: dict[str, Any] = {"content": None}
    split_think_tags(empty, rules_of(reasoning_out="think_tags"))
    assert empty == {"content": None}


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"reasoning_content": "a"}, "a"),
        ({"reasoning": "a"}, "a"),
        ({"reasoning": "a", "reasoning_content": "a"}, "a"),
        ({"reasoning": "b", "reasoning_content": "a"}, "a"),
        ({"reasoning": "b", "reasoning_content": ""}, "b"),
        ({"reasoning": "", "reasoning_details": [{"text": "a"}, {"summary": "b"}]}, "ab"),
        ({"reasoning": "a", "reasoning_details": [{"text": "a"}]}, "a"),
        ({"reasoning": None, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, None),
        ({"reasoning_details": [{"text": None, "summary": 5}, 1, None]}, None),
        ({"reasoning_details": {"text": "a"}}, None),
        ({}, None),
    ],
)
def test_reasoning_is_found_once_wherever_it_is(message: dict[str, Any], reasoning: str | None) -> None:
    details = message.get("reasoning_details")
    lift_reasoning(message)
    assert (message.get("reasoning_content") or None) == reasoning
    assert not isinstance(message.get("reasoning"), str)
    assert message.get("reasoning_details") == details, "OpenRouter wants them back unchanged"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"content": "ab"}),
        ([{"type": "thinking", "thinking": [{"text": "t"}]}, {"type": "text", "text": "a"}], {"content": "a"}),
        ([{"type": "thinking", "thinking": "t"}], {"content": ""}),
        ([{"type": "thinking", "thinking": [{"text": None}, {}, 5]}], {"content": ""}),
        ([{"type": "reference", "reference_ids": [1]}, {"text": 5}, None], {"content": ""}),
        ([], {"content": ""}),
        ("a", {"content": "a"}),
        (None, {"content": None}),
    ],
)
def test_a_list_of_parts_becomes_text(content: Any, expected: dict[str, Any]) -> None:
    message = {"content": content}
    join_content(message)
    assert {"content": message["content"]} == expected
    assert message.get("reasoning_content", "t") == "t"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *[(word, word) for word in ("stop", "length", "tool_calls", "content_filter", "function_call")],
        *[(word, "stop") for word in ("eos", "eos_token", "end_turn", "stop_sequence", "something new")],
        *[(word, "length") for word in ("model_length", "max_tokens", "model_context_window_exceeded")],
        *[(word, "content_filter") for word in ("sensitive", "content_filtered")],
        ("tool_use", "tool_calls"),
        ("", None),
    ],
)
def test_finish_reasons_become_those_of_openai(word: str, expected: str | None) -> None:
    assert finish_reason(word, has_tool_calls=False) == expected


def test_an_empty_finish_reason_after_tool_calls_means_them() -> None:
    assert finish_reason("", has_tool_calls=True) == "tool_calls"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("", ""), ("{}", "{}"), ({"a": [1, "é"]}, '{"a":[1,"é"]}'), ([], "[]"), (5, "5")]
)
def test_tool_arguments_become_json_text(value: Any, text: str) -> None:
    assert argument_text(value) == text


def test_a_tool_call_is_completed() -> None:
    call: dict[str, Any] = {"function": {"name": "f", "arguments": {}}}
    complete_tool_call(call, "call_x")
    assert call == {"id": "call_x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    custom: dict[str, Any] = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    complete_tool_call(custom, "call_x")
    assert custom == {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
