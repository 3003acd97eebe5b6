"""JSON Schemas in the words of providers that take a part of the language."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.schema import Dialect, Inexpressible, fit, object_schema

CLOSED = Dialect(
    keywords=frozenset({"type", "properties", "required", "items", "enum", "anyOf", "format", "minItems"}),
    formats=frozenset({"date"}),
    most_min_items=1,
    closes_objects=True,
)
OPEN = replace(CLOSED, closes_objects=False, has_type_lists=False, cuts_recursion=True)


def test_objects_are_closed_and_refused_keywords_are_told_in_the_description() -> None:
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "Years."},
            "minimum": {"type": "string"},
        },
        "required": ["age"],
    }
    before = deepcopy(schema)
    fitted = fit(schema, CLOSED)
    assert fitted.schema == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": "Years.\n\n(minimum: 0)"},
            "minimum": {"type": "string"},
        },
        "required": ["age"],
        "additionalProperties": False,
    }
    assert (fitted.moved, fitted.optional, fitted.unions) == (("properties.age.minimum",), 1, 0)
    assert schema == before


def test_references_are_put_in_place_with_what_stands_beside_them() -> None:
    schema = {
        "$defs": {"place": {"type": "string", "description": "a place"}},
        "type": "object",
        "properties": {"from": {"$ref": "#/$defs/place"}, "to": {"$ref": "#/$defs/place", "description": "the end"}},
    }
    assert fit(schema, CLOSED).schema["properties"] == {
        "from": {"type": "string", "description": "a place"},
        "to": {"type": "string", "description": "the end"},
    }


def test_a_schema_inside_itself_is_refused_or_cut() -> None:
    schema = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    with pytest.raises(Inexpressible, match="inside itself"):
        fit(schema, CLOSED)
    inner = fit(schema, OPEN).schema["properties"]["next"]["properties"]["next"]
    assert inner == {"nullable": True, "description": "A value of the enclosing form."}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": True}}},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"a": False}},
        {"type": "object", "properties": {"a": 5}},
        {"type": "object", "properties": {"a": {}}, "anyOf": [{"type": "object", "properties": {"b": {}}}]},
    ],
)
def test_what_cannot_be_told_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        fit(schema, CLOSED)


def test_references_that_double_with_every_level_are_refused_at_once() -> None:
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = {"$defs": {**levels, "l40": {"type": "string"}}, "$ref": "#/$defs/l0"}
    with pytest.raises(Inexpressible, match="too large"):
        fit(schema, CLOSED)


def test_a_single_allof_becomes_its_member_and_siblings_may_share_a_reference() -> None:
    schema = {
        "$defs": {"a": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}},
        "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"$ref": "#/$defs/a"}}}, {"$ref": "#/$defs/a"}],
    }
    fitted = fit(schema, CLOSED).schema
    assert set(fitted["properties"]) == {"x", "y"}
    assert fitted["required"] == ["x"]
    assert fitted["properties"]["y"]["properties"] == {"x": {"type": "string"}}


def test_lists_of_types_and_null_become_nullable_where_lists_are_unknown() -> None:
    assert fit({"type": ["string", "null"]}, CLOSED).schema == {"type": ["string", "null"]}
    assert fit({"type": ["string", "null"]}, OPEN).schema == {"type": "string", "nullable": True}
    assert fit({"type": ["string", "integer"]}, OPEN).schema == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert fit({"anyOf": [{"type": "integer"}, {"type": "null"}]}, OPEN).schema == {"type": "integer", "nullable": True}
    assert fit({"type": ["string", "null"]}, CLOSED).unions == 1


def test_const_oneof_formats_and_lengths_take_the_dialects_form() -> None:
    assert fit({"const": "a"}, CLOSED).schema == {"enum": ["a"]}
    assert fit({"oneOf": [{"type": "string"}]}, CLOSED).schema == {"anyOf": [{"type": "string"}]}
    assert fit({"type": "string", "format": "date"}, CLOSED).schema == {"type": "string", "format": "date"}
    assert fit({"type": "string", "format": "byte"}, CLOSED).schema["description"] == '(format: "byte")'
    assert fit({"type": "array", "items": {}, "minItems": 1}, CLOSED).schema["minItems"] == 1
    assert "minItems" not in fit({"type": "array", "items": {}, "minItems": 2}, CLOSED).schema


def test_a_tools_schema_is_always_an_object_without_alternatives_at_its_top() -> None:
    assert object_schema(None) == ({"type": "object", "properties": {}}, False)
    assert object_schema({"properties": {"a": {}}}) == ({"type": "object", "properties": {"a": {}}}, False)
    left = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}
    right = {"type": "object", "properties": {"a": {}, "c": {}}, "required": ["a"]}
    assert object_schema({"anyOf": [left, right]}) == (
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["a"]},
        True,
    )
    schema, is_lossy = object_schema({"$defs": {"l": left}, "$ref": "#/$defs/l"})
    assert (schema["properties"], schema["required"], is_lossy) == ({"a": {}, "b": {}}, ["a", "b"], False)
    assert "$ref" not in object_schema({"$ref": "#"})[0]


KEYS = st.sampled_from(
    ["type", "properties", "items", "anyOf", "allOf", "oneOf", "$ref", "$defs", "enum", "const", "required", "format",
     "minimum", "additionalProperties", "description", "nullable", "minItems"]
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(["object", "string", "array", "null", "#", "#/$defs/a", "#/properties/a", "a", "date", ""]),
    st.none(), st.booleans(), st.integers(0, 3),
)  # fmt: skip
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS | st.just("a"), inner, max_size=5)),
    max_leaves=25,
)


@given(st.dictionaries(KEYS, SCHEMAS, max_size=6), st.sampled_from([CLOSED, OPEN]))
def test_any_schema_is_fitted_or_refused_and_never_changed(schema: dict[str, Any], dialect: Dialect) -> None:
    before = json.dumps(schema)
    try:
        fitted = fit(schema, dialect)
    except Inexpressible:
        fitted = None
    made, _ = object_schema(schema)
    assert json.dumps(schema) == before
    assert made["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & made.keys()
    if fitted is not None:
        assert "$ref" not in fitted.schema
        json.dumps(fitted.schema)


def test_references_that_double_with_every_level_are_given_up_soon() -> None:
    forms: dict[str, Any] = {
        f"f{level}": {"allOf": [{"$ref": f"#/$defs/f{level + 1}"}, {"$ref": f"#/$defs/f{level + 1}"}]}
        for level in range(60)
    }
    schema = {
        "$defs": {**forms, "f60": {"type": "string"}},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/f0"}},
    }
    with pytest.raises(Inexpressible, match="too large"):
        fit(schema, OPEN)


def test_a_long_form_that_many_references_bring_is_given_up() -> None:
    schema = {
        "$defs": {"long": {"type": "string", "description": "d" * 100_000}},
        "type": "object",
        "properties": {f"p{number}": {"$ref": "#/$defs/long"} for number in range(1_000)},
    }
    with pytest.raises(Inexpressible, match="references make the schema too large"):
        fit(schema, OPEN)
    few = {**schema, "properties": {f"p{number}": {"$ref": "#/$defs/long"} for number in range(5)}}
    assert len(fit(few, OPEN).schema["properties"]) == 5


def test_a_key_as_long_as_a_book_is_not_repeated_for_all_that_lies_in_it() -> None:
    inner = {"type": "object", "properties": {f"p{number}": {"type": "string", "minLength": 1} for number in range(9)}}
    with pytest.raises(Inexpressible) as caught:
        fit({"type": "object", "properties": {"k" * 100_000: inner}}, OPEN)
    assert len(str(caught.value)) < 200


def test_what_is_required_counts_once_and_only_if_it_is_a_name() -> None:
    schema = {
        "allOf": [{"properties": {"a": {}}, "required": ["a", ["b"], {}]}, {"required": ["a", "c"]}],
        "required": ["c"],
    }
    made, _ = object_schema(schema)
    assert made["required"] == ["c", "a"]


def test_tens_of_thousands_of_required_names_are_laid_together_in_one_pass() -> None:
    names = [f"n{number}" for number in range(60_000)]
    made, is_lossy = object_schema({"anyOf": [{"required": names}, {"required": names[::-1]}]})
    assert (len(made["required"]), is_lossy) == (60_000, True)


def test_alternatives_that_bring_the_same_long_form_again_and_again_are_left_out() -> None:
    long = {"properties": {f"p{number}": {} for number in range(1_000)}, "required": ["p1"]}
    schema = {"$defs": {"long": long}, "anyOf": [{"$ref": "#/$defs/long"}] * 60_000}
    made, is_lossy = object_schema(schema)
    assert (len(made["properties"]), is_lossy) == (1_000, True)
    assert "required" not in made
    few, is_lossy = object_schema({"$defs": {"long": long}, "allOf": [{"$ref": "#/$defs/long"}] * 2})
    assert (few["required"], is_lossy) == (["p1"], False)
