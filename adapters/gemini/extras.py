"""Google's own fields, which a client sends beside OpenAI's: at the top, under `google`, or under `extra_body`.

Google's pages for the OpenAI SDK write `extra_body={"extra_body": {"google": {...}}}`, which arrives as a field
`extra_body`; others put them at the top. Names are taken in both spellings. Only the fields listed here are sent on,
since the upstream answers 400 to one that it does not know. (ai.google.dev/gemini-api/docs/openai, read 2026-11.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.codec import JSON, as_object, decode
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, members

Object = dict[str, Any]
AT_TOP: Final[Mapping[str, str]] = {
    "safety_settings": "safetySettings",
    "safetySettings": "safetySettings",
    "cached_content": "cachedContent",
    "cachedContent": "cachedContent",
}
IN_GENERATION: Final[Mapping[str, str]] = {
    "top_k": "topK",
    "topK": "topK",
    "thinking_config": "thinkingConfig",
    "thinkingConfig": "thinkingConfig",
    "image_config": "imageConfig",
    "imageConfig": "imageConfig",
    "speech_config": "speechConfig",
    "speechConfig": "speechConfig",
    "media_resolution": "mediaResolution",
    "mediaResolution": "mediaResolution",
    "response_modalities": "responseModalities",
    "responseModalities": "responseModalities",
}
ONLY_VERTEX: Final[Mapping[str, str]] = {"labels": "labels"}
NESTS: Final = ("extra_body", "google")
_KNOWN: Final[Mapping[str, str]] = {**AT_TOP, **IN_GENERATION, **ONLY_VERTEX}
_ALL: Final = frozenset({*_KNOWN, *NESTS})


def read_extras(fields: Fields, report: Report, *, is_vertex: bool) -> Object:
    """Returns Google's own fields under the names of the wire; what is nested and not known is reported."""
    found: Object = {}
    if _ALL.isdisjoint(fields):
        return found
    for name, wire in _KNOWN.items():
        if name in fields:
            found[wire] = decode(fields[name])
    for name in NESTS:
        nested = members(fields, name) if name in fields else None
        for inner, value in (nested or {}).items():
            _take(found, inner, value, name, report)
    if not is_vertex and "labels" in found:
        del found["labels"]
        report.drop("labels")
    _check(found)
    return {name: value for name, value in found.items() if value is not None}


def _take(found: Object, name: str, value: JSON, where: str, report: Report) -> None:
    if name == "google" and where == "extra_body":
        for inner, each in as_object(value).items():
            _take(found, inner, each, "extra_body.google", report)
    elif name in _KNOWN:
        found[_KNOWN[name]] = value
    else:
        report.drop(f"{where}.{name}")


_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "safetySettings": (list, "an array"),
    "cachedContent": (str, "a string"),
    "labels": (dict, "an object"),
    "thinkingConfig": (dict, "an object"),
    "imageConfig": (dict, "an object"),
    "speechConfig": (dict, "an object"),
    "mediaResolution": (str, "a string"),
    "responseModalities": (list, "an array"),
    "topK": (float, "a number"),
}


def _check(found: Object) -> None:
    for name, value in found.items():
        kind, words = _TYPES[name]
        is_number = kind is float and isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not is_number and not isinstance(value, kind):
            raise Unsupported(_spelled(name), f"{_spelled(name)} must be {words}")


def _spelled(name: str) -> str:
    """The name under which clients know a field of the wire."""
    return next(known for known, wire in _KNOWN.items() if wire == name)
