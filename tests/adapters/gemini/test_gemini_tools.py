"""Functions as Gemini declares them: names, schemas, choice, Google's own tools."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.gemini.names import sent_name
from tests.adapters.gemini.asking import ADAPTER, NEWEST, OK, STREAMED, answered, asked, body_of, call_of, event, target

OLD = "gemini-2.0-flash"


def function(name: str = "look", **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **members}}


def declared(*tools: dict[str, Any], model: str = NEWEST, **fields: Any) -> list[dict[str, Any]]:
    return body_of(tools=list(tools), model=model, **fields)["tools"][0]["functionDeclarations"]


def parameters(schema: Any, model: str = NEWEST) -> Any:
    name = "parameters" if model == OLD else "parametersJsonSchema"
    return declared(function(parameters=schema), model=model)[0].get(name)


def test_all_functions_stand_in_one_tool() -> None:
    tools = body_of(tools=[function("a"), function("b")])["tools"]
    assert tools == [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]


NOTHING = {"type": "object", "properties": {}}
CLOSED = {**NOTHING, "required": [], "additionalProperties": False}


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, NOTHING, CLOSED])
@pytest.mark.parametrize("model", [NEWEST, OLD])
def test_a_function_without_arguments_has_no_schema(schema: Any, model: str) -> None:
    assert set(declared(function(parameters=schema) if schema is not None else function(), model=model)[0]) == {"name"}


def test_a_schema_is_brought_into_the_newer_form() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "kind": {"const": "a"},
            "size": {"type": "integer", "exclusiveMinimum": 0, "minimum": 1},
            "tag": {"$ref": "#/$defs/tag", "description": "d"},
            "other": {"type": ["string", "null"]},
        },
        "required": ["kind"],
        "additionalProperties": False,
        "$defs": {"tag": {"type": "string"}},
    }
    assert parameters(schema) == {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a"]},
            "size": {"type": "integer", "minimum": 1, "description": "(exclusiveMinimum: 0)"},
            "tag": {"type": "string", "description": "d"},
            "other": {"type": ["string", "null"]},
        },
        "required": ["kind"],
        "additionalProperties": False,
    }


def test_a_schema_is_brought_into_the_older_form() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": [1, 2.5, None]},
            "when": {"type": "string", "format": "date-time"},
            "mail": {"type": "string", "format": "email"},
            "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"type": "object", "properties": {}}},
            "free": {"type": "object", "additionalProperties": True},
        },
        "additionalProperties": False,
        "strict": True,
    }
    made = parameters(schema, OLD)
    assert made["type"] == "OBJECT"
    assert made["properties"]["kind"] == {"enum": ["1", "2.5"], "nullable": True, "type": "STRING", "format": "enum"}
    assert made["properties"]["when"] == {"type": "STRING", "format": "date-time"}
    assert made["properties"]["mail"] == {"type": "STRING", "description": '(format: "email")'}
    assert made["properties"]["maybe"] == {"type": "NUMBER", "nullable": True}
    assert made["properties"]["list"] == {"type": "ARRAY", "items": {"type": "OBJECT"}}
    assert made["properties"]["free"] == {"type": "OBJECT"}
    assert "additionalProperties" not in made


def test_a_recursive_schema_is_cut() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}}
    assert parameters(node)["properties"]["name"] == {"type": "string"}


def test_a_schema_that_leads_nowhere_is_refused_by_its_place() -> None:
    with pytest.raises(Unsupported) as refused:
        parameters({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})
    assert refused.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("none", {"mode": "NONE"}),
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "my tool"}},
            {"mode": "ANY", "allowedFunctionNames": [sent_name("my tool")]},
        ),
    ],
)  # fmt: skip
def test_a_choice_is_a_mode(choice: Any, calling: dict[str, Any]) -> None:
    body = body_of(tools=[function("look"), function("my tool")], tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": calling}


def allowed(mode: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [function("b")]}}


def test_some_tools_may_be_allowed() -> None:
    tools = [function("a"), function("b")]
    assert body_of(tools=tools, tool_choice=allowed("required"))["toolConfig"]["functionCallingConfig"] == {
        "mode": "ANY", "allowedFunctionNames": ["b"],
    }  # fmt: skip
    new = body_of(tools=tools, tool_choice=allowed("auto"))
    assert new["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED", "allowedFunctionNames": ["b"]}
    old = body_of(tools=tools, tool_choice=allowed("auto"), model="gemini-2.5-flash")
    assert old["toolConfig"]["functionCallingConfig"] == {"mode": "AUTO"}
    assert [each["name"] for each in old["tools"][0]["functionDeclarations"]] == ["b"]


def test_strict_functions_are_validated_where_the_model_can() -> None:
    tools = [function(strict=True, parameters={"type": "object", "properties": {"a": {}}})]
    assert body_of(tools=tools)["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert asked(tools=tools).dropped == ()
    assert asked(tools=tools, model="gemini-2.5-flash").dropped == ("tools.function.strict",)


def test_a_choice_without_functions_is_named() -> None:
    assert asked(tool_choice="required").dropped == ("tool_choice",)
    assert asked(tool_choice="required", tools=[{"googleSearch": {}}]).dropped == ("tool_choice",)
    assert asked(tool_choice="none").dropped == ()


def test_calls_one_at_a_time_cannot_be_asked_for() -> None:
    assert asked(tools=[function()], parallel_tool_calls=False).dropped == ("parallel_tool_calls",)
    assert asked(tools=[function()], parallel_tool_calls=True).dropped == ()


def test_googles_own_tools_stand_beside_the_functions() -> None:
    body = body_of(tools=[{"googleSearch": {}}, function(), {"url_context": {}}])
    assert body["tools"] == [{"functionDeclarations": [{"name": "look"}]}, {"googleSearch": {}}, {"urlContext": {}}]
    assert body_of(tools=[{"codeExecution": {}}])["tools"] == [{"codeExecution": {}}]


def test_a_web_search_is_googles() -> None:
    request = asked(web_search_options={"user_location": {"type": "approximate"}})
    assert json.loads(request.body)["tools"] == [{"googleSearch": {}}]
    assert request.dropped == ("web_search_options.user_location",)
    assert asked(web_search_options={}, tools=[function()]).dropped == ("web_search_options",)


def test_a_foreign_name_is_changed_on_the_way_out_and_back() -> None:
    call = call_of(tools=[function("my tool/x")], stream=True)
    sent = json.loads(ADAPTER.request(call, target()).body)["tools"][0]["functionDeclarations"][0]["name"]
    assert re.fullmatch(r"my_tool_x_[0-9a-f]{8}", sent)
    part = {"functionCall": {"name": sent, "args": {}}}
    reply = json.loads(ADAPTER.reply(call, target(), OK, answered(part)).body)
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "my tool/x"
    decoder = ADAPTER.stream(call, target(), STREAMED)
    assert b'"name":"my tool/x"' in decoder.feed(event(part))


@given(name=st.text(max_size=80), other=st.text(max_size=80))
def test_every_name_fits_and_two_names_stay_two(name: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", sent_name(name))
    assert sent_name(sent_name(name)) == sent_name(name)
    assert (sent_name(name) == sent_name(other)) == (name == other)


def test_a_custom_tool_is_a_function_with_one_text() -> None:
    custom = {"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}}
    assert asked(tools=[custom]).dropped == ("tools.custom.format",)
    call = call_of(tools=[custom])
    reply = ADAPTER.reply(call, target(), OK, answered({"functionCall": {"name": "run", "args": {"input": "1+1"}}}))
    made = json.loads(reply.body)["choices"][0]["message"]["tool_calls"][0]
    assert (made["type"], made["custom"]) == ("custom", {"name": "run", "input": "1+1"})
