"""The parts of an answer, read one by one into what OpenAI's answer has places for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from adapters.codec import as_object, decode, is_null
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.gemini.contents import FORMAT
from adapters.gemini.toolset import function_names
from adapters.gemini.wire import BROKEN, Blob, Candidate, FunctionCall, Part
from adapters.types import Call

Object = dict[str, Any]
_QUOTE: Final = b'"'
_OPENING: Final = 0x7B


class Names:
    """The client's own names for the functions of an answer, and an id for each call."""

    __slots__ = ("_call", "_custom", "_ids", "_renamed")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._ids: set[str] = set()
        self._renamed: Mapping[str, str] | None = None
        self._custom: frozenset[str] = frozenset()

    def name(self, sent: str) -> tuple[str, bool]:
        """Returns the client's name for a function, and whether it is a custom tool."""
        if self._renamed is None:
            self._renamed, self._custom = function_names(self._call.fields)
        return self._renamed.get(sent, sent), sent in self._custom

    def id(self, given: str | None) -> str:
        """Returns the upstream's id of a call, or one of ours where it gave none or the same twice."""
        if not given or given in self._ids:
            given = f"call_{self._call.id.removeprefix('chatcmpl-')}{len(self._ids)}"
        self._ids.add(given)
        return given


def text_of(part: Part) -> bytes:
    """Returns a part's text as the JSON string that the upstream wrote, b"" if it has none."""
    raw = bytes(part.text)
    if raw[:1] == _QUOTE or not raw:
        return raw
    if raw == b"null":
        return b""
    raise Malformed("a part of the upstream's answer has a text that is no string")


def arguments_of(call: FunctionCall, *, is_custom: bool) -> str:
    """Returns a call's arguments as OpenAI wants them: JSON text, or the text of a custom tool."""
    raw = call.args
    if is_null(raw):
        return "" if is_custom else "{}"
    if memoryview(raw)[0] != _OPENING:
        raise Malformed("the arguments of a call in the upstream's answer are no object")
    if is_custom:
        text = as_object(decode(raw)).get("input")
        return text if isinstance(text, str) else _compact(raw)
    return _compact(raw)


def _compact(raw: Raw) -> str:
    data = bytes(raw)
    return (msgspec.json.format(data, indent=-1) if b"\n" in data else data).decode()


def extra_of(signature: str | None) -> Object | None:
    """Returns the `extra_content` that carries the signature of a call."""
    return {"google": {"thought_signature": signature}} if signature else None


def detail_of(signature: str, thought: str | None, index: int) -> Object:
    """Returns the `reasoning_details` item that carries the signature of a text, or of a thought."""
    if thought is None:
        return {"type": "reasoning.encrypted", "data": signature, "format": FORMAT, "index": index}
    return {"type": "reasoning.text", "text": thought, "signature": signature, "format": FORMAT, "index": index}


def image_of(blob: Blob, index: int) -> Object | None:
    """Returns a picture of the answer as clients of OpenRouter read it; None for what is no picture."""
    if not blob.data or not (blob.mimeType or "").startswith("image/"):
        return None
    url = f"data:{blob.mimeType};base64,{blob.data}"
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


def raise_if_broken(candidate: Candidate) -> None:
    """Raises UpstreamSaid for a finish reason that means that there is no answer."""
    reason = candidate.finishReason
    if reason in BROKEN:
        message = candidate.finishMessage or f"the upstream ended its answer with {reason}"
        raise UpstreamSaid(Failure(FailureKind.SERVER, message, status=502, code=str(reason).lower()))


def raise_for_nothing(candidate: Candidate) -> None:
    """Raises for an answer that holds nothing, unless the model itself has stopped: it may have nothing to say.

    UpstreamSaid if the upstream says why there is nothing, else Malformed.
    """
    if candidate.finishReason == "STOP" and not candidate.finishMessage:
        return
    if candidate.finishMessage:
        raise UpstreamSaid(Failure(FailureKind.SERVER, candidate.finishMessage, status=502))
    raise Malformed("the upstream's answer is empty", code="upstream_empty_response")
