"""What the gateway itself demands of a body: status, code and parameter of every refusal."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Operation
from gateway.errors import GatewayError
from gateway.http.api.messages import MAX_TEXT_BYTES
from tests.unit.http.reading import USER, Refusal, chat, read, refusal

# The good ones.


def test_a_call_holds_what_the_client_said() -> None:
    body = json.dumps(chat(stream=True, stream_options={"include_usage": True}, extra={"a": [1]})).encode()
    call = read(body)
    assert (call.operation, call.model, call.stream, call.wants_usage) == (Operation.CHAT, "p/m", True, True)
    assert (call.id, call.created) == ("chatcmpl-1", 5)
    assert call.body is body
    assert {name: json.loads(bytes(value)) for name, value in call.fields.items()} == json.loads(body)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": False},
        {"stream": None},
        {"stream": True, "stream_options": None},
        {"stream": True, "stream_options": {}},
        {"stream": True, "stream_options": {"include_usage": None}},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream_options": None},
        {"temperature": None, "stop": None, "tools": None, "n": None},
        {"user": "\u202e\u0000\u200b🙂"},
    ],
)
def test_these_fields_are_fine(fields: dict[str, Any]) -> None:
    call = read(chat(**fields))
    assert call.stream is bool(fields.get("stream"))
    assert not call.wants_usage


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.COMPLETIONS, {"model": "m", "prompt": "x"}),
        (Operation.COMPLETIONS, {"model": "m", "prompt": ["x", "y"]}),
        (Operation.COMPLETIONS, {"model": "m", "prompt": [1, 2]}),
        (Operation.COMPLETIONS, {"model": "m", "prompt": None}),
        (Operation.EMBEDDINGS, {"model": "m", "input": "x"}),
        (Operation.EMBEDDINGS, {"model": "m", "input": ["x"]}),
        (Operation.EMBEDDINGS, {"model": "m", "input": [1, 2, 3]}),
        (Operation.EMBEDDINGS, {"model": "m", "input": [[1], [2]]}),
        (Operation.EMBEDDINGS, {"model": "m", "input": "x", "encoding_format": "base64"}),
        (Operation.EMBEDDINGS, {"model": "m", "input": "x", "encoding_format": None}),
    ],
)
def test_these_other_requests_are_fine(operation: Operation, body: dict[str, Any]) -> None:
    assert read(body, operation).operation is operation


# JSON.

PLAIN = b'{"model":"p/m","messages":[{"role":"user","content":"x"}]%s}'


@pytest.mark.parametrize("body", [b"", b" \n\t "])
def test_an_empty_body_is_refused(body: bytes) -> None:
    assert refusal(body) == (400, "empty_body", None)


@pytest.mark.parametrize(
    "body",
    [
        PLAIN[:-3],
        PLAIN % b",",
        b"{,}",
        PLAIN % b"/* */",
        b"// x\n" + PLAIN % b"",
        (PLAIN % b"").replace(b'"', b"'"),
        PLAIN % b',"n":01',
        PLAIN % b',"n":0x1',
        PLAIN % b',"n":+1',
        PLAIN % b',"n":.5',
        PLAIN % b',"n":1.',
        PLAIN % b"" + PLAIN % b"",
        PLAIN % b"" + b"x",
        PLAIN % b',"n":NaN',
        PLAIN % b',"n":Infinity',
        PLAIN % b',"n":-Infinity',
        PLAIN % b',"n":1e400',
        PLAIN % b',"n":[{"x":-1e309}]',
        PLAIN % b',"n":nul',
        PLAIN % b',"x":"\xff"',
        PLAIN % b',"x":"\xc0\xaf"',
        PLAIN % b',"x":"\xed\xa0\x80"',
        PLAIN % b',"x":"\\ud800"',
        (PLAIN % b"").replace(b'"x"', b'"\\udfff"'),
        (PLAIN % b"").decode().encode("utf-16"),
        (PLAIN % b"").decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + PLAIN % b"",
        PLAIN % b',"x":"a\nb"',
        PLAIN % b',"x":"a\x00b"',
        PLAIN % b',"x":"\\x"',
        PLAIN % b',"x":"\\u12"',
        b'{"model"}',
        b"{1:2}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refusal(body) == (400, "invalid_json", None)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true", b'[{"model":"m"}]'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body) == (400, "invalid_type", None)


@pytest.mark.parametrize("name", ["model", "messages", "stream", "x"])
def test_a_key_that_occurs_twice_is_refused(name: str) -> None:
    first = json.dumps({"model": "p/m", "messages": [USER], "stream": False, "x": 1})[:-1]
    assert refusal(f'{first},"{name}":"y"}}'.encode()) == (400, "duplicate_key", name)
    assert refusal(f'{first.replace(": ", ":").replace(", ", ",")},"{name}":5}}'.encode())[1] == "duplicate_key"


@pytest.mark.parametrize("levels", [128, 255, 1_000, 100_000])
@pytest.mark.parametrize("place", ["field", "message", "part", "messages"])
def test_deep_nesting_is_refused_at_once(levels: int, place: str) -> None:
    deep = "[" * levels + "]" * levels
    body = {
        "field": f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"x":{deep}}}',
        "message": f'{{"model":"m","messages":[{{"role":"user","content":"x","x":{deep}}}]}}',
        "part": f'{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","x":{deep}}}]}}]}}',
        "messages": f'{{"model":"m","messages":{deep}}}',
    }[place].encode()
    began = time.process_time()
    status, code, _ = refusal(body)
    assert time.process_time() - began < 5  # as above
    assert status == 400
    assert code == "json_too_deep" or (place == "messages" and code == "invalid_value")


def test_nesting_as_deep_as_allowed_is_fine() -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + "[" * 127 + "]" * 127 + "}"
    assert read(body.encode()).model == "m"


@pytest.mark.parametrize("number", ["9" * 5000, "100000000000000000000", "-9223372036854775809"])
def test_integers_of_more_than_64_bits_are_refused(number: str) -> None:
    assert refusal(PLAIN % f',"seed":{number}'.encode()) == (400, "invalid_value", None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","x":[' + b"[]," * 300_000 + b"1]}",
        b'{"model":"m","x":{' + b",".join(b'"k%d":1' % n for n in range(210_000)) + b"}}",
        b"{" + b",".join(b'"k%d":1' % n for n in range(90_000)) + b"}",
    ],
    ids=["arrays", "members", "fields"],
)
def test_a_flood_of_items_is_refused_at_once(body: bytes) -> None:
    began = time.process_time()
    assert refusal(body) == (400, "too_many_items", None)
    assert time.process_time() - began < 5  # minutes, if it looked at everything again for each item


# The model.


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("", "missing_required_parameter"),
        ("  ", "missing_required_parameter"),
        (5, "invalid_type"),
        (None, "invalid_type"),
        (["m"], "invalid_type"),
        ("m" * 10_000, "invalid_value"),
        ("m\nx", "invalid_value"),
        ("m\r\nx-a: b", "invalid_value"),
        ("m\u0000", "invalid_value"),
        ("../../etc/passwd", "invalid_value"),
        ("{{7*7}}", "invalid_value"),
        ("${jndi:ldap://x}", "invalid_value"),
        ("a\\b", "invalid_value"),
    ],
)
@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS])
def test_an_implausible_model_is_refused(model: Any, code: str, operation: Operation) -> None:
    assert refusal({**chat(), "model": model}, operation) == (400, code, "model")


def test_a_missing_model_is_refused() -> None:
    assert refusal({"messages": [USER]}) == (400, "missing_required_parameter", "model")


# Streams.


@pytest.mark.parametrize("value", ["true", 1, 0, "", [], {}])
def test_stream_must_be_a_boolean(value: Any) -> None:
    assert refusal(chat(stream=value)) == (400, "invalid_type", "stream")


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": None}])
def test_stream_options_need_a_stream(fields: dict[str, Any]) -> None:
    body = chat(stream_options={"include_usage": True}, **fields)
    assert refusal(body) == (400, "invalid_value", "stream_options")


@pytest.mark.parametrize("options", ["x", 5, [], {"include_usage": "true"}, {"include_usage": 1}])
def test_stream_options_of_a_wrong_shape_are_refused(options: Any) -> None:
    assert refusal(chat(stream=True, stream_options=options)) == (400, "invalid_type", "stream_options")


# The other operations.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (400, "missing_required_parameter", "input")),
        ({"input": None}, (400, "missing_required_parameter", "input")),
        ({"input": ""}, (400, "empty_array", "input")),
        ({"input": []}, (400, "empty_array", "input")),
        ({"input": 5}, (400, "invalid_type", "input")),
        ({"input": {}}, (400, "invalid_type", "input")),
        ({"input": "x", "encoding_format": "x"}, (400, "invalid_value", "encoding_format")),
        ({"input": "x", "encoding_format": 5}, (400, "invalid_value", "encoding_format")),
    ],
)
def test_embeddings_of_a_wrong_shape_are_refused(fields: dict[str, Any], expected: Refusal) -> None:
    assert refusal({"model": "m", **fields}, Operation.EMBEDDINGS) == expected


@pytest.mark.parametrize("prompt", [5, {}, True, False])
def test_a_prompt_of_a_wrong_shape_is_refused(prompt: Any) -> None:
    assert refusal({"model": "m", "prompt": prompt}, Operation.COMPLETIONS) == (400, "invalid_type", "prompt")


def test_an_enormous_prompt_is_refused() -> None:
    body = {"model": "m", "prompt": "x" * (4 * MAX_TEXT_BYTES)}
    assert refusal(body, Operation.COMPLETIONS) == (413, "request_too_large", "prompt")


# Anything at all.

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_calls", "id", "tool_call_id", "name"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=10,
)


BODIES = st.dictionaries(
    st.sampled_from(["model", "messages", "stream", "stream_options", "input", "prompt", "encoding_format"]),
    st.one_of(JSON, st.just("m"), st.lists(JSON, max_size=3)),
)


@given(body=st.one_of(BODIES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)), data=st.data())
def test_any_body_is_read_or_refused_with_4xx(body: bytes, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from([Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS]))
    try:
        call = read(body, operation)
    except GatewayError as error:
        assert 400 <= error.status < 500
        assert error.code
        return
    assert call.model == json.loads(body)["model"]
