"""What the client says about the form of the answer, and the words that ask for it where a protocol cannot."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from adapters.codec import as_object, as_text, encode
from adapters.errors import Unsupported
from adapters.fields import Fields, members

OBJECT_PROMPT = "Answer with one JSON object and nothing else."
SCHEMA_PROMPT = "Answer with one JSON object and nothing else. It must conform to this JSON Schema:\n"


class Format(Struct, frozen=True):
    """`response_format`."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool = False

    @property
    def prompt(self) -> str:
        """The instruction that asks for this form in words; empty for plain text."""
        if self.kind == "text":
            return ""
        return SCHEMA_PROMPT + encode(self.schema).decode() if self.schema else OBJECT_PROMPT


TEXT = Format()


def read_format(fields: Fields) -> Format:
    """Returns the form that the answer shall have; raises Unsupported for one that nobody knows."""
    wanted = members(fields, "response_format") if "response_format" in fields else None
    if wanted is None or wanted.get("type") == "text":
        return TEXT
    if wanted.get("type") == "json_object":
        return Format("json_object")
    if wanted.get("type") != "json_schema":
        raise Unsupported("response_format", f"response_format.type {wanted.get('type')!r} is not known")
    inner = as_object(wanted.get("json_schema"))
    schema = inner.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise Unsupported("response_format", "response_format.json_schema.schema must be a JSON Schema object")
    name = inner.get("name")
    description = inner.get("description")
    return Format(
        "json_schema",
        name if isinstance(name, str) and name else "answer",
        as_text(description),
        as_object(schema),
        inner.get("strict") is True,
    )
