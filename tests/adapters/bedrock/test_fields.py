"""The fields beside the conversation, model by model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.bedrock.models import model as abilities
from adapters.errors import Unsupported
from adapters.fidelity import Fate
from adapters.types import Operation
from tests.adapters.bedrock.asking import (
    ADAPTER,
    CLAUDE,
    CLAUDE_3,
    GPT_OSS,
    LLAMA,
    MISTRAL,
    NOVA,
    OPUS_46,
    OPUS_55,
    TOOL,
    USER,
    asked,
    assistant,
    call_of,
    request,
    result,
    target,
    tool_call,
)
from tests.adapters.inbound import CHAT

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "thing", "description": "a thing", "schema": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(("given", "sent", "lost"), [(1.5, 1, True), (-0.5, 0, True), (0, 0, False), (0.3, 0.3, False)])
def test_temperature_is_moved_into_its_limits(given: float, sent: float, lost: bool) -> None:
    body, dropped = asked(temperature=given)
    assert body["inferenceConfig"] == {"temperature": sent}
    assert dropped == (("temperature",) if lost else ())


def test_a_model_that_takes_one_of_two_gets_temperature() -> None:
    body, dropped = asked(temperature=0.5, top_p=0.9)
    assert body["inferenceConfig"] == {"temperature": 0.5}
    assert dropped == ("top_p",)
    body, dropped = asked(temperature=0.5, top_p=0.9, model=CLAUDE_3)
    assert body["inferenceConfig"] == {"temperature": 0.5, "topP": 0.9}
    assert dropped == ()


def test_a_model_that_takes_no_sampling_gets_none() -> None:
    body, dropped = asked(temperature=0.5, top_p=0.9, top_k=3, model=OPUS_55)
    assert "inferenceConfig" not in body
    assert set(dropped) == {"temperature", "top_p", "top_k"}


def test_blank_stops_are_not_sent_to_claude() -> None:
    body, dropped = asked(stop=["\n\n", "END"])
    assert body["inferenceConfig"] == {"stopSequences": ["END"]}
    assert dropped == ("stop",)
    assert asked(stop=["\n\n", "END"], model=LLAMA)[0]["inferenceConfig"] == {"stopSequences": ["\n\n", "END"]}


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (CLAUDE, {"top_k": 5}),
        (NOVA, {"inferenceConfig": {"topK": 5}}),
        ("cohere.command-r-plus-v1:0", {"k": 5}),
    ],
)
def test_top_k_goes_where_the_model_reads_it(model: str, sent: Any) -> None:
    assert asked(top_k=5, model=model) == ({**asked(model=model)[0], "additionalModelRequestFields": sent}, ())


def test_top_k_is_reported_where_nobody_reads_it() -> None:
    assert asked(top_k=5, model=LLAMA)[1] == ("top_k",)


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        (CLAUDE, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (OPUS_46, "high", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        (
            OPUS_55,
            "minimal",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        ),
        ("us.anthropic.claude-sonnet-5", "none", {"thinking": {"type": "disabled"}}),
        (NOVA, "medium", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        (GPT_OSS, "minimal", {"reasoning_effort": "low"}),
    ],
)
def test_effort_is_told_in_the_models_words(model: str, effort: str, sent: Any) -> None:
    body, dropped = asked(reasoning_effort=effort, model=model)
    assert body["additionalModelRequestFields"] == sent
    assert dropped == ()


@pytest.mark.parametrize("model", [LLAMA, CLAUDE_3, MISTRAL])
def test_effort_is_reported_for_models_that_do_not_think(model: str) -> None:
    body, dropped = asked(reasoning_effort="high", model=model)
    assert "additionalModelRequestFields" not in body
    assert dropped == ("reasoning_effort",)


@pytest.mark.parametrize(("limit", "budget"), [(20_000, 8_192), (8_000, 6_000), (1_100, 1_024)])
def test_a_budget_leaves_room_for_the_answer(limit: int, budget: int) -> None:
    body, _ = asked(reasoning_effort="medium", max_tokens=limit)
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == budget
    assert body["inferenceConfig"]["maxTokens"] == limit


def test_an_answer_too_short_to_think_is_not_thought() -> None:
    assert asked(reasoning_effort="low", max_tokens=500)[1] == ("reasoning_effort",)


def test_beside_thinking_there_is_no_sampling() -> None:
    body, dropped = asked(reasoning_effort="low", temperature=0.5, top_p=0.9, top_k=3)
    assert "inferenceConfig" not in body
    assert set(dropped) == {"temperature", "top_p", "top_k"}
    assert asked(reasoning_effort="low", temperature=1)[0]["inferenceConfig"] == {"temperature": 1}


def test_claude_does_not_think_while_it_answers_a_call_that_it_made_without() -> None:
    history = (USER, assistant(tool_calls=[tool_call()]), result())
    assert asked(*history, tools=[TOOL], reasoning_effort="low")[1] == ("reasoning_effort",)
    signed = assistant(
        tool_calls=[tool_call()], reasoning_details=[{"type": "reasoning.text", "text": "t", "signature": "s"}]
    )
    body, dropped = asked(USER, signed, result(), tools=[TOOL], reasoning_effort="low")
    assert body["additionalModelRequestFields"]["thinking"]["type"] == "enabled"
    assert dropped == ()


def test_a_forced_tool_comes_before_thinking() -> None:
    body, dropped = asked(tools=[TOOL], tool_choice="required", reasoning_effort="low")
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert dropped == ("reasoning_effort",)


def test_nova_with_the_highest_effort_takes_no_limits() -> None:
    body, dropped = asked(reasoning_effort="high", max_tokens=5, temperature=0.5, top_p=0.5, stop="x", model=NOVA)
    assert body["inferenceConfig"] == {"stopSequences": ["x"]}
    assert dropped == ("max_tokens", "temperature", "top_p")


def test_clients_may_write_what_goes_to_the_model_itself() -> None:
    own = {"thinking": {"type": "enabled", "budget_tokens": 5000}, "anthropic_beta": ["x"]}
    body, dropped = asked(additionalModelRequestFields=own, reasoning_effort="low", top_k=3)
    assert body["additionalModelRequestFields"] == own
    assert dropped == ("top_k",)
    assert asked(thinking={"type": "disabled"})[0]["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert asked(thinking={"type": "disabled"}, model=NOVA)[1] == ("thinking",)


@pytest.mark.parametrize(
    ("fields", "extra", "lost"),
    [
        ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled", "budget_tokens": 8192}}, ()),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
         {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ()),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "clear_thinking": True}},
         {"thinking": {"type": "enabled", "budget_tokens": 2000}}, ("thinking.clear_thinking",)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "reasoning_effort": "low"},
         {"thinking": {"type": "enabled", "budget_tokens": 2000}}, ("reasoning_effort",)),
        ({"thinking": {"type": "auto"}}, None, ("thinking",)),
        ({"thinking": {"type": "enabled"}, "max_tokens": 500}, None, ("thinking",)),
    ],
)  # fmt: skip
def test_thinking_in_anthropics_words_is_what_claude_takes(fields: Any, extra: Any, lost: tuple[str, ...]) -> None:
    body, dropped = asked(**fields)
    assert body.get("additionalModelRequestFields") == extra
    assert dropped == lost


def test_an_effort_goes_beside_adaptive_thinking() -> None:
    body, dropped = asked(thinking={"type": "adaptive"}, reasoning_effort="low", model=OPUS_46)
    assert body["additionalModelRequestFields"] == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }
    assert dropped == ()


@pytest.mark.parametrize(("limit", "sent"), [(500, 2500), (2000, 4000), (2001, 2001)])
def test_a_limit_has_room_for_the_budget_that_the_client_gave(limit: int, sent: int) -> None:
    body, _ = asked(thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=limit)
    assert body["inferenceConfig"]["maxTokens"] == sent


@pytest.mark.parametrize("parallel", [{}, {"parallel_tool_calls": False}])
def test_no_tool_is_forced_beside_a_budget_for_thinking(parallel: dict[str, Any]) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body, dropped = asked(tools=[TOOL], tool_choice="required", thinking=thinking, **parallel)
    assert "toolChoice" not in body["toolConfig"]
    extra = body["additionalModelRequestFields"]
    assert extra["thinking"] == thinking
    assert extra.get("tool_choice", {"type": "auto"})["type"] == "auto"
    assert dropped == ("tool_choice",)


@pytest.mark.parametrize(
    ("model", "choice", "sent", "tools"),
    [
        (CLAUDE, "auto", {"auto": {}}, ["f", "other"]),
        (CLAUDE, "required", {"any": {}}, ["f", "other"]),
        (CLAUDE, NAMED, {"tool": {"name": "f"}}, ["f", "other"]),
        (MISTRAL, NAMED, {"any": {}}, ["f"]),
        (LLAMA, NAMED, None, ["f"]),
        (LLAMA, "required", None, ["f", "other"]),
        (OPUS_55, "required", None, ["f", "other"]),
        (CLAUDE, {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}, {"any": {}}, ["f"]),
    ],
)
def test_tool_choice_is_told_as_far_as_the_model_understands(
    model: str, choice: Any, sent: Any, tools: list[str]
) -> None:
    body, dropped = asked(tools=[TOOL, OTHER], tool_choice=choice, model=model)
    assert body["toolConfig"].get("toolChoice") == sent
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == tools
    assert dropped == (("tool_choice",) if sent is None else ())


@pytest.mark.parametrize(
    ("choice", "sent"),
    [(None, {"type": "auto"}), ("required", {"type": "any"}), (NAMED, {"type": "tool", "name": "f"})],
)
def test_one_call_at_a_time_is_said_to_claude_itself(choice: Any, sent: Any) -> None:
    body, dropped = asked(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert body["additionalModelRequestFields"] == {"tool_choice": {**sent, "disable_parallel_tool_use": True}}
    assert "toolChoice" not in body["toolConfig"]
    assert dropped == ()
    assert asked(tools=[TOOL], parallel_tool_calls=False, model=NOVA)[1] == ("parallel_tool_calls",)
    assert asked(tools=[TOOL], parallel_tool_calls=True, model=NOVA)[1] == ()


def spec(function: dict[str, Any], model: str = CLAUDE) -> tuple[dict[str, Any], tuple[str, ...]]:
    body, dropped = asked(tools=[{"type": "function", "function": function}], model=model)
    return body["toolConfig"]["tools"][0]["toolSpec"], dropped


def test_an_empty_description_is_left_out() -> None:
    assert spec({"name": "f", "description": " "}) == (
        {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}},
        (),
    )


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    body, dropped = asked(tools=[{"type": "custom", "custom": {"name": "run", "format": {"type": "grammar"}}}])
    schema = body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
    assert schema == {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert dropped == ("tools.custom.format",)


def test_strict_tools_are_sent_to_models_that_can_be_held_to_a_schema() -> None:
    strict = {"name": "f", "strict": True, "parameters": SCHEMA}
    assert spec(strict) == ({"name": "f", "strict": True, "inputSchema": {"json": SCHEMA}}, ())
    for model in (CLAUDE_3, OPUS_55, LLAMA):
        found, dropped = spec(strict, model)
        assert "strict" not in found
        assert dropped == ("tools.function.strict",)
    open_schema = {"type": "object", "additionalProperties": {"type": "string"}}
    assert spec({"name": "f", "strict": True, "parameters": open_schema})[1] == ("tools.function.strict",)


def test_nova_gets_schemas_with_nothing_else_at_the_top() -> None:
    rich = {
        "$schema": "x",
        "title": "T",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"A": {"type": "integer", "minimum": 1}},
    }
    found, _ = spec({"name": "f", "parameters": rich}, NOVA)
    assert found["inputSchema"]["json"] == {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 1}},
        "required": ["a"],
    }


def test_a_schema_is_asked_for_as_the_model_can_be_asked() -> None:
    body, _ = asked(response_format=FORM)
    sent = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(sent.pop("schema")) == SCHEMA
    assert sent == {"name": "thing", "description": "a thing"}
    body, _ = asked(response_format=FORM, model=CLAUDE_3)
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "answer_in_this_form"}}
    body, _ = asked(response_format=FORM, model=OPUS_55)
    assert '"additionalProperties":false' in body["system"][-1]["text"]


def test_the_clients_own_tools_leave_no_place_for_one_of_ours() -> None:
    body, _ = asked(response_format=FORM, tools=[TOOL], model=CLAUDE_3)
    assert len(body["toolConfig"]["tools"]) == 1
    assert "JSON Schema" in body["system"][-1]["text"]


def test_a_schema_that_claude_cannot_be_held_to_is_asked_for_in_words() -> None:
    free = {**FORM, "json_schema": {"name": "x", "schema": {"type": "object", "additionalProperties": {}}}}
    body, _ = asked(response_format=free)
    assert "outputConfig" not in body
    assert "JSON Schema" in body["system"][-1]["text"]


@pytest.mark.parametrize(
    ("tier", "sent", "dropped"),
    [("flex", {"type": "flex"}, ()), ("auto", None, ()), ("scale", None, ("service_tier",))],
)
def test_the_service_tier_is_sent_if_bedrock_has_it(tier: str, sent: Any, dropped: Any) -> None:
    body, lost = asked(service_tier=tier)
    assert (body.get("serviceTier"), lost) == (sent, dropped)


@pytest.mark.parametrize("metadata", [{"a": "b!"}, {"a": 1}, {f"k{number}": "v" for number in range(17)}])
def test_metadata_that_bedrock_refuses_are_reported(metadata: Any) -> None:
    body, dropped = asked(metadata=metadata)
    assert "requestMetadata" not in body
    assert dropped == ("metadata",)


def test_several_choices_are_several_requests() -> None:
    call = call_of(n=3)
    parts = ADAPTER.parts(call, target())
    assert len(parts) == 3
    assert len({ADAPTER.request(part, target()).body for part in parts}) == 1


@pytest.mark.parametrize("field", ["audio", "modalities"])
def test_spoken_answers_are_refused(field: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(**{field: {"voice": "x"} if field == "audio" else ["text", "audio"]})
    assert refused.value.param == field


@pytest.mark.parametrize("model", [CLAUDE, OPUS_55, LLAMA, GPT_OSS, MISTRAL])
@pytest.mark.parametrize("path", [path for path in CHAT if path != "response_format.json_schema.strict"])
def test_no_field_is_lost_in_silence_by_any_family(model: str, path: str) -> None:
    base, added = CHAT[path]
    fields = {**base, **added}
    try:
        requests = [ADAPTER.request(part, target(model)) for part in ADAPTER.parts(call_of(**fields), target(model))]
    except Unsupported as refused:
        assert refused.param.partition("[")[0] in path
        return
    without = [ADAPTER.request(part, target(model)) for part in ADAPTER.parts(call_of(**base), target(model))]
    reported = any(name.startswith(path) or path.startswith(name) for each in requests for name in each.dropped)
    assert reported or [each.body for each in requests] != [each.body for each in without]
    treatment = ADAPTER.fidelity[Operation.CHAT].get(path)
    assert treatment is None or treatment.fate is not Fate.REFUSED


@pytest.mark.parametrize(
    ("id", "form", "caches"),
    [
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0", "native", True),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/otnfa2ysixqd", "prompt", False),
        ("anthropic.claude-v2:1", "prompt", False),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "tool", True),
        ("apac.amazon.nova-pro-v1:0", "tool", True),
        ("qwen.qwen3-32b-v1:0", "native", False),
        ("moonshot.kimi-k2-thinking", "native", False),
        ("us.deepseek.r1-v1:0", "prompt", False),
    ],
)
def test_a_model_is_known_by_any_of_its_ids(id: str, form: str, caches: bool) -> None:
    assert (abilities(id).form, abilities(id).caches) == (form, caches)


def test_a_request_has_the_same_bytes_each_time() -> None:
    fields = {"tools": [TOOL, OTHER], "temperature": 0.5, "metadata": {"a": "b"}, "response_format": FORM}
    assert request(**fields) == request(**fields)
