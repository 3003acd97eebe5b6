"""The answers of generateContent, as far as they are read: typed, so that everything else is skipped undecoded.

(ai.google.dev/api/generate-content, GenerateContentResponse, read 2026-11.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import JSON, as_list, as_object, as_text, decode, is_null
from adapters.types import Usage

Object = dict[str, Any]
ABSENT: Final = Raw()


class FunctionCall(Struct, gc=False):
    """A call of a function; `args` is an object, or absent for none."""

    name: str | None = None
    id: str | None = None
    args: Raw = ABSENT
    partialArgs: Raw = ABSENT
    willContinue: bool | None = None


class Blob(Struct, gc=False):
    """Data in base64."""

    mimeType: str | None = None
    data: str | None = None


class Part(Struct, gc=False):
    """One part of an answer; by schema it holds one payload, but some proxies fill several."""

    text: Raw = ABSENT
    thought: bool | None = None
    functionCall: FunctionCall | None = None
    thoughtSignature: str | None = None
    inlineData: Blob | None = None


class Content(Struct, gc=False):
    """The parts of an answer."""

    parts: list[Part] | None = None


class Candidate(Struct, gc=False):
    """One choice."""

    content: Content | None = None
    finishReason: str | int | None = None
    index: int | None = None
    finishMessage: str | None = None
    groundingMetadata: Raw = ABSENT
    citationMetadata: Raw = ABSENT
    logprobsResult: Raw = ABSENT


class Counts(Struct, gc=False):
    """`usageMetadata`; a proxy may have put anything into its members."""

    promptTokenCount: JSON = None
    candidatesTokenCount: JSON = None
    thoughtsTokenCount: JSON = None
    totalTokenCount: JSON = None
    toolUsePromptTokenCount: JSON = None
    cachedContentTokenCount: JSON = None


class Answer(Struct, gc=False):
    """A whole answer, or one event of a stream."""

    candidates: list[Candidate] | None = None
    usageMetadata: Counts | None = None
    modelVersion: str | None = None
    promptFeedback: Raw = ABSENT
    error: Raw = ABSENT


read_answer: Final = msgspec.json.Decoder(Answer).decode
_STOP: Final = "stop"
FINISH: Final[Mapping[str | int, str]] = {
    "STOP": _STOP,
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # the upstream could go on; the client asks again, as it does for any length
    "SAFETY": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "RECITATION": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    1: _STOP,  # some proxies ask for numbers in the place of names
    2: "length",
    3: "content_filter",
    4: "content_filter",
}
"""Others, unknown ones too, mean that the answer just ended."""
BROKEN: Final = frozenset(
    {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"}
    | {"MISSING_THOUGHT_SIGNATURE"}
)
"""Reasons that mean that there is no answer."""
_UNSPECIFIED: Final = ("", 0, "FINISH_REASON_UNSPECIFIED")
_MOST_TOKENS: Final = 2**53


def finish_of(reason: str | int | None) -> str | None:
    """Returns OpenAI's word for a finish reason; None if the answer has not ended."""
    if reason is None or reason in _UNSPECIFIED:
        return None
    return FINISH.get(reason, _STOP)


def block_reason(feedback: Raw) -> str | None:
    """Returns why the prompt was refused, in the upstream's words; None if it was not."""
    if is_null(feedback):
        return None
    members = as_object(decode(feedback))
    reason = members.get("blockReason")
    if not reason or reason in _UNSPECIFIED or reason == "BLOCK_REASON_UNSPECIFIED":
        return None
    message = members.get("blockReasonMessage")
    return message if isinstance(message, str) and message else f"The prompt was blocked: {reason}"


def read_usage(counts: Counts | None, before: Usage | None = None) -> Usage | None:
    """Returns the counts of `usageMetadata`, which in a stream are running totals; `before` if it has none.

    Thoughts come beside the candidates' tokens, but some routes count them in: then the total gives it away.
    """
    if counts is None:
        return before
    prompt = _count(counts.promptTokenCount)
    answer = _count(counts.candidatesTokenCount)
    thoughts = _count(counts.thoughtsTokenCount)
    if prompt is None and answer is None and thoughts is None:
        return before
    spoken, thought = answer or 0, thoughts or 0
    has_both = thought > 0 and _count(counts.totalTokenCount) == (prompt or 0) + spoken
    if prompt is None and before is not None:
        whole_prompt = before.prompt
    else:
        whole_prompt = (prompt or 0) + (_count(counts.toolUsePromptTokenCount) or 0)
    return Usage(
        prompt=whole_prompt,
        completion=spoken if has_both else spoken + thought,
        cached_prompt=min(_count(counts.cachedContentTokenCount) or 0, whole_prompt),
        reasoning=thought,
    )


def _count(value: JSON) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def annotations_of(candidate: Candidate, text: bytes) -> list[Object]:
    """Returns the sources of an answer as OpenAI's annotations; `text` is all that was said, in UTF-8.

    The upstream counts in bytes, OpenAI in characters.
    """
    found: list[Object] = []
    if not is_null(candidate.groundingMetadata):
        found += _grounded(as_object(decode(candidate.groundingMetadata)), text)
    if not is_null(candidate.citationMetadata):
        members = as_object(decode(candidate.citationMetadata))
        sources = as_list(members.get("citationSources")) or as_list(members.get("citations"))
        found += [made for each in map(as_object, sources) if (made := _annotation(each, each, text))]
    return found


def _grounded(metadata: Object, text: bytes) -> list[Object]:
    chunks = [_source(as_object(chunk)) for chunk in as_list(metadata.get("groundingChunks"))]
    found: list[Object] = []
    for support in map(as_object, as_list(metadata.get("groundingSupports"))):
        for index in as_list(support.get("groundingChunkIndices")):
            if isinstance(index, int) and 0 <= index < len(chunks):
                made = _annotation(chunks[index], as_object(support.get("segment")), text)
                found += [made] if made else []
    return found or [made for chunk in chunks if (made := _annotation(chunk, {}, text))]


def _source(chunk: Object) -> Object:
    return as_object(chunk.get("web") or chunk.get("retrievedContext") or chunk.get("maps"))


def _annotation(source: Object, segment: Object, text: bytes) -> Object | None:
    url, title = source.get("uri"), source.get("title")
    if not isinstance(url, str) or not url:
        return None
    citation: Object = {
        "start_index": _place(segment.get("startIndex"), text),
        "end_index": _place(segment.get("endIndex"), text),
        "title": as_text(title),
        "url": url,
    }
    return {"type": "url_citation", "url_citation": citation}


def _place(count: JSON, text: bytes) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
        return 0
    return len(text[:count].decode("utf-8", "ignore"))


def logprobs_of(raw: Raw) -> Object | None:
    """Returns OpenAI's `logprobs` of a choice; None if there are none."""
    if is_null(raw):
        return None
    members = as_object(decode(raw))
    others = [as_list(as_object(each).get("candidates")) for each in as_list(members.get("topCandidates"))]
    content: list[Object] = []
    for index, chosen in enumerate(as_list(members.get("chosenCandidates"))):
        entry = _entry(as_object(chosen))
        entry["top_logprobs"] = [_entry(as_object(each)) for each in (others[index] if index < len(others) else [])]
        content.append(entry)
    return {"content": content, "refusal": None} if content else None


def _entry(chosen: Object) -> Object:
    token, probability = chosen.get("token"), chosen.get("logProbability")
    text = as_text(token)
    is_number = isinstance(probability, int | float) and not isinstance(probability, bool)
    return {"token": text, "logprob": probability if is_number else 0.0, "bytes": list(text.encode())}
