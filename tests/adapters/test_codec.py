"""JSON on the data plane: members stay undecoded, embeddings change their encoding without loss."""

from __future__ import annotations

import base64
import json
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from adapters.codec import (
    as_list,
    as_object,
    base64_from_floats,
    encode,
    floats_from_base64,
    is_null,
    join_object,
    raw,
    split_object,
)

MEMBERS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8"), max_size=5)
    ),
    max_size=5,
)


@given(MEMBERS)
def test_an_object_split_and_joined_is_the_same(members: dict[str, object]) -> None:
    assert json.loads(join_object(split_object(json.dumps(members).encode()))) == members


def test_values_keep_their_bytes_and_members_their_order() -> None:
    body = b'{ "b" : 1.50 , "a":[ 1e2,\t"\\u00e9"] }'
    assert join_object(split_object(body)) == b'{"b":1.50,"a":[ 1e2,\t"\\u00e9"]}'


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_only_objects_are_split(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        split_object(body)


@pytest.mark.parametrize(("member", "is_nothing"), [(None, True), (b"", True), (b"null", True), (b"0", False)])
def test_absent_and_null_members_are_null(member: bytes | None, is_nothing: bool) -> None:
    assert is_null(None if member is None else Raw(member)) is is_nothing


@pytest.mark.parametrize("member", [b"true", b'""', b"[]", b"{}", b'"ab"'])
def test_other_members_are_not(member: bytes) -> None:
    assert not is_null(Raw(member))


def test_values_of_another_type_count_as_empty() -> None:
    assert (as_object([1]), as_object(None), as_object({"a": 1})) == ({}, {}, {"a": 1})
    assert (as_list({"a": 1}), as_list(None), as_list([1])) == ([], [], [1])


def test_a_value_may_stand_among_undecoded_members() -> None:
    assert encode({"a": raw({"b": [1]})}) == b'{"a":{"b":[1]}}'


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_vectors_survive_base64(values: list[float]) -> None:
    assert floats_from_base64(base64_from_floats(values)) == values


def test_base64_is_little_endian_float32() -> None:
    assert base64.b64decode(base64_from_floats([1.0, -2.5])) == struct.pack("<2f", 1.0, -2.5)


@pytest.mark.parametrize("text", ["???", "AAA", "AAAA", "AAAAAAA=", "\u00e9"])
def test_other_text_is_no_vector(text: str) -> None:
    with pytest.raises(ValueError, match="not base64 of numbers"):
        floats_from_base64(text)


def test_signed_bytes_are_numbers_too() -> None:
    assert floats_from_base64("AAH/gA==", "b") == [0.0, 1.0, -1.0, -128.0]


@pytest.mark.parametrize("values", [["a"], [None], [1e39], [[1.0]]])
def test_other_lists_are_no_vector(values: list) -> None:
    with pytest.raises(ValueError, match="float32"):
        base64_from_floats(values)
