"""Tools and the wanted form of the answer, in the words of Anthropic's protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Unsupported
from tests.adapters.anthropic.asking import SYSTEM, TOOL, USER, body, request, result


def test_the_choice_of_tools_takes_the_protocols_words() -> None:
    named = {"type": "function", "function": {"name": "f"}}
    assert body(USER, model="claude-opus-4-8", tools=[TOOL], tool_choice="required")["tool_choice"] == {"type": "any"}
    assert body(USER, tools=[TOOL], tool_choice=named)["tool_choice"] == {"type": "tool", "name": "f"}
    none = body(USER, tools=[TOOL], tool_choice="none", parallel_tool_calls=False)
    assert none["tool_choice"] == {"type": "none"} and none["tools"]
    assert body(USER, tools=[TOOL], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert "tool_choice" not in body(USER, parallel_tool_calls=False)
    assert "tool_choice" not in body(USER, tools=[TOOL])


def test_where_no_tool_can_be_forced_words_ask_for_it_at_the_end() -> None:
    made = request(USER, model="claude-sonnet-5-5", tools=[TOOL], tool_choice="required")
    sent = json.loads(made.body)
    assert sent["tool_choice"] == {"type": "auto"}
    assert sent["messages"][-1] == {
        "role": "system",
        "content": "Answer by calling one of the tools, and in no other way.",
    }
    assert made.dropped == ("tool_choice",)
    named = {"type": "function", "function": {"name": "f"}}
    sent = body(USER, model="claude-sonnet-5-5", tools=[TOOL], tool_choice=named)
    assert sent["tool_choice"] == {"type": "auto"}
    assert sent["messages"][-1]["content"] == "Answer by calling the tool f, and in no other way."


def test_allowed_tools_are_the_only_ones_sent() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]},
    }
    made = body(USER, tools=[TOOL, other], tool_choice=allowed)
    assert [tool["name"] for tool in made["tools"]] == ["g"]
    assert made["tool_choice"] == {"type": "any"}


def test_names_of_tools_in_other_characters_are_replaced_alike_everywhere() -> None:
    tool = {"type": "function", "function": {"name": "näme.of/it"}}
    turn = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "näme.of/it"}}]}
    made = body(
        USER, turn, result("a"), tools=[tool], tool_choice={"type": "function", "function": {"name": "näme.of/it"}}
    )
    name = made["tools"][0]["name"]
    assert name == made["tool_choice"]["name"] == made["messages"][1]["content"][0]["name"]
    assert name.startswith("n_me_of_it_") and len(name) <= 64
    with pytest.raises(Unsupported, match="two tools"):
        body(USER, tools=[tool, tool])


def test_a_tools_schema_is_an_object_without_alternatives_at_its_top() -> None:
    schema = {"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}
    made = request(USER, tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    assert json.loads(made.body)["tools"][0]["input_schema"] == {"type": "object", "properties": {"a": {}, "b": {}}}
    assert made.dropped == ("tools.function.parameters",)


def test_strict_tools_are_strict_where_they_can_be() -> None:
    strict = {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
    made = body(USER, tools=[{"type": "function", "function": strict}])
    assert made["tools"][0]["strict"] is True
    assert made["tools"][0]["input_schema"]["additionalProperties"] is False
    free = {**strict, "parameters": {"type": "object", "additionalProperties": {"type": "string"}}}
    for model, function in (("claude-haiku-4-5", free), ("claude-opus-4-1", strict)):
        sent = request(USER, model=model, tools=[{"type": "function", "function": function}])
        assert "strict" not in json.loads(sent.body)["tools"][0]
        assert sent.dropped == ("tools.function.strict",)
    many = [{"type": "function", "function": {**strict, "name": f"f{n}"}} for n in range(21)]
    assert not any("strict" in tool for tool in body(USER, tools=many)["tools"])


def test_a_custom_tool_takes_one_text() -> None:
    custom = {"type": "custom", "custom": {"name": "sql", "description": "runs it", "format": {"type": "grammar"}}}
    turn = {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "x"}}]}
    made = request(USER, turn, result("a"), tools=[custom])
    sent = json.loads(made.body)
    assert sent["tools"][0]["input_schema"]["required"] == ["input"]
    assert "grammar" in sent["tools"][0]["description"]
    assert sent["messages"][1]["content"][0]["input"] == {"input": "x"}
    assert made.dropped == ("tools.custom.format",)


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "at": {"type": "object", "properties": {"x": {"type": "integer"}}},
    },
    "required": ["name"],
}


def wanted(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "per son", "schema": schema}}


def test_a_schema_goes_to_the_output_format_in_the_words_that_it_takes() -> None:
    sent = body(USER, response_format=wanted(SCHEMA))["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is sent["properties"]["at"]["additionalProperties"] is False
    assert sent["properties"]["name"] == {"type": "string", "description": "(minLength: 2)"}


def test_schemas_that_must_all_hold_are_laid_together_before_objects_are_closed() -> None:
    one, two = ({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]} for name in "ab")
    sent = body(USER, response_format=wanted({"allOf": [one, two]}))["output_config"]["format"]["schema"]
    assert sent == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def test_an_older_model_answers_through_a_tool_and_anything_else_by_words() -> None:
    old = body(USER, model="claude-opus-4-1", response_format=wanted(SCHEMA))
    assert old["tools"][0]["input_schema"] == SCHEMA
    assert old["tool_choice"] == {"type": "tool", "name": old["tools"][0]["name"], "disable_parallel_tool_use": True}
    beside = request(SYSTEM, USER, model="claude-opus-4-1", response_format=wanted(SCHEMA), tools=[TOOL])
    assert json.loads(beside.body)["system"][1]["text"].startswith("Answer with one JSON object")
    assert beside.dropped == ("response_format",)
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    assert "tools" in body(USER, response_format=wanted(free))
    assert "JSON Schema" in body(USER, model="claude-opus-5-5", response_format=wanted(free))["system"]
    assert "JSON" in body(USER, response_format={"type": "json_object"})["system"]
