"""Schemas of tools in plain words: whatever comes, what strict servers refuse is gone and nothing raises."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.plain_schema import plain_schema

WORDS = st.sampled_from(
    [
        "type",
        "anyOf",
        "items",
        "prefixItems",
        "properties",
        "$schema",
        "strict",
        "$defs",
        "enum",
        "additionalProperties",
    ]
)
LEAVES = st.one_of(st.none(), st.booleans(), st.sampled_from(["string", "object", "x"]), st.just([1, "a"]))
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Yields every schema inside `schema`; what is no schema (`enum`) is not entered."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("properties", "$defs"):
        if isinstance(schema.get(name), dict):
            for each in schema[name].values():
                yield from schemas_in(each)
    if isinstance(schema.get("anyOf"), list):
        for each in schema["anyOf"]:
            yield from schemas_in(each)
    for name in ("items", "additionalProperties"):
        yield from schemas_in(schema.get(name))


@given(st.dictionaries(WORDS, SCHEMAS, max_size=5))
def test_nothing_that_strict_servers_refuse_is_left(parameters: dict[str, Any]) -> None:
    before = copy.deepcopy(parameters)
    made = plain_schema(parameters)
    assert parameters == before
    assert made["type"] == "object"
    for schema in schemas_in(made):
        assert not isinstance(schema.get("prefixItems"), list)
        assert "$schema" not in schema
        assert not isinstance(schema.get("items"), list)
        assert not ("type" in schema and "anyOf" in schema)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"items": [{"type": "string"}]}, {"items": {"type": "string"}}),
        ({"items": []}, {"items": {}}),
        ({"prefixItems": [{"a": 1}, {"b": 2}], "items": False}, {"items": {"anyOf": [{"a": 1}, {"b": 2}]}}),
        ({"type": "string", "anyOf": [{"type": "null"}, True]}, {"anyOf": [{"type": "null"}, True]}),
        ({"enum": [{"$schema": 1}]}, {"enum": [{"$schema": 1}]}),
    ],
)
def test_a_schema_says_the_same_in_plain_words(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert plain_schema({"properties": {"x": schema}})["properties"]["x"] == expected
