"""The byte scans against a slow, obviously right reader: the json module with hooks."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from adapters.codec import split_object
from gateway.errors import InvalidRequest
from gateway.http.api import jsonscan
from gateway.http.api.inbound import split

TEXTS = st.text(
    st.one_of(st.sampled_from('"\\{}[],: \n\té漢🙂\u2028ud8'), st.characters(codec="utf-8")),
    max_size=8,
)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=6)
FORMS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"indent": "\t", "separators": (" ,", " :")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {"ensure_ascii": False},
]


def written(value: Any, form: dict[str, Any]) -> bytes:
    return json.dumps(value, **form).encode("utf-8", "surrogatepass")


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def doubled_keys(body: bytes) -> set[str]:
    """Returns the keys that occur twice at the top level, by asking the json module for pairs."""
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    return {name for name in names if names.count(name) > 1}


@given(OBJECTS, st.sampled_from(FORMS))
def test_a_valid_body_is_never_refused(value: dict[str, Any], form: dict[str, Any]) -> None:
    body = written(value, form)
    assert split(body).keys() == value.keys()


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "model", "é", 'q"', "stream"]), VALUES), max_size=7), st.data())
def test_doubled_keys_are_found_in_any_form(pairs: list[tuple[str, Any]], data: st.DataObject) -> None:
    comma, colon = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", ":"), (",\n  ", ": ")]))
    is_ascii = data.draw(st.booleans())
    members = [f"{json.dumps(k, ensure_ascii=is_ascii)}{colon}{json.dumps(v)}" for k, v in pairs]
    body = ("{" + comma.join(members) + "}").encode()
    if not doubled_keys(body):
        assert set(split(body)) == {name for name, _ in pairs}
        return
    with pytest.raises(InvalidRequest) as refused:
        split(body)
    assert refused.value.code == "duplicate_key"
    assert refused.value.param in {*doubled_keys(body), None}


@pytest.mark.parametrize("filler", range(1, 40))
def test_a_doubled_key_is_found_whatever_the_length_of_what_stands_around(filler: int) -> None:
    for count in range(12):
        rest = "".join(f',"f{number}":1' for number in range(count))
        body = f'{{"stream":"{"x" * filler}"{rest},"stream":true}}'.encode()
        with pytest.raises(jsonscan.BadJson):
            jsonscan.check_unique_keys(body, split_object(body))


@given(st.recursive(st.just(1), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)))
def test_depth_is_counted_as_a_recursion_would(value: Any) -> None:
    limit = jsonscan.MAX_DEPTH
    for allowed in (1, 2, 4):
        member = Raw(json.dumps(value).encode())
        is_deep = depth(value) > allowed
        try:
            jsonscan.check_value(member, depth=limit - allowed)
        except jsonscan.BadJson as error:
            assert is_deep
            assert error.code == "json_too_deep"
        else:
            assert not is_deep


@given(VALUES, st.sampled_from(FORMS))
def test_what_is_outside_of_strings_is_what_a_parser_sees(value: Any, form: dict[str, Any]) -> None:
    body = written(value, form)
    plain = re.sub(rb'"(?:[^"\\]|\\.)*"', b'""', body, flags=re.DOTALL)
    assert jsonscan.outside_strings(body) == plain
    long = b'["' + b"x" * 2000 + b'",' + body + b"]"
    assert jsonscan.outside_strings(long) == b'["",' + plain + b"]"


@pytest.mark.parametrize(
    "text",
    [b'"\\\\"', b'"\\""', b'"\\\\\\""', b'"' + b"\\\\" * 600 + b'"', b'"' + b"x" * 3000 + b'\\""', b'["a","b\\\\"]'],
)
def test_escaped_quotes_end_no_string(text: bytes) -> None:
    plain = re.sub(rb'"(?:[^"\\]|\\.)*"', b'""', text, flags=re.DOTALL)
    assert jsonscan.outside_strings(text) == plain


@given(st.text(st.characters(), max_size=6))
def test_text_is_refused_exactly_if_it_cannot_be_written_as_utf8(text: str) -> None:
    body = json.dumps({"a": text}).encode()
    try:
        json.loads(body)["a"].encode()
        is_fine = True
    except UnicodeEncodeError:
        is_fine = False
    try:
        jsonscan.check_text(body)
    except jsonscan.BadJson as error:
        assert error.code == "invalid_json"
        assert not is_fine
    else:
        assert is_fine


@pytest.mark.parametrize(
    ("escapes", "is_fine"),
    [
        (r"\ud83d\ude42", True),
        (r"\uD83D\uDE42", True),
        (r"\\ud800", True),
        (r"\\\\ud800", True),
        (r"\ud800", False),
        (r"\udc00", False),
        (r"\ude42\ud83d", False),
        (r"\ud83d\ud83d\ude42", False),
        (r"\ud83dx\ude42", False),
        (r"\\\ud800", False),
        (r"\ud83d\\ude42", False),
        (r"\ud83d\u0041", False),
    ],
)
def test_surrogates_come_in_pairs(escapes: str, is_fine: bool) -> None:
    body = b'{"a":"' + escapes.encode() + b'"}'
    if is_fine:
        jsonscan.check_text(body)
        assert json.loads(body)["a"].encode()
        return
    with pytest.raises(jsonscan.BadJson):
        jsonscan.check_text(body)


@pytest.mark.parametrize(
    "body",
    [b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', '"a"'.encode("utf-16"), b'"\xe2\x82"'],
)
def test_bytes_that_are_no_utf8_are_refused(body: bytes) -> None:
    with pytest.raises(jsonscan.BadJson) as refused:
        jsonscan.check_text(body)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "1.5", "1e10", "1E+10", "1e-400", "0.1e308", "18446744073709551615", "-9223372036854775808",
     "0.12345678901234567890123", "123456789012345678901234567890.5", "1e0000000005", "1e308", "12345678901234567e-3"],
)  # fmt: skip
def test_numbers_that_every_reader_takes_are_fine(number: str) -> None:
    jsonscan.check_value(Raw(number.encode()))
    jsonscan.check_value(Raw(f'[{number},{{"a":{number}}}]'.encode()))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("18446744073709551616", "invalid_value"),
        ("-9223372036854775809", "invalid_value"),
        ("1" * 5000, "invalid_value"),
        ("1e309", "invalid_json"),
        ("1e400", "invalid_json"),
        ("-1E+999999999", "invalid_json"),
        ("1.5e0400", "invalid_json"),
    ],
)
def test_numbers_on_which_readers_differ_are_refused(number: str, code: str) -> None:
    for text in (number, f'["x",{number}]', f'{{"a": {number} }}'):
        with pytest.raises(jsonscan.BadJson) as refused:
            jsonscan.check_value(Raw(text.encode()))
        assert refused.value.code == code


def test_numbers_inside_strings_are_text() -> None:
    jsonscan.check_value(Raw(('["1e400","' + "1" * 5000 + '"]').encode()))
    jsonscan.check_value(Raw(b'"1e400"'))


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000 + "]" * 100_000, "[" + "[]," * 300_000 + "[]]", '{"a":' * 50_000 + "1" + "}" * 50_000,
     "[" + "1" * 1_000_000 + "]", "[" + '"\\\\\\"",' * 200_000 + "1]", '"' + "\\ud800" * 100_000 + '"'],
    ids=["deep arrays", "many arrays", "deep objects", "long number", "quotes", "surrogates"],
)  # fmt: skip
def test_bad_bodies_are_refused_in_linear_time(value: str) -> None:
    body = f'{{"model":"m","x":{value}}}'.encode()
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        split(body)
    assert time.process_time() - began < 5  # minutes, if it looked at everything again for each item


@pytest.mark.parametrize("around", ['{"model":"m","x":%s}', '{ "model" : "m",  "x":%s }'], ids=["dense", "with blanks"])
def test_deep_values_side_by_side_are_refused_in_linear_time(around: str) -> None:
    body = (around % f"[{','.join(['[' * 400 + ']' * 400] * 1_000)}]").encode()
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        split(body)
    assert time.process_time() - began < 5  # minutes, if it looked at everything again for each item


def test_too_many_fields_are_refused() -> None:
    body = json.dumps({f"f{number}": 1 for number in range(1001)}).encode()
    with pytest.raises(InvalidRequest) as refused:
        split(body)
    assert refused.value.code == "too_many_items"


def test_millions_of_strings_are_refused_without_becoming_objects() -> None:
    body = b'{"input":[' + b'"ab",' * 1_000_000 + b'"x"]}'
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest) as refused:
            split(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "too_many_items"
    assert peak < 3 * len(body)


def test_a_long_text_with_many_quotes_is_taken() -> None:
    text = '"a", ' * 250_000
    assert set(split(json.dumps({"input": [text]}).encode())) == {"input"}


def test_the_reader_beneath_keeps_the_last_of_doubled_keys() -> None:
    assert bytes(split_object(b'{"a":1,"a":2}')["a"]) == b"2", "which is why they are refused"
    with pytest.raises(msgspec.DecodeError):
        split_object(b'{"a":1,}')


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a":null,"b":null,"b":{"a":null}}', "b"),
        (b'{"a":1,"b":{"a":1},"b":2}', "b"),
        (b'{"a":1,"\\u00e9":{"a":1},"\\u00e9":2}', "\u00e9"),
        (b'{"model":"x","pad":"' + b"x" * 20_000 + b'","model":"y"}', None),
        (b'{"model":"x","model":"y"}', "model"),
    ],
)
def test_a_doubled_key_is_named_unless_the_body_is_long(body: bytes, param: str | None) -> None:
    with pytest.raises(jsonscan.BadJson) as refused:
        jsonscan.check_unique_keys(body, split_object(body))
    assert (refused.value.code, refused.value.param) == ("duplicate_key", param)
