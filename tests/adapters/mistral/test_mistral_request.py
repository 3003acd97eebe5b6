"""What Mistral is sent: a closed list of keys, in its own words."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.mistral import MistralAdapter
from adapters.mistral.ids import tool_id
from adapters.types import Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import target_of

USER = {"role": "user", "content": "hello"}
CALL = {"id": "call_abc-123456789", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
ADAPTER = MistralAdapter()


def sent(
    *messages: Any, operation: Operation = Operation.CHAT, model: str = "mistral-small-latest", **fields: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the upstream's body, and what was reported."""
    given = {"messages": [*messages] or [USER], **fields} if operation is Operation.CHAT else fields
    body = json.dumps({"model": "p/m", **given}).encode()
    call = read_call(operation, body, id="chatcmpl-1", created=1)
    request = ADAPTER.request(call, target_of(protocol="mistral", model=model))
    return json.loads(request.body), request.dropped


def refused(*messages: Any, **fields: Any) -> str:
    with pytest.raises(Unsupported) as caught:
        sent(*messages, **fields)
    assert len(caught.value.message) > len(caught.value.param)
    return caught.value.param


def test_a_foreign_tool_id_becomes_nine_letters_and_digits_in_call_and_result() -> None:
    result = {"role": "tool", "tool_call_id": CALL["id"], "content": "1"}
    body, _ = sent(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, result)
    (called,) = body["messages"][1]["tool_calls"]
    assert re.fullmatch("[A-Za-z0-9]{9}", called["id"])
    assert body["messages"][2]["tool_call_id"] == called["id"]


def test_mistrals_own_tool_id_stays() -> None:
    assert tool_id("qDEcl0n92") == "qDEcl0n92"


@given(first=st.text(), second=st.text())
def test_a_tool_id_depends_on_the_foreign_id_alone(first: str, second: str) -> None:
    assert re.fullmatch("[A-Za-z0-9]{9}", tool_id(first))
    assert (tool_id(first) == tool_id(second)) == (first == second)


def test_a_long_tool_id_is_not_kept_when_its_request_has_gone() -> None:
    id = "call-" * 1_000
    before = sys.getrefcount(id)
    assert tool_id(id)
    assert sys.getrefcount(id) == before


def test_messages_have_no_key_that_mistral_does_not_know() -> None:
    odd = {"role": "assistant", "content": "hi", "refusal": None, "annotations": [], "name": "x", "audio": {"id": "a"}}
    body, dropped = sent({**USER, "name": "ann"}, odd, USER)
    assert body["messages"] == [USER, {"role": "assistant", "content": "hi"}, USER]
    assert set(dropped) == {"messages.name", "messages.audio"}


def test_an_assistant_turn_that_says_nothing_is_left_out() -> None:
    body, _ = sent(USER, {"role": "assistant", "content": ""}, USER)
    assert body["messages"] == [USER, USER]


@pytest.mark.parametrize("mark", [{}, {"prefix": True}])
def test_an_assistant_turn_at_the_end_is_a_prefix(mark: dict[str, Any]) -> None:
    body, dropped = sent(USER, {"role": "assistant", "content": "Once", **mark})
    assert body["messages"][-1] == {"role": "assistant", "content": "Once", "prefix": True}
    assert dropped == ()


def test_a_prefix_before_an_empty_turn_is_still_one() -> None:
    body, _ = sent(USER, {"role": "assistant", "content": "Once"}, {"role": "assistant", "content": ""})
    assert body["messages"][1:] == [{"role": "assistant", "content": "Once", "prefix": True}]


def test_a_conversation_in_which_nobody_said_anything_is_not_empty() -> None:
    assert sent({"role": "assistant", "content": ""})[0]["messages"] == [{"role": "user", "content": "."}]


def test_a_prefix_in_the_middle_is_reported() -> None:
    body, dropped = sent(USER, {"role": "assistant", "content": "Once", "prefix": True}, USER)
    assert "prefix" not in body["messages"][1]
    assert dropped == ("messages.prefix",)


@pytest.mark.parametrize(("model", "fields"), [("magistral-medium-2507", {}), ("m", {"reasoning_effort": "high"})])
def test_reasoning_goes_back_to_models_that_reason(model: str, fields: dict[str, Any]) -> None:
    turn = {"role": "assistant", "content": "4", "reasoning_content": "hm"}
    body, dropped = sent(USER, turn, USER, model=model, **fields)
    assert body["messages"][1]["content"] == [THOUGHT, {"type": "text", "text": "4"}]
    assert dropped == ()


def test_reasoning_does_not_go_to_other_models() -> None:
    body, dropped = sent(USER, {"role": "assistant", "content": "4", "reasoning_content": "hm"}, USER)
    assert body["messages"][1]["content"] == "4"
    assert dropped == ("messages.reasoning_content",)


@pytest.mark.parametrize(("detail", "is_known"), [("low", True), ("auto", True), ("original", False)])
def test_only_the_details_of_images_that_mistral_knows_are_sent(detail: str, is_known: bool) -> None:
    image = {"url": "https://example.com/a.png", "detail": detail}
    body, dropped = sent({"role": "user", "content": [{"type": "image_url", "image_url": image}]})
    (part,) = body["messages"][0]["content"]
    assert part["image_url"] == (image if is_known else {"url": image["url"]})
    assert dropped == (() if is_known else ("messages.content.image_url.detail",))


def test_mistrals_own_thinking_parts_go_back_as_they_came() -> None:
    turn = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "4"}]}
    assert sent(USER, turn, USER)[0]["messages"][1] == turn


@pytest.mark.parametrize("detail", [{"signature": "s"}, {"data": "x"}, {"format": "anthropic-claude-v1"}])
def test_what_another_vendor_signed_or_encrypted_stays_here(detail: dict[str, Any]) -> None:
    turn = {
        "role": "assistant",
        "content": "4",
        "reasoning_details": [{"type": "reasoning.text", "text": "h", **detail}],
    }
    body, dropped = sent(USER, turn, USER, model="magistral-small")
    assert body["messages"][1]["content"] == "4"
    assert dropped == ("messages.reasoning_details",)


@pytest.mark.parametrize(
    ("effort", "expected", "dropped"),
    [
        ("none", "none", ()),
        ("high", "high", ()),
        ("minimal", "none", ("reasoning_effort",)),
        ("low", "high", ("reasoning_effort",)),
        ("medium", "high", ("reasoning_effort",)),
        ("xhigh", "high", ("reasoning_effort",)),
    ],
)
def test_efforts_become_the_two_that_mistral_knows(effort: str, expected: str, dropped: tuple[str, ...]) -> None:
    body, reported = sent(reasoning_effort=effort)
    assert (body["reasoning_effort"], reported) == (expected, dropped)


def test_fields_have_mistrals_names() -> None:
    body, dropped = sent(seed=7, max_completion_tokens=5, tool_choice="required", tools=[TOOL], user="u", store=True)
    assert (body["random_seed"], body["max_tokens"], body["tool_choice"]) == (7, 5, "required")
    assert dropped == ("user", "store")


def test_usage_is_not_asked_for_since_mistral_refuses_the_question() -> None:
    body, dropped = sent(stream=True, stream_options={"include_usage": True})
    assert (body["stream"], dropped) == (True, ())
    assert "stream_options" not in body


@pytest.mark.parametrize(("seed", "temperature"), [(-1, 2)])
def test_what_is_out_of_mistrals_range_is_reported(seed: int, temperature: float) -> None:
    body, dropped = sent(seed=seed, temperature=temperature)
    assert "random_seed" not in body
    assert body["temperature"] == 1.5
    assert set(dropped) == {"seed", "temperature"}


def test_only_the_allowed_tools_are_sent() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    body, _ = sent(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert body["tool_choice"] == "required"


def test_a_custom_tool_of_the_past_is_a_function_with_one_string() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "1+1"}}
    body, _ = sent(USER, {"role": "assistant", "content": None, "tool_calls": [custom]})
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"input": "1+1"}


def test_what_cannot_be_said_is_refused() -> None:
    video = {"type": "video_url", "video_url": {"url": "https://x/a.mp4"}}
    assert refused({"role": "user", "content": [video]}) == "messages[0].content[0]"
    assert refused(tools=[{"type": "custom", "custom": {"name": "run"}}]) == "tools[0]"
    assert refused(modalities=["audio"]) == "modalities"
    assert refused(operation=Operation.EMBEDDINGS, input=[[1, 2]]) == "input"
    assert refused(operation=Operation.COMPLETIONS, prompt=["a", "b"]) == "prompt"
    assert refused(operation=Operation.COMPLETIONS, prompt="a", echo=True) == "echo"


def test_a_schema_without_a_schema_is_any_object() -> None:
    body, _ = sent(response_format={"type": "json_schema", "json_schema": {"name": "s"}})
    assert body["response_format"] == {"type": "json_object"}


def test_embeddings_have_mistrals_names() -> None:
    body, dropped = sent(
        operation=Operation.EMBEDDINGS, input=["a"], dimensions=8, output_dtype="int8", encoding_format="base64", x=1
    )
    assert body == {"model": "mistral-small-latest", "output_dtype": "int8", "output_dimension": 8, "input": ["a"]}
    assert dropped == ("x",)


def test_infill_takes_no_field_of_chats() -> None:
    body, dropped = sent(
        operation=Operation.COMPLETIONS, prompt="a", suffix="b", presence_penalty=1, safe_prompt=True, logprobs=2
    )
    assert body == {"model": "mistral-small-latest", "suffix": "b", "prompt": "a"}
    assert set(dropped) == {"presence_penalty", "safe_prompt", "logprobs"}


def test_choices_of_infill_are_made_by_as_many_requests() -> None:
    body = json.dumps({"model": "p/m", "prompt": "a", "n": 3}).encode()
    call = read_call(Operation.COMPLETIONS, body, id="cmpl-1", created=1)
    assert len(ADAPTER.parts(call, target_of(protocol="mistral"))) == 3


def test_a_longer_conversation_begins_with_the_same_bytes() -> None:
    turns = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    turns += [{"role": "tool", "tool_call_id": CALL["id"], "content": "1"}, USER]

    def made(count: int) -> bytes:
        body = json.dumps({"messages": turns[:count], "model": "p/m", "tools": [TOOL], "seed": 1}).encode()
        call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
        return ADAPTER.request(call, target_of(protocol="mistral")).body

    assert made(4).startswith(made(3).removesuffix(b"]}"))
    assert made(3).startswith(made(1).removesuffix(b"]}"))
