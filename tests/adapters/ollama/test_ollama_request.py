"""What Ollama is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.types import Operation
from gateway.errors import InvalidRequest
from tests.adapters.ollama.asking import ADAPTER, CALL, TOOL, USER, asked, body, call, target

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "thing", "strict": True, "schema": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "other"}}


def test_whether_to_stream_is_always_said() -> None:
    assert body()["stream"] is False
    assert body(stream=True)["stream"] is True
    assert "stream_options" not in body(stream=True, stream_options={"include_usage": True})


def test_a_stop_becomes_a_list() -> None:
    assert body(stop="END")["options"] == {"stop": ["END"]}
    assert body(options={"stop": "END"})["options"] == {"stop": ["END"]}


def test_the_newer_limit_of_tokens_wins_and_ollamas_own_over_both() -> None:
    assert body(max_tokens=5, max_completion_tokens=7)["options"] == {"num_predict": 7}
    assert body(max_tokens=5, num_predict=-1)["options"] == {"num_predict": -1}
    assert body(max_tokens=5, options={"num_predict": 9})["options"] == {"num_predict": 9}


def test_nothing_is_said_about_sampling_that_the_client_did_not_say() -> None:
    assert "options" not in body(temperature=None, stop=[])


def test_ollamas_own_fields_stand_where_it_looks_for_them() -> None:
    sent = asked(num_ctx=8192, top_k=5, use_mmap=True, keep_alive=-1, truncate=False, shift=True)
    said = json.loads(sent.body)
    assert said["options"] == {"top_k": 5, "num_ctx": 8192, "use_mmap": True}
    assert (said["keep_alive"], said["truncate"], said["shift"]) == (-1, False, True)
    assert sent.dropped == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"num_ctx": "8192"}, "num_ctx"),
        ({"temperature": "hot"}, "temperature"),
        ({"use_mmap": 1}, "use_mmap"),
        ({"keep_alive": True}, "keep_alive"),
        ({"keep_alive": {}}, "keep_alive"),
        ({"think": 1}, "think"),
        ({"format": 1}, "format"),
        ({"options": []}, "options"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "max")],
)
def test_an_effort_becomes_a_level_of_thinking(effort: str, think: Any) -> None:
    assert body(reasoning_effort=effort)["think"] == think
    assert body(reasoning={"effort": effort})["think"] == think


def test_thinking_is_left_to_the_server_unless_the_client_speaks_of_it() -> None:
    assert "think" not in body()
    assert body(think=True, reasoning_effort="none")["think"] is True
    assert body(reasoning={"enabled": False})["think"] is False
    assert asked(reasoning={"max_tokens": 5}).dropped == ("reasoning",)


def test_a_model_that_cannot_but_think_thinks_little_and_that_is_reported() -> None:
    sent = asked(target("library/gpt-oss:20b"), reasoning_effort="none")
    assert json.loads(sent.body)["think"] == "low"
    assert sent.dropped == ("reasoning_effort",)


def test_a_schema_is_sent_bare() -> None:
    sent = asked(response_format=JSON_SCHEMA)
    assert json.loads(sent.body)["format"] == SCHEMA
    assert b"json_schema" not in sent.body


def test_json_is_spoken_of_where_the_client_does_not() -> None:
    silent = body(response_format={"type": "json_object"})
    assert silent["format"] == "json"
    assert [each["role"] for each in silent["messages"]] == ["system", "user"]
    spoken = body(messages=[{"role": "user", "content": "as json"}], response_format={"type": "json_object"})
    assert [each["content"] for each in spoken["messages"]] == ["as json"]


def test_a_format_beside_tools_is_asked_for_in_words() -> None:
    """A format holds for the whole answer: the model could not call anything."""
    sent = asked(tools=[TOOL], response_format=JSON_SCHEMA)
    said = json.loads(sent.body)
    assert "format" not in said
    assert json.dumps(SCHEMA, separators=(",", ":")) in said["messages"][0]["content"]
    assert "response_format" in sent.dropped


def test_a_format_beside_tools_that_must_not_be_used_is_a_format() -> None:
    said = body(tools=[TOOL], tool_choice="none", response_format=JSON_SCHEMA)
    assert said["format"] == SCHEMA
    assert "tools" not in said


def test_ollamas_own_format_wins() -> None:
    assert body(format="json", response_format=JSON_SCHEMA)["format"] == "json"
    assert "format" not in body(format="")


def test_only_the_named_tool_is_sent_and_the_rest_is_reported() -> None:
    sent = asked(tools=[TOOL, OTHER], tool_choice={"type": "function", "function": {"name": "other"}})
    assert [tool["function"]["name"] for tool in json.loads(sent.body)["tools"]] == ["other"]
    assert sent.dropped == ("tool_choice",)


def test_allowed_tools_are_a_choice_that_needs_no_report() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]}
    sent = asked(tools=[TOOL, OTHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["function"]["name"] for tool in json.loads(sent.body)["tools"]] == ["other"]
    assert sent.dropped == ()


def test_a_tool_that_must_be_used_must_be_there() -> None:
    with pytest.raises(Unsupported, match="none in tools"):
        asked(tool_choice="required")


def test_a_tool_without_parameters_gets_an_empty_object() -> None:
    assert body(tools=[OTHER])["tools"] == [
        {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
    ]


def test_schemas_that_the_server_cannot_decode_are_told_another_way() -> None:
    """Its typed schema knows no `true`, no list of types at the top, no reference."""
    parameters = {
        "type": ["object", "null"],
        "properties": {"any": True, "self": {"$ref": "#"}, "n": {"type": "integer", "maximum": 3}},
        "$schema": "x",
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    said = body(tools=[tool])["tools"][0]["function"]["parameters"]
    assert (said["type"], said["properties"]["any"]) == ("object", {})
    assert "maximum: 3" in said["properties"]["n"]["description"]
    assert "$" not in json.dumps(said)


def test_a_custom_tool_becomes_a_function_with_one_string() -> None:
    tool = {"type": "custom", "custom": {"name": "run", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}}}
    said = body(tools=[tool])["tools"][0]["function"]
    assert said["parameters"]["required"] == ["input"]
    assert "lark" in said["description"]


def test_a_result_names_the_tool_that_its_call_named() -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    said = body(messages=[USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, result])["messages"]
    assert said[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}],
    }
    assert said[2] == {"role": "tool", "content": "rain", "tool_name": "get_weather", "tool_call_id": "call_1"}


def test_parts_are_one_text_and_images_are_bare_base64() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    parts = [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]
    assert body(messages=[{"role": "user", "content": parts}])["messages"] == [
        {"role": "user", "content": "a\nb", "images": ["iVBORw0KGgo="]}
    ]


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "data:"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "base64"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}, "text of a file"),
    ],
)
def test_what_ollama_cannot_see_is_refused_with_its_place(part: dict[str, Any], advice: str) -> None:
    with pytest.raises(Unsupported, match=advice) as refused:
        asked(messages=[USER, {"role": "user", "content": [part]}])
    assert refused.value.param == "messages[1].content[0]"


def test_reasoning_goes_back_unless_it_is_another_vendors() -> None:
    plain = {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    assert body(messages=[USER, plain])["messages"][1]["thinking"] == "hm"
    signed = {**plain, "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}
    sent = asked(messages=[USER, signed])
    assert "thinking" not in json.loads(sent.body)["messages"][1]
    assert sent.dropped == ("messages.reasoning_details",)


def test_what_messages_lose_is_reported() -> None:
    message = {
        "role": "user",
        "name": "ann",
        "content": [{"type": "text", "text": "a", "cache_control": {"type": "x"}}],
    }
    begun = {"role": "assistant", "content": "So", "prefix": True}
    assert set(asked(messages=[message, begun]).dropped) == {
        "messages.name", "messages.cache_control", "messages.prefix"
    }  # fmt: skip


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_seed_is_a_number_that_the_server_reads_exactly(seed: int) -> None:
    sent = body(seed=seed)["options"]["seed"]
    assert int(float(sent)) == sent
    assert sent == seed or abs(seed) > 2**53


@given(st.lists(st.sampled_from([USER, {"role": "assistant", "content": "hi", "tool_calls": [CALL]}]), max_size=6))
def test_a_longer_conversation_begins_with_the_same_bytes(more: list[dict[str, Any]]) -> None:
    given = {"tools": [TOOL], "temperature": 0.5, "response_format": JSON_SCHEMA}
    shorter, longer = asked(messages=[USER], **given).body, asked(messages=[USER, *more], **given).body
    assert longer.startswith(shorter.removesuffix(b"]}"))


def test_each_choice_is_a_call_of_its_own() -> None:
    parts = ADAPTER.parts(call(n=3), target())
    assert len(parts) == 3
    assert all(b'"n"' not in ADAPTER.request(part, target()).body for part in parts)


def test_a_prompt_goes_to_generate_with_its_suffix_last_but_one() -> None:
    sent = asked(operation=Operation.COMPLETIONS, prompt="def f(", suffix=")", max_tokens=5, raw=True, best_of=2)
    assert sent.url.endswith("/api/generate")
    assert list(json.loads(sent.body)) == ["model", "stream", "raw", "options", "suffix", "prompt"]
    assert sent.dropped == ("best_of",)


def test_tokens_and_several_prompts_are_refused() -> None:
    for prompt in ([1, 2], ["a", "b"]):
        with pytest.raises(Unsupported) as refused:
            asked(operation=Operation.COMPLETIONS, prompt=prompt)
        assert refused.value.param == "prompt"


def test_texts_to_embed_are_sent_together() -> None:
    sent = asked(operation=Operation.EMBEDDINGS, input=["a", "b"], truncate=False, keep_alive="5m", dimensions=8)
    assert sent.url.endswith("/api/embed")
    assert json.loads(sent.body) == {
        "model": "llama3", "dimensions": 8, "truncate": False, "keep_alive": "5m", "input": ["a", "b"]
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [[""], ["a", ""], [1, 2], [[1]]])
def test_what_ollama_makes_no_vector_of_is_refused(wrong: Any) -> None:
    """It answers an empty text with a list that is too short."""
    with pytest.raises(Unsupported) as refused:
        asked(operation=Operation.EMBEDDINGS, input=wrong)
    assert refused.value.param == "input"


def test_one_empty_text_to_embed_is_refused_before_any_adapter_sees_it() -> None:
    with pytest.raises(InvalidRequest) as refused:
        call(Operation.EMBEDDINGS, input="")
    assert (refused.value.status, refused.value.param) == (400, "input")


def test_what_other_vendors_left_in_a_conversation_is_reported() -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "no", "is_error": True}
    spoken = {"role": "assistant", "content": "hi", "audio": {"id": "audio_1"}}
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "s"}}}
    asking = {"role": "assistant", "content": None, "tool_calls": [signed]}
    assert asked(messages=[USER, spoken, asking, result], tools=[{**TOOL, "cache_control": {}}]).dropped == (
        "tools.cache_control",
        "messages.audio",
        "messages.extra_content",
        "messages.is_error",
    )


def test_a_call_without_an_id_is_sent_without_one() -> None:
    nameless = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    bare = {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": ""}]}
    said = body(messages=[USER, nameless, bare])["messages"]
    assert said[1]["tool_calls"][0]["id"].startswith("call_")
    assert "id" not in said[2]["tool_calls"][0]


@pytest.mark.parametrize(
    ("parameters", "properties"),
    [
        ({"properties": {"a": {"$ref": "https://example.com/schema"}}}, {}),
        ({"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, {"a": {}, "b": {}}),
    ],
)
def test_parameters_that_cannot_be_told_whole_are_reported(parameters: Any, properties: Any) -> None:
    sent = asked(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert json.loads(sent.body)["tools"][0]["function"]["parameters"] == {"type": "object", "properties": properties}
    assert sent.dropped == ("tools.function.parameters",)


def test_a_description_of_a_schema_is_reported() -> None:
    described = {**JSON_SCHEMA["json_schema"], "description": "a thing"}
    sent = asked(response_format={"type": "json_schema", "json_schema": described})
    assert "response_format.json_schema.description" in sent.dropped


def test_arguments_of_any_depth_are_sent_or_refused_by_name() -> None:
    for depth in range(900, 1_100):
        deep = {**CALL, "function": {"name": "f", "arguments": '{"x":' + "[" * depth + "]" * depth + "}"}}
        try:
            sent = asked(messages=[USER, {"role": "assistant", "content": None, "tool_calls": [deep]}])
            assert sent.body.count(b"[") > depth
        except Unsupported as refused:
            assert refused.param == "messages"
