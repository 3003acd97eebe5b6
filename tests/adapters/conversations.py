"""Generated chats: what a client of OpenAI's API may send, in any order with any of the habits that clients have."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]
Strategy = st.SearchStrategy[Any]
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQ="
WORDS = st.sampled_from(["hi", "", " ", "\n\t", "go on ", "é漢🙂\u2028", '{"a": 1}', "answer in JSON", "."])
TEXTS = st.one_of(WORDS, WORDS, WORDS, st.text(st.characters(codec="utf-8"), max_size=8))
IDS = st.sampled_from(
    ["call_1", "call_2", "abcdefghi", "fc.1:2", "a/b c", "é", "x" * 80, "call_1-1", "call", "toolu_01", "a_1", "a#1"]
)
NAMES = st.sampled_from(["f", "look_up", "ns.tool", "a b", "ünder", "9lives", "x" * 64, "-dash", "answer", "input"])
ARGUMENTS = st.sampled_from(
    ["{}", '{"a":1}', "", " ", "null", "[1]", '"x"', "{broken", '{"value":2}', '{"a":{"b":[]}}', "5", '{"_raw":""}']
)
CACHE = st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, {"type": "other"}, None])
VENDORS = st.sampled_from(["anthropic-claude-v1", "google-gemini-v1", "bedrock-converse-v1", "openai-responses-v1", ""])
LOST = st.sampled_from([True, False, False, False])


def sometimes(**members: Strategy) -> Strategy:
    """Draws an object that has few of these members, mostly none."""
    few = st.lists(st.sampled_from(sorted(members)), max_size=1) if members else st.just([])
    return few.flatmap(lambda names: st.fixed_dictionaries({name: members[name] for name in names}))


TEXT_PART = st.builds(
    lambda text, cache: {"type": "text", "text": text, **cache}, TEXTS, sometimes(cache_control=CACHE)
)
IMAGE = st.builds(
    lambda url, detail, cache: {"type": "image_url", "image_url": {"url": url, **detail}, **cache},
    st.sampled_from([PNG, PNG, "https://example.com/a.png", "data:image/svg+xml;base64,AAAA", "data:,x", "gs://b/c"]),
    sometimes(detail=st.sampled_from(["auto", "low", "high", "original"])),
    sometimes(cache_control=CACHE),
)
FILE = st.builds(
    lambda file, cache: {"type": "file", "file": file, **cache},
    st.sampled_from(
        [
            {"file_data": PDF, "filename": "a.pdf"},
            {"file_data": PDF},
            {"file_data": "data:text/plain;base64,aGk=", "filename": "a (1).txt"},
            {"file_data": "JVBERi0=", "filename": "../a..pdf"},
            {"file_id": "file_1"},
            {"file_id": "file-1"},
            {"file_data": "data:text/csv;base64,/w==", "filename": "a.csv"},
            {},
        ]
    ),
    sometimes(cache_control=CACHE),
)
SOUND = st.just({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})
SHOWN = st.one_of(TEXT_PART, TEXT_PART, TEXT_PART, IMAGE, FILE, SOUND)
ONLY_TEXT = st.one_of(TEXTS, TEXTS, st.lists(TEXT_PART, min_size=1, max_size=3))
SHOWING = st.one_of(TEXTS, TEXTS, TEXTS, st.lists(SHOWN, min_size=1, max_size=3))
SAID = st.one_of(
    TEXTS,
    TEXTS,
    st.none(),
    st.lists(
        st.one_of(TEXT_PART, st.builds(lambda text: {"type": "refusal", "refusal": text}, TEXTS)),
        min_size=1,
        max_size=2,
    ),
    st.just([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "so"}]),
    st.just([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]),
)
DETAIL = st.builds(
    lambda kind, format: {**kind, "format": format},
    st.sampled_from(
        [
            {"type": "reasoning.text", "text": "hm", "signature": "c2ln"},
            {"type": "reasoning.text", "text": "hm"},
            {"type": "reasoning.text", "text": "", "signature": "c2ln"},
            {"type": "reasoning.encrypted", "data": "ZGF0YQ=="},
            {"type": "reasoning.summary", "summary": "so"},
            {},
        ]
    ),
    VENDORS,
)
THOUGHTS = sometimes(
    reasoning_content=TEXTS,
    reasoning=TEXTS,
    reasoning_details=st.lists(DETAIL, max_size=3),
    thinking_blocks=st.just([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]),
    refusal=TEXTS,
    cache_control=CACHE,
    prefix=st.booleans(),
    name=st.just("ann"),
    audio=st.just({"id": "audio_1"}),
    extra_content=st.just({"google": {"thought_signature": "c2ln"}}),
)
AROUND = sometimes(name=st.just("ann"), cache_control=CACHE)


@st.composite
def tool_calls(draw: st.DrawFn) -> list[Object]:
    """Draws the calls of one turn: their ids differ, as they do wherever a model made them."""
    made: list[Object] = []
    for id in draw(st.lists(IDS, min_size=1, max_size=3, unique=True)):
        name, arguments = draw(NAMES), draw(ARGUMENTS)
        if draw(LOST):
            made.append({"id": id, "type": "custom", "custom": {"name": name, "input": arguments}})
        else:
            extra = draw(sometimes(extra_content=st.just({"google": {"thought_signature": "c2ln"}})))
            made.append({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra})
    return made


@st.composite
def turns(draw: st.DrawFn, *, most: int = 7) -> list[Object]:
    """Draws a conversation: results late, twice, missing, or behind other turns; instructions anywhere."""
    made: list[Object] = []
    known: list[str] = []
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(["user", "user", "assistant", "calls", "calls", "tool", "system", "function"]))
        if kind == "system":
            role = draw(st.sampled_from(["system", "developer"]))
            made.append({"role": role, "content": draw(ONLY_TEXT), **draw(AROUND)})
        elif kind == "user":
            made.append({"role": "user", "content": draw(SHOWING), **draw(AROUND)})
        elif kind == "assistant":
            made.append(_answer(draw(SAID), draw(THOUGHTS)))
        elif kind == "calls":
            calls = draw(tool_calls())
            ids = [call["id"] for call in calls]
            known += ids
            made.append({"role": "assistant", "content": draw(SAID), "tool_calls": calls, **draw(THOUGHTS)})
            made += [_result(draw, id) for id in draw(st.permutations(ids)) if not draw(LOST)]
        elif kind == "tool" and known:
            made.append(_result(draw, draw(st.sampled_from(known))))
        elif kind == "function":
            name = draw(NAMES)
            old = {"name": name, "arguments": draw(ARGUMENTS)}
            if not draw(LOST):
                made.append({"role": "assistant", "content": draw(SAID), "function_call": old})
            made.append({"role": "function", "name": name, "content": draw(TEXTS)})
    return made or [{"role": "user", "content": draw(TEXTS)}]


def _answer(content: Any, around: Object) -> Object:
    is_silent = content is None and not any(around.get(name) for name in ("refusal", "reasoning_content", "audio"))
    return {"role": "assistant", "content": "" if is_silent else content, **around}


def _result(draw: st.DrawFn, id: str) -> Object:
    around = draw(sometimes(is_error=st.booleans(), cache_control=CACHE, name=st.just("f")))
    return {"role": "tool", "tool_call_id": id, "content": draw(SHOWING), **around}


LEAF = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0, "maximum": 9, "multipleOf": 3},
        {"type": ["string", "null"], "description": "a"},
        {"type": ["string", "integer", "null"]},
        {"enum": ["a", 1, None, True]},
        {"enum": []},
        {"const": None},
        {"const": {"a": 1}},
        {"$ref": "#/$defs/node"},
        {"$ref": "#"},
        {"$ref": "#/$defs/gone"},
        {"$ref": "https://example.com/s"},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array"},
        {"type": "array", "items": [{"type": "string"}], "minItems": 2},
        {"type": "array", "items": True, "maxItems": 0},
        {"type": "string", "format": "email", "pattern": "^a", "nullable": True},
        {"anyOf": [{"type": "null"}]},
        {"anyOf": []},
        {"oneOf": [True, False]},
        {"allOf": [{"$ref": "#/$defs/node"}, {"properties": {"b": True}}]},
        {"not": {"type": "string"}},
        {"type": "null"},
        {},
        True,
        False,
    ]
)
NODE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(
            lambda properties, required, free: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:required],
                **({} if free is None else {"additionalProperties": free}),
            },
            st.dictionaries(st.sampled_from(["a", "b", "$ref", "type", "properties", "x y"]), inner, max_size=3),
            st.integers(0, 2),
            st.sampled_from([None, True, False]),
        ),
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda word, members: {word: members},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=4,
)
SCHEMAS = st.builds(
    lambda node, defs: {**node, **({"$defs": {"node": defs}} if defs is not None else {})},
    NODE.filter(lambda node: isinstance(node, dict)),
    st.one_of(st.none(), LEAF),
)


def _tool(kind: str, name: str, schema: Any, around: Object, inner: Object) -> Object:
    if kind == "custom":
        format = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
        return {"type": "custom", "custom": {"name": name, **({"format": format} if "strict" in inner else {})}}
    parameters = {} if schema is None else {"parameters": schema}
    return {"type": "function", "function": {"name": name, **parameters, **inner}, **around}


@st.composite
def tool_fields(draw: st.DrawFn) -> Object:
    """Draws the fields about tools: none, in today's form, or in the older one."""
    form = draw(st.sampled_from(["none", "tools", "tools", "functions"]))
    if form == "none":
        return {}
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    inner = sometimes(strict=st.booleans(), description=TEXTS)
    schemas = st.one_of(st.none(), SCHEMAS)
    if form == "functions":
        made = [_tool("function", name, draw(schemas), {}, draw(inner))["function"] for name in names]
        choice = st.sampled_from(["auto", "none", {"name": names[0]}])
        return {"functions": made, **draw(sometimes(function_call=choice))}
    kinds = st.sampled_from(["function", "function", "function", "custom"])
    made = [
        _tool(draw(kinds), name, draw(schemas), draw(sometimes(cache_control=CACHE)), draw(inner)) for name in names
    ]
    named = {"type": made[0]["type"], made[0]["type"]: {"name": names[0]}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    choices = st.sampled_from(["auto", "none", "required", named, allowed])
    parallel = sometimes(parallel_tool_calls=st.booleans())
    return {"tools": made, **draw(sometimes(tool_choice=choices)), **draw(parallel)}


FORMATS = st.one_of(
    st.sampled_from([{"type": "text"}, {"type": "json_object"}, {"type": "json_schema"}]),
    st.builds(
        lambda schema, around: {"type": "json_schema", "json_schema": {"name": "form", "schema": schema, **around}},
        SCHEMAS,
        sometimes(strict=st.booleans(), description=TEXTS),
    ),
)
NUMBERS = st.sampled_from([0, 1, 0.5, 1.0, -1, 2, -0.0, 1e-9, 2.5, 1e300])
COUNTS = st.sampled_from([1, 5, 1024, 1025, 2048, 5.0, 100_000, 10**12, 0, -1])
SCALARS: dict[str, Strategy] = {
    "temperature": NUMBERS,
    "top_p": NUMBERS,
    "top_k": st.sampled_from([0, 1, 40, -1, 40.0, 10**9]),
    "presence_penalty": NUMBERS,
    "frequency_penalty": NUMBERS,
    "max_tokens": COUNTS,
    "max_completion_tokens": COUNTS,
    "n": st.sampled_from([1, 1.0, 2, 0]),
    "seed": st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 7.0]),
    "stop": st.sampled_from(["x", "", [], [""], ["a", " "], ["a", "b", "c", "d", "e", "f"]]),
    "logprobs": st.booleans(),
    "top_logprobs": st.sampled_from([0, 3, 20]),
    "logit_bias": st.sampled_from([{}, {"50256": -100}]),
    "user": st.sampled_from(["", "u", "a@b.example", "u" * 600]),
    "safety_identifier": st.just("s"),
    "metadata": st.sampled_from([{}, {"a": "b"}, {"user_id": "u", "é": "x" * 300}]),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    "service_tier": st.sampled_from(["auto", "default", "flex", "priority", "scale"]),
    "store": st.booleans(),
    "verbosity": st.just("low"),
    "prediction": st.just({"type": "content", "content": [{"type": "text", "text": "maybe"}]}),
    "modalities": st.just(["text"]),
    "prompt_cache_key": st.just("k"),
    "web_search_options": st.just({}),
    "vendor_field": st.just({"a": [None]}),
    "stream": st.booleans(),
    "cache_control": st.just({"type": "ephemeral"}),
    "reasoning": st.sampled_from([{"effort": "low"}, {"max_tokens": 2000}, {"enabled": False}]),
}


@st.composite
def requests(draw: st.DrawFn) -> Object:
    """Draws the members of a chat beside `model`."""
    names = draw(st.lists(st.sampled_from(sorted(SCALARS)), max_size=4, unique=True))
    scalars = {name: draw(SCALARS[name]) for name in names}
    form = draw(sometimes(response_format=FORMATS, thinking=st.just({"type": "enabled", "budget_tokens": 2000})))
    return {"messages": draw(turns()), **draw(tool_fields()), **form, **scalars}


def body_of(members: Object) -> bytes:
    """Returns the bytes that a client sends for these members."""
    return json.dumps({"model": "p/m", **members}, ensure_ascii=False).encode()
