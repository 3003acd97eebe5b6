"""Which messages of a chat are read, and which refused."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from msgspec import Raw

from adapters.codec import raw
from gateway.errors import InvalidRequest
from gateway.http.api.messages import MAX_MESSAGES, MAX_TEXT_BYTES, check_messages
from tests.unit.http.reading import USER, chat, read, refusal

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": role, "content": "x"} for role in ("developer", "system", "user", "assistant")],
        [USER, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": "x"}],
        [CALLING, {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "x"}]}],
        [{"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "content": None, "refusal": "no"}],
        [{"role": "assistant", "content": None, "audio": {"id": "a"}}],
        [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}],
        [{"role": "assistant", "content": None, "reasoning_content": "hm"}],
        [{"role": "function", "name": "f", "content": None}],
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": "\u0000\u202e\ufeff\u200b🙂"}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}],
            }
        ],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}],
        [{"content": "x", "role": "user"}],
        [{"content": "x", "name": "n", "role": "user"}],
    ],
)
def test_these_messages_are_fine(messages: list[Any]) -> None:
    assert json.loads(bytes(read(chat(*messages)).fields["messages"])) == messages


# Messages.


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (None, "missing_required_parameter"),
        ([], "empty_array"),
        ({}, "invalid_type"),
        ("x", "invalid_type"),
        (5, "invalid_type"),
        ([USER] * (MAX_MESSAGES + 1), "array_above_max_length"),
    ],
)
def test_messages_of_a_wrong_shape_are_refused(messages: Any, code: str) -> None:
    assert refusal({"model": "m", "messages": messages}) == (400, code, "messages")


@pytest.mark.parametrize("messages", [b"[%b{}]" % (b"{}," * 500_000), b"[{%b}]" % b",".join([b'"a":1'] * 500_000)])
def test_messages_of_too_many_pieces_are_refused(messages: bytes) -> None:
    assert refusal(b'{"model":"p/m","messages":%b}' % messages) == (400, "too_many_items", "messages")


def test_too_many_messages_cost_no_memory() -> None:
    messages = Raw(b"[%b{}]" % (b"{}," * 500_000))
    tracemalloc.start()
    with pytest.raises(InvalidRequest):
        check_messages(messages)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 * len(messages), "each as an object would be twenty times as much"


def test_commas_in_a_long_text_are_no_pieces() -> None:
    check_messages(raw([{"role": "user", "content": "{,}" * 300_000}]))


def test_missing_messages_are_refused() -> None:
    assert refusal({"model": "m"}) == (400, "missing_required_parameter", "messages")


@pytest.mark.parametrize(
    "message",
    [None, [], "x", 5, {}, {"content": "x"}, *({"role": r, "content": "x"} for r in ("root", "", 1, None, [], "User"))],
)
def test_a_message_without_a_known_role_is_refused(message: Any) -> None:
    assert refusal(chat(message)) == (400, "invalid_value", "messages[0].role")
    assert refusal(chat(USER, message)) == (400, "invalid_value", "messages[1].role")


@pytest.mark.parametrize("more", [b"", b', "vendor_field": 1'], ids=["plain", "not plain"])
def test_a_role_is_written_without_escapes_as_rules_of_rows_look_for_it_in_the_bytes(more: bytes) -> None:
    others = b'{"role": "user", "content": "\\u00e9"}, '
    body = b'{"model": "p/m", "messages": [%b{"role": "%bdeveloper", "content": "x"%b}]}'
    assert read(body % (others, b"", more))
    assert refusal(body.replace(b"developer", b"eveloper") % (others, b"\\u0064", more)) == (
        400, "invalid_value", "messages[1].role",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (5, "invalid_type"),
        (True, "invalid_type"),
        ({}, "invalid_type"),
        ([["x"]], "invalid_type"),
        (["x"], "invalid_type"),
        ([{"text": "x"}], "invalid_type"),
        ([{"type": 5}], "invalid_type"),
        ([{"type": "bomb"}], "invalid_type"),
        ([{"type": "text", "text": "x"}, {"type": "bomb"}], "invalid_type"),
        ([], "empty_array"),
        ("x" * MAX_TEXT_BYTES, "string_above_max_length"),
        ([{"type": "text", "text": "x" * MAX_TEXT_BYTES}], "string_above_max_length"),
    ],
    ids=range(12),
)
def test_content_of_a_wrong_shape_is_refused(content: Any, code: str) -> None:
    assert refusal(chat({"role": "user", "content": content})) == (400, code, "messages[0].content")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "system", "content": None},
        {"role": "developer", "name": "x"},
        {"role": "assistant"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": None, "refusal": ""},
        {"role": "tool", "tool_call_id": "call_1", "content": None},
    ],
)
def test_a_message_that_says_nothing_is_refused(message: dict[str, Any]) -> None:
    assert refusal(chat(CALLING, message)) == (400, "invalid_value", "messages[1].content")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "x"},
        {"role": "tool", "content": "x", "tool_call_id": None},
        {"role": "tool", "content": "x", "tool_call_id": 5},
        {"role": "tool", "content": "x", "tool_call_id": "call_2"},
        {"role": "tool", "content": "x", "name": "f"},
    ],
)
def test_a_tool_message_must_answer_an_earlier_call(message: dict[str, Any]) -> None:
    assert refusal(chat(CALLING, message)) == (400, "invalid_value", "messages[1].tool_call_id")


def test_a_tool_message_before_its_call_is_refused() -> None:
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    assert refusal(chat(answer, CALLING)) == (400, "invalid_value", "messages[0].tool_call_id")


@pytest.mark.parametrize("calls", [{}, "x", [5], [{"id": 5}]])
def test_tool_calls_of_a_wrong_shape_are_refused(calls: Any) -> None:
    message = {"role": "assistant", "content": "x", "tool_calls": calls}
    assert refusal(chat(message)) == (400, "invalid_type", "messages[0].tool_calls")
