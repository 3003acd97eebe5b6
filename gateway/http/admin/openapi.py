"""GET /admin/openapi.json: the admin API described, from the table that its requests are read by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

import gateway
from gateway.http.admin.door import Door
from gateway.http.admin.reading import Asked
from gateway.http.admin.table import ROUTES, AdminRoute, Schema

_REFERENCE: Final = "#/components/schemas/{name}"
_ID: Final = re.compile(r"\{(\w+)(:path)?\}")
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "details": {"type": "object"},
            },
        }
    },
}


def add_description(door: Door) -> None:
    """Adds the path."""

    async def description(asked: Asked) -> object:
        return describe()

    door.add("GET", "/admin/openapi.json", description)


def describe() -> dict[str, Any]:
    """Returns the OpenAPI document of the whole table."""
    types = list(dict.fromkeys(kind for route in ROUTES for kind in _types(route.answer)))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    known = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        path = _ID.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Anyport admin API", "version": gateway.__version__},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`admin.key`"}},
        },
    }


def _operation(route: AdminRoute, known: Mapping[type, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name, _ in _ID.findall(route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()]
    answer = {"description": "OK", "content": {route.media: {"schema": _shown(route.answer, known)}}}
    error = {"$ref": _REFERENCE.format(name="Error")}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": answer,
            "default": {"description": "An error", "content": {"application/json": {"schema": error}}},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.is_body_optional,
            "content": {"application/json": {"schema": route.body}},
        }
    return operation


def _types(answer: Schema | type) -> Iterator[type]:
    """Yields the types that stand for themselves in a schema."""
    if isinstance(answer, type):
        yield answer
        return
    for value in answer.values():
        if isinstance(value, type | Mapping):
            yield from _types(cast("Schema | type", value))


def _shown(answer: Schema | type, known: Mapping[type, Any]) -> Any:
    if isinstance(answer, type):
        return known[answer]
    return {
        name: _shown(cast("Schema | type", value), known) if isinstance(value, type | Mapping) else value
        for name, value in answer.items()
    }
