"""Requests that no upstream must see: each gets one exact error, at once, and costs nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.faults.rejections import assert_rejected
from tests.faults.shapes import fine
from tests.faults.stage import SLACK, Stage
from tests.upstreams.scripted import json_response

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"server": {"max_body_bytes": 12_000_000}}
USER = {"role": "user", "content": "Hi"}


# What is not acceptable JSON. %M stands for the model, %m for a whole good list of messages.

GOOD = '{"model":"%M","messages":%m}'
RAW: dict[str, tuple[bytes | str, int, str, str | None]] = {
    "empty": (b"", 400, "empty_body", None),
    "blank": (b" \n\t ", 400, "empty_body", None),
    "truncated": ('{"model":"%M","messages":%m', 400, "invalid_json", None),
    "truncated string": ('{"model":"%M', 400, "invalid_json", None),
    "trailing comma": ('{"model":"%M","messages":%m,}', 400, "invalid_json", None),
    "comment": ('{"model":"%M",/* hi */"messages":%m}', 400, "invalid_json", None),
    "single quotes": ("{'model':'%M'}", 400, "invalid_json", None),
    "leading zero": ('{"model":"%M","messages":%m,"seed":01}', 400, "invalid_json", None),
    "hexadecimal": ('{"model":"%M","messages":%m,"seed":0x1}', 400, "invalid_json", None),
    "two documents": (GOOD + GOOD, 400, "invalid_json", None),
    "trailing garbage": (GOOD + "x", 400, "invalid_json", None),
    "NaN": ('{"model":"%M","messages":%m,"temperature":NaN}', 400, "invalid_json", None),
    "Infinity": ('{"model":"%M","messages":%m,"temperature":Infinity}', 400, "invalid_json", None),
    "minus Infinity": ('{"model":"%M","messages":%m,"temperature":-Infinity}', 400, "invalid_json", None),
    "1e400": ('{"model":"%M","messages":%m,"temperature":1e400}', 400, "invalid_json", None),
    "-1E+999": ('{"model":"%M","messages":%m,"temperature":-1E+999}', 400, "invalid_json", None),
    "1e400 below a message": (
        '{"model":"%M","messages":[{"role":"user","content":"x","y":[1e400]}]}',
        400,
        "invalid_json",
        "messages[0].y",
    ),
    "invalid utf-8": (b'{"model":"%M","messages":[{"role":"user","content":"\xff"}]}', 400, "invalid_json", None),
    "overlong": (b'{"model":"%M","messages":[{"role":"user","content":"\xc0\xaf"}]}', 400, "invalid_json", None),
    "raw surrogate": (
        b'{"model":"%M","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        400,
        "invalid_json",
        None,
    ),
    "lone surrogate": ('{"model":"%M","messages":[{"role":"user","content":"\\ud800"}]}', 400, "invalid_json", None),
    "surrogates in the wrong order": (
        '{"model":"%M","messages":[{"role":"user","content":"\\udc00\\ud800"}]}',
        400,
        "invalid_json",
        None,
    ),
    "utf-16": ('{"model":"%M","messages":%m}'.encode("utf-16"), 400, "invalid_json", None),
    "byte order mark": (b'\xef\xbb\xbf{"model":"%M","messages":%m}', 400, "invalid_json", None),
    "raw newline": ('{"model":"%M","messages":[{"role":"user","content":"a\nb"}]}', 400, "invalid_json", None),
    "raw NUL in a string": ('{"model":"%M","messages":[{"role":"user","content":"a\0b"}]}', 400, "invalid_json", None),
    "bad escape": ('{"model":"%M","messages":[{"role":"user","content":"\\x41"}]}', 400, "invalid_json", None),
    "list": ("[]", 400, "invalid_type", None),
    "null": ("null", 400, "invalid_type", None),
    "number": ("1", 400, "invalid_type", None),
    "string": ('"x"', 400, "invalid_type", None),
    "model twice": ('{"model":"%M","messages":%m,"model":"up/other"}', 400, "duplicate_key", "model"),
    "stream twice": ('{"model":"%M","messages":%m,"stream":true,"stream":false}', 400, "duplicate_key", "stream"),
    "model twice, once escaped": (
        '{"model":"%M","messages":%m,"mode\\u006c":"up/other"}',
        400,
        "duplicate_key",
        "model",
    ),
    "integer of 5000 digits": ('{"model":"%M","messages":%m,"seed":' + "9" * 5000 + "}", 400, "invalid_value", None),
    "10 to the 20th": ('{"model":"%M","messages":%m,"seed":100000000000000000000}', 400, "invalid_value", None),
    "a megabyte of lists": (
        '{"model":"%M","messages":%m,"x":[' + "[]," * 340_000 + "0]}",
        400,
        "too_many_items",
        None,
    ),
    "many keys": (
        '{"model":"%M","messages":%m,' + ",".join(f'"k{n}":0' for n in range(90_000)) + "}",
        400,
        "too_many_items",
        None,
    ),
    "too large": (b'{"model":"%M","x":"' + b"x" * 12_000_000 + b'"}', 413, "request_too_large", None),
}


@pytest.mark.parametrize(("body", "status", "code", "param"), RAW.values(), ids=RAW)
async def test_a_body_that_is_not_acceptable_json(
    stage: Stage, body: bytes | str, status: int, code: str, param: str | None
) -> None:
    scene = stage.plays(fine())
    data = body.encode() if isinstance(body, str) else body
    data = data.replace(b"%M", scene.model.encode()).replace(b"%m", json.dumps([USER]).encode())
    answer = await scene.send(data)
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == (status, code, param), error
    assert not scene.requests
    await stage.quiet()


@pytest.mark.parametrize("depth", [129, 255, 1000, 100_000])
@pytest.mark.parametrize("place", ["top", "message", "content"])
async def test_json_that_is_too_deep(stage: Stage, depth: int, place: str) -> None:
    scene = stage.plays(fine())
    deep = b"[" * depth + b"]" * depth
    bodies = {
        "top": b'{"model":"%b","messages":[{"role":"user","content":"x"}],"x":%b}',
        "message": b'{"model":"%b","messages":[{"role":"user","content":"x","y":%b}]}',
        "content": b'{"model":"%b","messages":[{"role":"user","content":[{"type":"text","z":%b}]}]}',
    }
    started = time.monotonic()
    answer = await scene.send(bodies[place] % (scene.model.encode(), deep))
    assert time.monotonic() - started < 0.5 + SLACK
    assert (answer.status, answer.error["code"]) == (400, "json_too_deep")
    assert not scene.requests


async def test_json_of_the_greatest_depth_is_served(stage: Stage) -> None:
    scene = stage.plays(fine())
    deep = b"[" * 126 + b"]" * 126
    body = b'{"model":"%b","messages":[{"role":"user","content":"x"}],"x":%b}' % (scene.model.encode(), deep)
    assert (await scene.send(body)).status == 200


# Fields of a chat request

ABSENT = object()


def tool(**more: object) -> list[dict[str, object]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "x", **more},
    ]


FIELDS: dict[str, tuple[dict[str, object], int, str, str]] = {
    "model missing": ({"model": ABSENT}, 400, "missing_required_parameter", "model"),
    "model empty": ({"model": ""}, 400, "missing_required_parameter", "model"),
    "model blank": ({"model": "  "}, 400, "missing_required_parameter", "model"),
    "model number": ({"model": 5}, 400, "invalid_type", "model"),
    "model null": ({"model": None}, 400, "invalid_type", "model"),
    "model list": ({"model": ["up/x"]}, 400, "invalid_type", "model"),
    "model of 10 kB": ({"model": "up/" + "x" * 10_000}, 400, "invalid_value", "model"),
    "model with a line end": ({"model": "up/a\nb"}, 400, "invalid_value", "model"),
    "model with dots": ({"model": "up/../../etc/passwd"}, 400, "invalid_value", "model"),
    "model template": ({"model": "{{7*7}}"}, 400, "invalid_value", "model"),
    "model lookup": ({"model": "${jndi:ldap://x}"}, 400, "invalid_value", "model"),
    "model unknown": ({"model": "gpt-nonsense"}, 404, "model_not_found", "model"),
    "model of an unknown provider": ({"model": "nobody/gpt"}, 404, "model_not_found", "model"),
    "model with a URL": ({"model": "custom:http://127.0.0.1:1/v1/x"}, 404, "model_not_found", "model"),
    "messages missing": ({"messages": ABSENT}, 400, "missing_required_parameter", "messages"),
    "messages null": ({"messages": None}, 400, "missing_required_parameter", "messages"),
    "messages empty": ({"messages": []}, 400, "empty_array", "messages"),
    "messages object": ({"messages": {}}, 400, "invalid_type", "messages"),
    "messages text": ({"messages": "Hi"}, 400, "invalid_type", "messages"),
    "messages too many": ({"messages": [USER] * 100_000}, 400, "array_above_max_length", "messages"),
    "message null": ({"messages": [None]}, 400, "invalid_value", "messages[0].role"),
    "message text": ({"messages": [USER, "x"]}, 400, "invalid_value", "messages[1].role"),
    "role missing": ({"messages": [{"content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    "role unknown": ({"messages": [{"role": "root", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    "role number": ({"messages": [{"role": 1, "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    "role null": ({"messages": [USER, {"role": None, "content": "x"}]}, 400, "invalid_value", "messages[1].role"),
    "content number": ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_type", "messages[0].content"),
    "content true": ({"messages": [{"role": "user", "content": True}]}, 400, "invalid_type", "messages[0].content"),
    "content object": ({"messages": [{"role": "user", "content": {}}]}, 400, "invalid_type", "messages[0].content"),
    "content nested": ({"messages": [{"role": "user", "content": [[]]}]}, 400, "invalid_type", "messages[0].content"),
    "content empty list": ({"messages": [{"role": "user", "content": []}]}, 400, "empty_array", "messages[0].content"),
    "part unknown": (
        {"messages": [{"role": "user", "content": [{"type": "virus"}]}]},
        400,
        "invalid_type",
        "messages[0].content",
    ),
    "part without type": (
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        400,
        "invalid_type",
        "messages[0].content",
    ),
    "text of 10 MB": (
        {"messages": [{"role": "user", "content": "x" * 10_000_000}]},
        400,
        "string_above_max_length",
        "messages[0].content",
    ),
    "part of 10 MB": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 10_000_000}]}]},
        400,
        "string_above_max_length",
        "messages[0].content",
    ),
    "content null": ({"messages": [{"role": "user", "content": None}]}, 400, "invalid_value", "messages[0].content"),
    "content missing": ({"messages": [{"role": "system"}]}, 400, "invalid_value", "messages[0].content"),
    "assistant is silent": (
        {"messages": [USER, {"role": "assistant"}]},
        400,
        "invalid_value",
        "messages[1].content",
    ),
    "assistant with no calls": (
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": []}]},
        400,
        "invalid_value",
        "messages[1].content",
    ),
    "tool without id": ({"messages": [USER, *tool()]}, 400, "invalid_value", "messages[2].tool_call_id"),
    "tool with an unknown id": (
        {"messages": [USER, *tool(tool_call_id="call_2")]},
        400,
        "invalid_value",
        "messages[2].tool_call_id",
    ),
    "tool with a number": (
        {"messages": [USER, *tool(tool_call_id=1)]},
        400,
        "invalid_value",
        "messages[2].tool_call_id",
    ),
    "tool before any call": (
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
        400,
        "invalid_value",
        "messages[0].tool_call_id",
    ),
    "stream text": ({"stream": "true"}, 400, "invalid_type", "stream"),
    "stream number": ({"stream": 1}, 400, "invalid_type", "stream"),
    "stream list": ({"stream": []}, 400, "invalid_type", "stream"),
    "stream options without stream": (
        {"stream_options": {"include_usage": True}},
        400,
        "invalid_value",
        "stream_options",
    ),
    "stream options text": ({"stream": True, "stream_options": "x"}, 400, "invalid_type", "stream_options"),
    "include usage text": (
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        400,
        "invalid_type",
        "stream_options",
    ),
}


@pytest.mark.parametrize(("over", "status", "code", "param"), FIELDS.values(), ids=FIELDS)
async def test_a_field_that_is_wrong(stage: Stage, over: dict[str, object], status: int, code: str, param: str) -> None:
    scene = stage.plays(fine())
    body = {name: value for name, value in {**scene.body(), **over}.items() if value is not ABSENT}
    answer = await scene.send(body)
    message = await assert_rejected(stage, scene, answer, (status, code, param))
    assert len(message) < 600
    assert "\n" not in message


FINE: dict[str, dict[str, object]] = {
    "stream null": {"stream": None, "stream_options": None},
    "assistant with calls": {"messages": [USER, *tool(tool_call_id="call_1")]},
    "assistant refuses": {"messages": [USER, {"role": "assistant", "refusal": "no"}]},
    "unknown field": {"new_parameter": {"a": [1]}},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    "odd characters": {"messages": [{"role": "user", "content": "\u202e\u200b\U0001f600\u0000 ${x} {{y}}"}]},
}


@pytest.mark.parametrize("over", FINE.values(), ids=FINE)
async def test_what_is_allowed_reaches_the_upstream_unchanged(stage: Stage, over: dict[str, object]) -> None:
    scene = stage.plays(fine())
    body = {**scene.body(), **over}
    answer = await scene.send(body)
    assert answer.status == 200
    (request,) = scene.requests
    said_something = {name: value for name, value in body.items() if value is not None}
    assert request.json() == {**said_something, "model": scene.name}


# Embeddings

EMBEDDINGS: dict[str, tuple[dict[str, object], str, str]] = {
    "input missing": ({}, "missing_required_parameter", "input"),
    "input null": ({"input": None}, "missing_required_parameter", "input"),
    "input empty text": ({"input": ""}, "empty_array", "input"),
    "input empty list": ({"input": []}, "empty_array", "input"),
    "input number": ({"input": 5}, "invalid_type", "input"),
    "input object": ({"input": {}}, "invalid_type", "input"),
    "encoding unknown": ({"input": "x", "encoding_format": "hex"}, "invalid_value", "encoding_format"),
    "encoding number": ({"input": "x", "encoding_format": 1}, "invalid_value", "encoding_format"),
}


@pytest.mark.parametrize(("fields", "code", "param"), EMBEDDINGS.values(), ids=EMBEDDINGS)
async def test_embeddings_that_are_wrong(stage: Stage, fields: dict[str, object], code: str, param: str) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({"model": scene.model, **fields}, path="/v1/embeddings")
    await assert_rejected(stage, scene, answer, (400, code, param))


@pytest.mark.parametrize("value", ["x", ["x", "y"], [1, 2, 3], [[1], [2]]])
async def test_every_form_of_embedding_input_is_forwarded(stage: Stage, value: Any) -> None:
    body = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}
    scene = stage.plays(json_response(body))
    answer = await scene.send({"model": scene.model, "input": value, "encoding_format": "float"}, path="/v1/embeddings")
    assert (answer.status, answer.json["data"]) == (200, body["data"])
    assert scene.requests[0].json() == {"model": scene.name, "input": value, "encoding_format": "float"}


async def test_nothing_here_wrote_to_the_log(stage: Stage) -> None:
    scene = stage.plays(fine())
    await scene.send(b"{")
    await scene.send({**scene.body(), "messages": 5})
    assert "Traceback" not in stage.gateway.log
    await stage.quiet()
