"""Schemas of tools, without what strict servers refuse: for rows whose `tool_schema` is `plain`.

Moonshot demands an object at the root, one type of item in a list, and no `type` beside `anyOf`
(platform.kimi.ai/docs, tool calls, read 2026-08).
"""

from __future__ import annotations

from typing import Any, Final, cast

from adapters.codec import JSON, as_list, as_object
from adapters.schema import MOST_DEPTH, object_schema

Schema = dict[str, Any]
_REFUSED: Final = frozenset({"$schema", "strict"})
_MAPS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf"})
_SINGLE: Final = frozenset({"items", "additionalProperties", "not"})


def plain_schema(parameters: Schema) -> Schema:
    """Returns the schema of a tool's arguments in plain words; the argument is not changed."""
    return _plain(object_schema(parameters)[0], 0)


def _plain(schema: JSON, depth: int) -> JSON:
    if not isinstance(schema, dict) or depth > MOST_DEPTH:
        return cast("JSON", schema)
    made: Schema = {}
    for name, value in as_object(schema).items():
        if name in _REFUSED:
            continue
        if name in _MAPS:
            made[name] = {key: _plain(each, depth + 1) for key, each in as_object(value).items()}
        elif name in _LISTS:
            made[name] = [_plain(each, depth + 1) for each in as_list(value)]
        elif name in ("items", "prefixItems") and isinstance(value, list):
            made["items"] = _one_of([_plain(each, depth + 1) for each in as_list(value)])
        elif name not in _SINGLE:
            made[name] = value
        elif name not in made:  # `items` beside `prefixItems` says what may follow: the looser form is kept
            made[name] = _plain(value, depth + 1)
    return _typed(made)


def _typed(made: Schema) -> Schema:
    """Returns the schema with its `type` inside the alternatives, if it has any."""
    if not made.get("anyOf"):
        made.pop("anyOf", None)
    elif "type" in made:
        kind: JSON = made.pop("type")
        made["anyOf"] = [{"type": kind, **each} if isinstance(each, dict) else each for each in made["anyOf"]]
    return made


def _one_of(items: list[Any]) -> Schema:
    """Returns a schema for any item of a tuple."""
    if len(items) == 1 and isinstance(items[0], dict):
        return as_object(items[0])
    return {"anyOf": items} if items else {}
