"""Every rule that a provider row may hold, on the fields of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import Raw

from adapters.codec import encode
from adapters.errors import Unsupported
from adapters.quirks import SCHEMA_PROMPT, apply
from adapters.rules import ParamRules
from adapters.types import Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import ADAPTERS, rules_of, target_of

USER = {"role": "user", "content": "hello"}
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
TOOLS = [{"type": "function", "function": {"name": name, "strict": True, "parameters": {}}} for name in ("one", "two")]
NAMED = {"type": "function", "function": {"name": "two"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"type": "array"}}}
OLD_TURNS = [
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "5"},
]


def changed(fields: Mapping[str, Any], model: str = "m", **rules: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the fields as the upstream gets them, and the names of what was dropped."""
    members = {name: Raw(encode(value)) for name, value in fields.items()}
    dropped = apply(members, rules_of(**rules), model)
    return {name: json.loads(bytes(value)) for name, value in members.items()}, dropped


EVERYTHING = {
    "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}], "name": "n"}, USER, *OLD_TURNS],
    "n": 2,
    "stop": ["a"] * 9,
    "temperature": None,
    "functions": [{"name": "f"}],
    "tools": TOOLS,
    "tool_choice": NAMED,
    "response_format": SCHEMA,
    "store": True,
}


def test_no_rules_change_nothing() -> None:
    assert changed(EVERYTHING) == (EVERYTHING, ())


RULES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "rename": ({"rename": {"a": "b"}}, {"a": 1}, {"b": 1}, ()),
    "rename, the new name wins": ({"rename": {"a": "b"}}, {"a": 1, "b": 2}, {"b": 2}, ()),
    "rename over a null": ({"rename": {"a": "b"}}, {"a": 1, "b": None}, {"b": 1}, ()),
    "drop": ({"drop": ["a"]}, {"a": 1, "b": 2}, {"b": 2}, ("a",)),
    "drop of a null is nothing lost": ({"drop": ["a"]}, {"a": None, "b": 2}, {"b": 2}, ()),
    "drop_values": ({"drop_values": {"n": ["1"]}}, {"n": 1}, {}, ()),
    "drop_values, another value": ({"drop_values": {"n": ["1"]}}, {"n": 2}, {"n": 2}, ()),
    "clamp above": ({"clamp": {"t": [0.1, 1]}}, {"t": 1.5}, {"t": 1}, ()),
    "clamp below": ({"clamp": {"t": [0.1, 1]}}, {"t": -3}, {"t": 0.1}, ()),
    "clamp inside": ({"clamp": {"t": [0.1, 1]}}, {"t": 0.5}, {"t": 0.5}, ()),
    "clamp open": ({"clamp": {"t": [None, 1]}}, {"t": -9}, {"t": -9}, ()),
    "clamp of what is no number": ({"clamp": {"t": [0, 1]}}, {"t": "9"}, {"t": "9"}, ()),
    "limit_items": ({"limit_items": {"stop": 2}}, {"stop": ["a", "b"]}, {"stop": ["a", "b"]}, ()),
    "limit_items of a string": ({"limit_items": {"stop": 1}}, {"stop": "abc"}, {"stop": "abc"}, ()),
    "reject_above": ({"reject_above": {"n": 1}}, {"n": 1}, {"n": 1}, ()),
    "defaults": ({"defaults": {"x": {"y": 1}}}, {}, {"x": {"y": 1}}, ()),
    "defaults, the client wins": ({"defaults": {"x": 1}}, {"x": 0}, {"x": 0}, ()),
    "defaults over a null": ({"defaults": {"x": 1}}, {"x": None}, {"x": 1}, ()),
    "roles": (
        {"roles": {"developer": "system"}},
        {"messages": [{"role": "developer", "content": "a"}, USER]},
        {"messages": [{"role": "system", "content": "a"}, USER]},
        (),
    ),
    "message_drop": ({"message_drop": ["name"]}, {"messages": [{**USER, "name": "n"}]}, {"messages": [USER]}, ()),
    "string_content": (
        {"string_content": True},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "user", "content": "ab"}]},
        (),
    ),
    "string_content keeps images": (
        {"string_content": True},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
        (),
    ),
    "strip_nulls": (
        {"strip_nulls": True},
        {"a": None, "b": 0, "messages": [{"role": "assistant", "content": None, "tool_calls": CALLS, "name": None}]},
        {"b": 0, "messages": [{"role": "assistant", "content": None, "tool_calls": CALLS}]},
        (),
    ),
    "wrap_functions": (
        {"wrap_functions": True},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        (),
    ),
    "wrap_functions, a word": (
        {"wrap_functions": True},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        (),
    ),
    "wrap_functions, tools win": (
        {"wrap_functions": True},
        {"functions": [{"name": "f"}], "tools": TOOLS},
        {"tools": TOOLS},
        (),
    ),
    "wrap_functions in turns": (
        {"wrap_functions": True},
        {"functions": None, "messages": OLD_TURNS},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "call_f", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "call_f", "content": "5"},
            ]
        },
        (),
    ),
    "tool_choice, another word": (
        {"tool_choice": {"required": "any"}},
        {"tool_choice": "required"},
        {"tool_choice": "any"},
        ("tool_choice",),
    ),
    "tool_choice drop": ({"tool_choice": {"named": "drop"}}, {"tool_choice": NAMED}, {}, ("tool_choice",)),
    "tool_choice, not mapped": (
        {"tool_choice": {"named": "drop"}},
        {"tool_choice": "required"},
        {"tool_choice": "required"},
        (),
    ),
    "tool_choice null": ({"tool_choice": {"named": "drop"}}, {"tool_choice": None}, {"tool_choice": None}, ()),
    "tool_choice filter": (
        {"tool_choice": {"named": "filter"}},
        {"tools": TOOLS, "tool_choice": NAMED},
        {"tools": TOOLS[1:], "tool_choice": "required"},
        (),
    ),
    "tool_drop": (
        {"tool_drop": ["strict"]},
        {"tools": TOOLS[:1]},
        {"tools": [{"type": "function", "function": {"name": "one", "parameters": {}}}]},
        (),
    ),
    "json_schema in the prompt": (
        {"json_schema": "json_object"},
        {"messages": [USER], "response_format": SCHEMA},
        {
            "messages": [{"role": "system", "content": SCHEMA_PROMPT + '{"type":"array"}'}, USER],
            "response_format": {"type": "json_object"},
        },
        ("response_format.json_schema.strict",),
    ),
    "json_schema behind what the system says": (
        {"json_schema": "json_object"},
        {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be kind"}]}], "response_format": SCHEMA},
        {
            "messages": [{"role": "system", "content": "Be kind\n\n" + SCHEMA_PROMPT + '{"type":"array"}'}],
            "response_format": {"type": "json_object"},
        },
        ("response_format.json_schema.strict",),
    ),
    "json_schema without a schema": (
        {"json_schema": "json_object"},
        {"messages": [], "response_format": {"type": "json_schema"}},
        {
            "messages": [{"role": "system", "content": SCHEMA_PROMPT + '{"type":"object"}'}],
            "response_format": {"type": "json_object"},
        },
        ("response_format.json_schema.strict",),
    ),
    "json_object as a schema": (
        {"json_object": "json_schema"},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "object", "schema": {"type": "object"}},
            }
        },
        (),
    ),
    "text needs no change": (
        {"json_object": "reject", "json_schema": "reject"},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "text"}},
        (),
    ),
    "reasoning_in drop": (
        {"reasoning_in": "drop"},
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "r", "reasoning": "r"}]},
        {"messages": [{"role": "assistant", "content": "a"}]},
        (),
    ),
    "reasoning_in with_tool_calls": (
        {"reasoning_in": "with_tool_calls"},
        {
            "messages": [
                {"role": "assistant", "content": "a", "reasoning_content": "r"},
                {"role": "assistant", "content": None, "tool_calls": CALLS},
                {"role": "assistant", "content": None, "tool_calls": CALLS, "reasoning_content": "r"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": None, "tool_calls": CALLS, "reasoning_content": " "},
                {"role": "assistant", "content": None, "tool_calls": CALLS, "reasoning_content": "r"},
            ]
        },
        (),
    ),
    "values": ({"values": {"effort": {"medium": "high"}}}, {"effort": "medium"}, {"effort": "high"}, ("effort",)),
    "values, another one": ({"values": {"effort": {"medium": "high"}}}, {"effort": "low"}, {"effort": "low"}, ()),
    "values of what is no text": ({"values": {"effort": {"1": "high"}}}, {"effort": [1]}, {"effort": [1]}, ()),
    "limit_chars": ({"limit_chars": {"user": [2, 3]}, "rename": {"user": "id"}}, {"user": "a"}, {}, ("user",)),
    "limit_chars inside": (
        {"limit_chars": {"user": [2, 3]}, "rename": {"user": "id"}},
        {"user": "ab"},
        {"id": "ab"},
        (),
    ),
    "additions": (
        {"additions": [{"fields": {"x": 1}, "given": "tools"}, {"fields": {"y": 1}, "given": "input"}]},
        {"tools": TOOLS},
        {"tools": TOOLS, "x": 1},
        (),
    ),
    "additions to streams or whole answers": (
        {"additions": [{"fields": {"x": 1}, "stream": True}, {"fields": {"y": 1}, "stream": False}]},
        {"stream": True},
        {"stream": True, "x": 1},
        (),
    ),
    "additions to some models": (
        {"additions": [{"fields": {"x": 1}, "match": ["kimi-*"]}, {"fields": {"y": 1}, "match": ["qwen*"]}]},
        {"y": None},
        {"x": 1, "y": None},
        (),
    ),
    "additions, the client wins": ({"additions": [{"fields": {"x": 1}}]}, {"x": 2}, {"x": 2}, ()),
    "one_system": (
        {"one_system": True, "roles": {"developer": "system"}},
        {
            "messages": [
                {"role": "system", "content": "a"},
                USER,
                {"role": "developer", "content": [{"type": "text", "text": "b"}]},
                {"role": "system", "content": ""},
            ]
        },
        {"messages": [{"role": "system", "content": "a\n\nb"}, USER]},
        (),
    ),
    "one_system, there is one": (
        {"one_system": True},
        {"messages": [USER, {"role": "system", "content": "a"}]},
        {"messages": [USER, {"role": "system", "content": "a"}]},
        (),
    ),
    "tool_schema": (
        {"tool_schema": "plain"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$schema": "x", "properties": {}}}}]},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
            ]
        },
        (),
    ),
    "logprobs": ({"logprobs": "count"}, {"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}, ()),
    "logprobs without a number": ({"logprobs": "count"}, {"logprobs": True}, {"logprobs": 1}, ()),
    "logprobs not wanted": ({"logprobs": "count"}, {"logprobs": False}, {}, ()),
    "logprobs of a text completion": ({"logprobs": "count"}, {"logprobs": 2}, {"logprobs": 2}, ()),
    "logprobs, a number alone": ({"logprobs": "count"}, {"top_logprobs": 2}, {}, ("top_logprobs",)),
    "by_model": (
        {
            "by_model": [
                {
                    "match": ["kimi-k2*", "K3"],
                    "drop": ["top_p"],
                    "rename": {"a": "b"},
                    "clamp": {"temperature": [1, 1]},
                    "tool_choice": {"required": "auto"},
                }
            ]
        },
        {"top_p": 1, "a": 2, "temperature": 0.2, "tool_choice": "required"},
        {"b": 2, "temperature": 1, "tool_choice": "auto"},
        ("top_p", "tool_choice"),
    ),
}


@pytest.mark.parametrize(("rules", "fields", "expected", "dropped"), RULES.values(), ids=RULES.keys())
def test_rule(rules: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any], dropped: tuple) -> None:
    assert changed(fields, model="KIMI-k2.6", **rules) == (expected, dropped)


def test_rules_for_other_models_do_not_count() -> None:
    rules = {"by_model": [{"match": ["kimi-*"], "drop": ["top_p"]}]}
    assert changed({"top_p": 1}, model="moonshot-v1", **rules) == ({"top_p": 1}, ())


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "limit_items": ({"limit_items": {"stop": 2}}, {"stop": ["a", "b", "c"]}, "stop"),
    "reject_above": ({"reject_above": {"n": 1}}, {"n": 2}, "n"),
    "json_schema": ({"json_schema": "reject"}, {"response_format": SCHEMA}, "response_format"),
    "json_object": ({"json_object": "reject"}, {"response_format": {"type": "json_object"}}, "response_format"),
    "schema without messages": ({"json_schema": "json_object"}, {"response_format": SCHEMA}, "response_format"),
    "an unknown tool": (
        {"tool_choice": {"named": "filter"}},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "three"}}},
        "tool_choice",
    ),
    "no tools at all": ({"tool_choice": {"named": "filter"}}, {"tool_choice": NAMED}, "tool_choice"),
    "a tool without a name": (
        {"tool_choice": {"named": "filter"}},
        {"tools": [{"type": "function"}], "tool_choice": {"function": None}},
        "tool_choice",
    ),
    "functions that are none": ({"wrap_functions": True}, {"functions": 5}, "functions"),
}


@pytest.mark.parametrize(("rules", "fields", "param"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_expressed_is_refused_by_name(rules: dict[str, Any], fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        changed(fields, **rules)
    assert refused.value.param == param
    assert refused.value.message


@pytest.mark.parametrize("rules", [row[0] for row in RULES.values()], ids=RULES.keys())
def test_the_clients_own_fields_are_never_changed(rules: dict[str, Any]) -> None:
    body = json.dumps({"model": "p/m", "messages": [USER, *OLD_TURNS], "stream": True, "temperature": 9}).encode()
    call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    before = {name: bytes(value) for name, value in call.fields.items()}
    ADAPTERS["openai"].request(call, target_of(rules=rules))
    assert {name: bytes(value) for name, value in call.fields.items()} == before


def test_the_table_above_has_a_line_for_every_rule() -> None:
    tested = {name for row in [*RULES.values(), *REFUSALS.values()] for name in row[0]}
    # About answers: the recorded exchanges.
    answers = {"reasoning_out", "reasoning_excluded", "stream_usage", "vector_bytes"}
    prefix = {"model_prefix"}
    derived = {name for name, field in ParamRules.__dataclass_fields__.items() if not field.init}
    assert set(ParamRules.__dataclass_fields__) - derived == tested | answers | prefix


@pytest.mark.parametrize(("model", "upstream"), [("llama", "accounts/x/models/llama"), ("a/b", "a/b")])
def test_a_model_prefix_is_put_before_ids_without_a_slash(model: str, upstream: str) -> None:
    body = json.dumps({"model": "p/m", "messages": [USER]}).encode()
    call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    target = target_of(model=model, rules={"model_prefix": "accounts/x/models/"})
    assert json.loads(ADAPTERS["openai"].request(call, target).body)["model"] == upstream


def test_a_rule_without_work_leaves_a_members_bytes_alone() -> None:
    member = Raw(b'[ {"role" : "user","content":"\\u00e9"} ]')
    fields = {"messages": member, "temperature": Raw(b"0.50")}
    apply(fields, rules_of(roles={"developer": "system"}, clamp={"temperature": [0, 1]}, strip_nulls=True), "m")
    assert {name: bytes(value) for name, value in fields.items()} == {
        "messages": bytes(member),
        "temperature": b"0.50",
    }


def test_rules_are_values_that_nobody_can_change() -> None:
    rules = ParamRules()
    assert isinstance(rules.rename, MappingProxyType)
    with pytest.raises(AttributeError):
        rules.string_content = True  # type: ignore[misc]
