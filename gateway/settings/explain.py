"""pydantic's errors in plain words, at their place in the file."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.settings.anatomy import member, model_in
from gateway.settings.document import Document, Path, quoted_variable
from gateway.settings.model import Settings

_SECRET_PARTS: Final = frozenset(
    {
        *("api_keys", "credentials", "headers", "base_url", "keys", "key", "url", "pepper", "bot_token"),
        *("login", "profiles", "refresh_token", "client_secret"),
    }
)
"""Settings whose values may hold a secret, even where they are of the wrong type."""
_SHOWN_CHARACTERS = 60
_MAX_COMPARED = 1_000
"""Names beyond which no similar one is looked for: each fault of a long file would compare with all of them."""
_TYPE_NAMES: Final[Sequence[tuple[type, str]]] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a mapping"),
)
_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping of 'name: value' lines",
    "model_type": "must be a mapping of 'name: value' lines",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "must match {pattern}",
    "value_error": "{error}",
}


def explain(document: Document, error: ValidationError) -> None:
    """Adds each of pydantic's errors to the document's faults, except where the document has one already."""
    for details in error.errors(include_url=False):
        path, at_key = _path(document, details)
        if not any(path[:length] in document.broken for length in range(len(path) + 1)):
            document.add(path, _message(document, details, path), at_key=at_key)


def nearest(word: str, known: Collection[str]) -> str:
    """Returns `; did you mean 'this'?` for the most similar of `known`, or nothing."""
    if len(known) > _MAX_COMPARED:
        return ""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def quoted(document: Document, path: Path, text: str) -> str:
    """Returns a text of the file as a message may show it: what a variable holds is not shown."""
    variable = quoted_variable(document, path)
    return f"the value of {variable}" if variable else repr(text)


def _path(document: Document, details: ErrorDetails) -> tuple[Path, bool]:
    loc = details["loc"]
    if details["type"] in ("extra_forbidden", "missing"):
        return (*_in_file(document, loc[:-1]), loc[-1]), details["type"] == "extra_forbidden"
    if loc and loc[-1] == "[key]":
        return loc[:-1], True
    return _in_file(document, loc) or loc, False


def _in_file(document: Document, loc: Path) -> Path:
    # Members of unions add names of types, which the file does not have.
    known: Path = ()
    for part in loc:
        if (*known, part) in document.places:
            known = (*known, part)
    return known


def _message(document: Document, details: ErrorDetails, path: Path) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        names = _names_at(path[:-1])
        return f"unknown setting {str(path[-1])!r}{nearest(str(path[-1]), names) or _known(names)}"
    if kind == "model_type" and path[-2:-1] == ("deployments",):
        return f"must be a mapping such as {{model: provider/model}}, {_shown(document, path, details['input'])}"
    words = _WORDS.get(kind)
    text = words.format(**details.get("ctx", {})) if words else details["msg"]
    if kind in ("missing", "too_short") or details["loc"][-1:] == ("[key]",):
        return text
    shown = _shown(document, path, details["input"], is_wrong_type=kind.endswith("_type"))
    return f"{text}, {shown}" if shown else text


def _known(names: Sequence[str]) -> str:
    return f"; known are {', '.join(names)}" if names else ""


def _shown(document: Document, path: Path, value: object, *, is_wrong_type: bool = True) -> str:
    if variable := quoted_variable(document, path):
        return f"which the value of {variable} is not"
    if not _SECRET_PARTS.isdisjoint(path):
        return f"got {_type_name(value)}" if is_wrong_type else ""
    match value:
        case None:
            return "got nothing"
        case bool():
            return f"got {str(value).lower()}"
        case int() | float():
            return f"got {value}"
        case str():
            cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
            return f"got {cut!r}"
        case _:
            return f"got {_type_name(value)}"


def _type_name(value: object) -> str:
    if value is None:
        return "nothing"
    return next((name for kind, name in _TYPE_NAMES if isinstance(value, kind)), "something else")


def _names_at(path: Path) -> list[str]:
    annotation: Any = Settings
    for part in path:
        annotation = member(annotation, part)
    model = model_in(annotation)
    return list(model.model_fields) if model else []
