"""JSON Schemas in the two forms that Gemini takes: its subset of JSON Schema, and the older one of OpenAPI.

The JSON Schema form ignores what it does not know, the OpenAPI form answers 400 to it
(ai.google.dev/gemini-api/docs/structured-output and the discovery document of v1beta, read 2026-11).
"""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import JSON, as_list, as_object
from adapters.schema import Dialect, fit

Schema = dict[str, Any]
_SHARED: Final = frozenset(
    {"format", "enum", "items", "minItems", "maxItems", "minimum", "maximum", "anyOf", "properties", "required"}
    | {"propertyOrdering"}
)
_OTHER_CONTENT: Final = ("$ref", "anyOf", "oneOf", "allOf", "additionalProperties")
JSON_SCHEMA: Final = Dialect(keywords=_SHARED | {"additionalProperties"}, cuts_recursion=True)
OPENAPI: Final = Dialect(
    keywords=_SHARED | {"minProperties", "maxProperties", "minLength", "maxLength", "pattern", "default"},
    formats=frozenset({"enum", "date-time"}),
    has_type_lists=False,
    cuts_recursion=True,
)


def fitted(schema: Schema, *, is_json_schema: bool) -> tuple[Schema, bool]:
    """Returns `schema` in the form that the model takes, and whether keywords of it bind no more.

    Raises adapters.schema.Inexpressible.
    """
    made = fit(schema, JSON_SCHEMA if is_json_schema else OPENAPI)
    return (made.schema if is_json_schema else _openapi(made.schema)), bool(made.moved)


def parameters_of(schema: JSON, *, is_json_schema: bool) -> Schema | None:
    """Returns the schema of a function's arguments; None for a function that takes none.

    An object without properties is refused as a schema ("should be non-empty for OBJECT type"), so that it is left out.
    """
    members = as_object(schema)
    if not as_object(members.get("properties")) and not any(members.get(name) for name in _OTHER_CONTENT):
        return None
    made, _ = fitted(members, is_json_schema=is_json_schema)
    return made if is_json_schema or made.get("properties") else None


def with_order(schema: Schema) -> Schema:
    """Returns `schema` with the order of its properties said, which the answer then keeps, everywhere inside it."""
    made = dict(schema)
    properties = as_object(made.get("properties"))
    if properties:
        made["properties"] = {name: with_order(as_object(value)) for name, value in properties.items()}
        made["propertyOrdering"] = list(properties)
    if isinstance(made.get("items"), dict):
        made["items"] = with_order(as_object(made["items"]))
    if isinstance(made.get("anyOf"), list):
        made["anyOf"] = [with_order(as_object(each)) for each in as_list(made["anyOf"])]
    return made


def _openapi(schema: Schema) -> Schema:
    """Returns a fitted schema in OpenAPI's words: types in capitals, enums of strings only."""
    made = dict(schema)
    kind = made.get("type")
    if isinstance(kind, str):
        made["type"] = kind.upper()
    if "enum" in made:
        _enum(made)
    if "properties" in made:
        made["properties"] = {name: _openapi(as_object(each)) for name, each in as_object(made["properties"]).items()}
    if "items" in made:
        made["items"] = _openapi(as_object(made["items"]))
    if "anyOf" in made:
        made["anyOf"] = [_openapi(as_object(each)) for each in as_list(made["anyOf"])]
    if not made.get("properties"):
        made.pop("properties", None)  # an empty list of them is refused
    return made


def _enum(made: Schema) -> None:
    values = as_list(made["enum"])
    if None in values:
        made["nullable"] = True
    made["type"] = "STRING"
    made["format"] = "enum"
    made["enum"] = [value if isinstance(value, str) else str(value) for value in values if value is not None]
