"""Reasoning: how much is asked for, and that it survives the way to the client and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Unsupported
from tests.adapters.anthropic.asking import (
    START,
    STOP,
    TOOL,
    USER,
    Streamed,
    answer,
    body,
    calls,
    closed,
    ended,
    opened,
    piece,
    request,
    result,
    tool_blocks,
)

SUMMARIZED = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output"),
    [
        ("claude-opus-5-5", "none", None, {"effort": "low"}),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-4-8", "none", None, None),
        ("claude-opus-5", "none", {"type": "disabled"}, None),
        ("claude-opus-5", "xhigh", SUMMARIZED, {"effort": "xhigh"}),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-opus-4-6", "low", {"type": "adaptive"}, {"effort": "low"}),
        ("claude-sonnet-4-5", "high", {"type": "enabled", "budget_tokens": 16_384}, None),
        ("claude-opus-4-5", "minimal", None, None),
        ("claude-3-5-haiku-latest", "high", None, None),
        ("someone-elses", "high", None, None),
    ],
)
def test_an_effort_takes_the_models_own_form(model: str, effort: str, thinking: Any, output: Any) -> None:
    made = body(USER, model=model, reasoning_effort=effort)
    assert made.get("thinking") == thinking
    assert made.get("output_config") == output


def test_an_effort_that_cannot_be_had_is_reported() -> None:
    for model in ("claude-3-5-haiku-latest", "someone-elses"):
        assert request(USER, model=model, reasoning_effort="high").dropped == ("reasoning_effort",)
    assert request(USER, model="claude-opus-5-5", reasoning_effort="none").dropped == ("reasoning_effort",)


@pytest.mark.parametrize("limit", [1025, 1500, 2000, 20_000, 64_000])
@pytest.mark.parametrize("effort", ["low", "high", "max"])
def test_a_budget_stays_below_the_limit_that_the_client_gave(limit: int, effort: str) -> None:
    made = body(USER, model="claude-sonnet-4-5", reasoning_effort=effort, max_tokens=limit)
    assert made["max_tokens"] == limit
    assert 1024 <= made["thinking"]["budget_tokens"] < limit


def test_a_limit_too_small_for_any_budget_wins_over_the_effort() -> None:
    made = request(USER, model="claude-sonnet-4-5", reasoning_effort="high", max_tokens=1000)
    assert "thinking" not in json.loads(made.body)
    assert made.dropped == ("reasoning_effort",)


def test_a_limit_of_ours_grows_by_what_the_thinking_may_need() -> None:
    assert body(USER, model="claude-sonnet-4-5", reasoning_effort="medium")["max_tokens"] == 8192 + 8192
    assert body(USER, model="claude-opus-4-6", reasoning_effort="medium")["max_tokens"] == 8192 + 8192
    assert body(USER, model="claude-opus-5-5")["max_tokens"] == 8192 + 16_384
    assert body(USER, model="claude-opus-4-5", reasoning_effort="max")["max_tokens"] == 64_000


def test_a_forced_tool_wins_over_a_budget() -> None:
    asked: Any = {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "high"}
    made = request(USER, model="claude-sonnet-4-5", **asked)
    assert json.loads(made.body)["tool_choice"] == {"type": "any"}
    assert "thinking" not in json.loads(made.body)
    assert made.dropped == ("reasoning_effort",)
    assert body(USER, model="claude-opus-4-6", **asked)["thinking"] == {"type": "adaptive"}


def test_the_protocols_own_words_for_thinking_travel_and_hold() -> None:
    native = {"type": "enabled", "budget_tokens": 2000}
    made = body(USER, thinking=native, max_tokens=1500, temperature=0.5, tools=[TOOL], tool_choice="required")
    assert made["thinking"] == native
    assert made["max_tokens"] == 3500
    assert "temperature" not in made
    assert made["tool_choice"] == {"type": "auto"}
    assert made["messages"][-1]["content"][-1]["text"].startswith("Answer by calling")
    effort = body(USER, model="claude-opus-5-5", output_config={"effort": "max"}, reasoning_effort="low")
    assert effort["output_config"]["effort"] == "max"


def test_while_it_thinks_a_model_takes_little_sampling() -> None:
    made = request(USER, model="claude-opus-4-6", reasoning_effort="low", temperature=0.5, top_p=0.5, top_k=3)
    sent = json.loads(made.body)
    assert sent["top_p"] == 0.95 and "temperature" not in sent and "top_k" not in sent
    assert made.dropped == ("top_p", "temperature", "top_k")


SIGNED = {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}
HIDDEN = {"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1", "index": 1}
BACK = [
    {"type": "thinking", "thinking": "hm", "signature": "sig"},
    {"type": "redacted_thinking", "data": "xyz"},
]


def test_signed_reasoning_goes_back_unchanged_before_the_words() -> None:
    made = body(USER, {"role": "assistant", "content": "hi", "reasoning_details": [SIGNED, HIDDEN]}, USER)
    assert made["messages"][1]["content"] == [*BACK, {"type": "text", "text": "hi"}]
    blocks = body(USER, {"role": "assistant", "content": "hi", "thinking_blocks": BACK}, USER)
    assert blocks["messages"] == made["messages"]


@pytest.mark.parametrize(
    "members",
    [
        {"reasoning_content": "hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{**SIGNED, "format": "google-gemini-v1"}]},
    ],
)
def test_reasoning_without_a_signature_of_this_vendor_is_not_sent_and_reported(members: Any) -> None:
    made = request(USER, {"role": "assistant", "content": "hi", **members}, USER)
    assert json.loads(made.body)["messages"][1]["content"] == "hi"
    assert made.dropped == (f"messages.{next(iter(members))}",)


def test_a_budget_is_left_out_where_the_calls_before_were_made_without_thinking() -> None:
    turns = [USER, calls("a"), result("a")]
    without = request(*turns, model="claude-sonnet-4-5", reasoning_effort="high", tools=[TOOL])
    assert "thinking" not in json.loads(without.body)
    assert without.dropped == ("reasoning_effort",)
    turns[1] = calls("a", reasoning_details=[SIGNED])
    assert body(*turns, model="claude-sonnet-4-5", reasoning_effort="high", tools=[TOOL])["thinking"]
    assert body(USER, calls("a"), result("a"), model="claude-opus-4-6", reasoning_effort="high")["thinking"]


def test_models_that_bind_thinking_may_forget_what_no_longer_fits() -> None:
    turn = {"role": "assistant", "content": "hi", "reasoning_details": [SIGNED]}
    made = request(USER, turn, USER, model="claude-opus-5-5")
    sent = json.loads(made.body)
    assert sent["thinking"] == {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    assert dict(made.headers)["anthropic-beta"] == "thinking-binding-controls-2026-08-01"
    off = body(USER, turn, USER, model="claude-haiku-5-5", reasoning_effort="none")
    assert off["thinking"] == {"type": "disabled"}
    assert "thinking" not in body(USER, {**turn, "reasoning_details": []}, USER, model="claude-opus-5-5")
    assert "thinking" not in body(USER, turn, USER, model="claude-opus-4-8")


def test_reasoning_of_an_answer_comes_back_as_it_was_signed() -> None:
    made = answer([*BACK, {"type": "text", "text": "hi"}])
    message = made["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    assert message["reasoning_details"] == [SIGNED, HIDDEN]
    assert body(USER, message, USER)["messages"][1]["content"] == [*BACK, {"type": "text", "text": "hi"}]


def test_reasoning_of_a_stream_comes_back_as_it_was_signed() -> None:
    streamed = Streamed(
        START,
        opened(0, "thinking", thinking="", signature=""),
        piece(0, "thinking_delta", thinking="h"),
        piece(0, "thinking_delta", thinking="m"),
        piece(0, "signature_delta", signature="sig"),
        closed(0),
        opened(1, "redacted_thinking", data="xyz"),
        closed(1),
        *tool_blocks(2, "a", "f", "{}"),
        ended("tool_use"),
        STOP,
    )
    assert "".join(delta.get("reasoning_content", "") for delta in streamed.deltas) == "hm"
    details = [each for delta in streamed.deltas for each in delta.get("reasoning_details", ())]
    assert details == [SIGNED, HIDDEN]


def test_omitted_thinking_still_has_its_signature() -> None:
    streamed = Streamed(
        START,
        opened(0, "thinking", thinking="", signature=""),
        piece(0, "signature_delta", signature="sig"),
        closed(0),
        opened(1),
        piece(1, text="hi"),
        closed(1),
        ended("end_turn"),
        STOP,
    )
    details = [each for delta in streamed.deltas for each in delta.get("reasoning_details", ())]
    assert details == [{**SIGNED, "text": ""}]
    assert streamed.text == "hi"
    sent = body(USER, {"role": "assistant", "content": "hi", "reasoning_details": details}, USER)
    assert sent["messages"][1]["content"][0] == {"type": "thinking", "thinking": "", "signature": "sig"}


def test_thinking_in_another_vendors_words_is_understood_or_reported() -> None:
    made = request(USER, model="claude-sonnet-4-5", thinking={"type": "enabled", "clear_thinking": False})
    assert json.loads(made.body)["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert made.dropped == ("thinking.clear_thinking",)
    made = request(USER, model="claude-opus-4-8", thinking={"type": "enabled"})
    assert json.loads(made.body)["thinking"]["type"] == "adaptive"
    made = request(USER, model="claude-opus-4-8", thinking={"clear_thinking": False})
    assert "thinking" not in json.loads(made.body)


def test_a_budget_that_is_no_number_is_refused_and_null_is_none() -> None:
    with pytest.raises(Unsupported) as refused:
        request(USER, thinking={"type": "enabled", "budget_tokens": [1]})
    assert refused.value.param == "thinking"
    made = body(USER, model="claude-sonnet-4-5", thinking={"type": "enabled", "budget_tokens": None})
    assert made["thinking"]["budget_tokens"] == 8192
