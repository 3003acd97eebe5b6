"""One request of the operator, read by what the table says of its path: what is not there is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import Request
from msgspec import Raw
from starlette.requests import ClientDisconnect

from adapters.codec import decode, is_null
from gateway.errors import InvalidRequest, UnknownUrl, UnsupportedMedia
from gateway.http.admin.table import MAX_TEXT, AdminRoute, Schema
from gateway.http.api.inbound import split

_MAX_DIGITS: Final = 20
_MAX_SHOWN: Final = 64
_NOTHING: Final = Raw()
_NAMES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class Asked:
    """One request: the id in its path, its query and its fields, all of which the table has."""

    __slots__ = ("fields", "id", "query", "raw", "request")

    def __init__(
        self, request: Request, query: Mapping[str, Any], raw: Mapping[str, Raw], fields: Mapping[str, Any]
    ) -> None:
        self.request = request
        self.id: str = request.path_params.get("id", "")
        self.query = query
        self.raw = raw
        """The fields as they came."""
        self.fields = fields


async def read_asked(request: Request, route: AdminRoute) -> Asked:
    """Reads a request; raises GatewayError naming what is wrong with it."""
    id: str = request.path_params.get("id", "")
    if len(id) > MAX_TEXT or not id.isprintable():
        raise UnknownUrl(f"there is no {id[:_MAX_SHOWN]!r}")
    query = _read_query(request, route)
    if route.body is None:
        return Asked(request, query, {}, {})
    raw = await _read_body(request, is_optional=route.is_body_optional)
    return Asked(request, query, raw, _read_fields(raw, route.body))


def check(name: str, value: Any, schema: Schema) -> None:
    """Raises InvalidRequest naming the part of a value that the schema does not allow."""
    known = schema.get("type")
    if known is None:
        return
    kinds: list[str] = [known] if isinstance(known, str) else known
    kind = _kind_of(value)
    if kind not in kinds and not (kind == "integer" and "number" in kinds):
        wanted = " or ".join(_NAMES[each] for each in kinds if each != "null")
        raise _wrong(name, f"must be {wanted}", "invalid_type")
    if kind == "object":
        _check_members(name, cast("dict[str, Any]", value), schema)
    elif kind == "array":
        _check_items(name, cast("list[Any]", value), schema)
    elif kind == "string":
        _check_text(name, value, schema)
    elif kind in ("integer", "number"):
        _check_range(name, value, schema)


def _check_members(name: str, members: Mapping[str, Any], schema: Schema) -> None:
    prefix = f"{name}." if name else ""
    known: Mapping[str, Schema] = schema["properties"]
    for member in members:
        if member not in known:
            raise _unknown(f"{prefix}{member[:_MAX_SHOWN]}", known)
    for member in schema.get("required", ()):
        if members.get(member) is None:
            path = f"{prefix}{member}"
            message = f"missing required parameter: {path!r}"
            raise InvalidRequest(message, code="missing_required_parameter", param=path)
    for member, value in members.items():
        check(f"{prefix}{member}", value, known[member])


def _check_items(name: str, items: list[Any], schema: Schema) -> None:
    most = schema.get("maxItems", len(items))
    if len(items) > most:
        raise _wrong(name, f"may have {most} items, not {len(items)}")
    for number, item in enumerate(items):
        check(f"{name}[{number}]", item, schema["items"])


def _check_text(name: str, value: str, schema: Schema) -> None:
    if "enum" in schema and value not in schema["enum"]:
        raise _wrong(name, f"must be one of {', '.join(schema['enum'])}, not {value[:_MAX_SHOWN]!r}")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if most is not None and not least <= len(value) <= most:
        raise _wrong(name, f"must have {least} to {most} characters, not {len(value)}")


def _check_range(name: str, value: float, schema: Schema) -> None:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None and not least <= value <= most:
        raise _wrong(name, f"must be between {least} and {most}, not {str(value)[:_MAX_SHOWN]}")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):  # which is an int to Python
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def _read_query(request: Request, route: AdminRoute) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name not in route.query:
            raise _unknown(name[:_MAX_SHOWN], route.query)
        if name in found:
            raise _wrong(name, "is there twice")
        schema = route.query[name]
        is_whole = schema["type"] == "integer"
        if is_whole and not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
            raise _wrong(name, f"must be a whole number, not {text[:_MAX_SHOWN]!r}")
        if not text.isprintable():
            raise _wrong(name, "must be printable")
        value: Any = int(text) if is_whole else text
        check(name, value, schema)
        found[name] = value
    return found


async def _read_body(request: Request, *, is_optional: bool) -> dict[str, Raw]:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise InvalidRequest("the body did not arrive", code="empty_body") from None
    if is_optional and not body.strip():
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMedia("the body must be JSON in UTF-8; send `content-type: application/json`")
    return split(body)


def _read_fields(raw: Mapping[str, Raw], schema: Schema) -> dict[str, Any]:
    known: Mapping[str, Schema] = schema["properties"]
    for name in raw:
        if name not in known:
            raise _unknown(name[:_MAX_SHOWN], known)
    # What the table says nothing about is read by whoever wants it.
    fields: dict[str, Any] = {name: decode(value) for name, value in raw.items() if "type" in known[name]}
    for name in schema.get("required", ()):
        if is_null(raw.get(name, _NOTHING)):
            fields.pop(name, None)
    _check_members("", fields, schema)
    return fields


def _unknown(name: str, known: Mapping[str, Any]) -> InvalidRequest:
    message = f"unknown parameter {name!r}; known are {', '.join(known) or 'none'}"
    return InvalidRequest(message, code="unknown_parameter", param=name)


def _wrong(name: str, said: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{name} {said}", code=code, param=name)
