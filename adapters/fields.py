"""Reads single top-level fields of a request, for protocols that build their own body.

Each reader returns None for a field that is absent or null, and raises Unsupported naming the field for a value of
another type: an upstream would say the same, but in its own words and about a field that the client never wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Raw

from adapters.codec import JSON, as_list, as_object, decode, is_null
from adapters.errors import Unsupported

Fields = Mapping[str, Raw]


def pass_on(fields: Fields, names: Iterable[str], body: dict[str, Any]) -> None:
    """Puts fields into a body as they are, but for those that are absent or null."""
    for name in names:
        found = fields.get(name)
        if found is not None and not is_null(found):
            body[name] = found


def value(fields: Fields, name: str) -> JSON:
    """Returns the decoded field."""
    member = fields.get(name)
    return None if member is None else decode(member)


def number(fields: Fields, name: str) -> int | float | None:
    """Returns a number."""
    member = fields.get(name)
    if member is None:
        return None
    found: JSON = decode(member)
    if found is None or (isinstance(found, int | float) and not isinstance(found, bool)):
        return found
    raise Unsupported(name, f"{name} must be a number")


def integer(fields: Fields, name: str) -> int | None:
    """Returns a whole number; `5.0` counts as one."""
    found = number(fields, name)
    if found is None or isinstance(found, int):
        return found
    if found.is_integer():
        return int(found)
    raise Unsupported(name, f"{name} must be a whole number")


def boolean(fields: Fields, name: str) -> bool | None:
    """Returns true or false."""
    member = fields.get(name)
    if member is None:
        return None
    found: JSON = decode(member)
    if found is None or isinstance(found, bool):
        return found
    raise Unsupported(name, f"{name} must be true or false")


def text(fields: Fields, name: str) -> str | None:
    """Returns a string."""
    member = fields.get(name)
    if member is None:
        return None
    found: JSON = decode(member)
    if found is None or isinstance(found, str):
        return found
    raise Unsupported(name, f"{name} must be a string")


def texts(fields: Fields, name: str) -> list[str]:
    """Returns strings, from a string or an array of strings; an empty list if the field is absent."""
    found = value(fields, name)
    if found is None:
        return []
    items = [found] if isinstance(found, str) else as_list(found)
    if not isinstance(found, str | list) or not all(isinstance(item, str) for item in items):
        raise Unsupported(name, f"{name} must be a string or an array of strings")
    return items


def members(fields: Fields, name: str) -> dict[str, Any] | None:
    """Returns an object."""
    member = fields.get(name)
    if member is None:
        return None
    found: JSON = decode(member)
    if found is None or isinstance(found, dict):
        return None if found is None else as_object(found)
    raise Unsupported(name, f"{name} must be an object")


def max_tokens(fields: Fields) -> int | None:
    """Returns the limit of the answer's length: `max_completion_tokens`, else its older name."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = integer(fields, name) if name in fields else None
        if limit is not None:
            if limit < 1:
                raise Unsupported(name, f"{name} must be at least 1")
            return limit
    return None


def input_texts(fields: Fields, *, may_be_empty: bool = True) -> list[str]:
    """Returns the texts to embed; raises Unsupported for tokens, for none, and for an empty one if that may not be."""
    found = value(fields, "input")
    items = [found] if isinstance(found, str) else as_list(found)
    if not items:
        raise Unsupported("input", "input must be a string or an array of strings that is not empty")
    if not all(isinstance(item, str) for item in items):
        raise Unsupported("input", "input must be text for this provider, not tokens; send the text itself")
    if not may_be_empty and "" in items:
        raise Unsupported("input", "input must not hold empty strings for this provider")
    return items


def one_prompt(fields: Fields) -> str:
    """Returns the one prompt of a text completion; raises Unsupported for several and for tokens."""
    prompts = texts(fields, "prompt")
    if len(prompts) > 1:
        raise Unsupported("prompt", "prompt must be one text for this provider; send one request for each")
    return prompts[0] if prompts else ""
