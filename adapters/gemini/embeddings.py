"""Embeddings of the Gemini API: one text with `embedContent`, several with `batchEmbedContents`.

Each text is a request of its own in the batch: several parts of one content would give one vector for all of them. Only
gemini-embedding-001 takes a task type, and does not bring shortened vectors to unit length.
(ai.google.dev/gemini-api/docs/embeddings, read 2026-11.)
"""

from __future__ import annotations

from math import hypot
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import embedding_list
from adapters.codec import decode, encode, is_null
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.fidelity import Report, survey
from adapters.fields import Fields, input_texts, integer, text, value
from adapters.gemini.failures import failure_of
from adapters.gemini.request import model_path
from adapters.gemini.tables import EMBEDDINGS
from adapters.gemini.wire import Counts, read_usage
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Reply, Target, Usage

Object = dict[str, Any]
MOST_INPUTS: Final = 100
"""Texts in one batch."""
_ABSENT: Final = Raw()
_TASKS: Final = {
    "query": "RETRIEVAL_QUERY",
    "search_query": "RETRIEVAL_QUERY",
    "passage": "RETRIEVAL_DOCUMENT",
    "document": "RETRIEVAL_DOCUMENT",
    "search_document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "semantic_similarity": "SEMANTIC_SIMILARITY",
}
"""`input_type` of Cohere, Voyage and NVIDIA in Google's words."""


class _Vector(Struct):
    values: list[float]


class _Vectors(Struct):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usageMetadata: Counts | None = None
    error: Raw = _ABSENT


_read: Final = msgspec.json.Decoder(_Vectors).decode


def is_second(model: str) -> bool:
    """True for gemini-embedding-2, which wants the task in the text and gives vectors of unit length only."""
    return "embedding-2" in model


def task_of(fields: Fields, model: str, report: Report) -> str:
    """Returns the task type, "" for none; raises Unsupported for one that nobody knows."""
    task = text(fields, "task_type")
    name = "task_type" if task else "input_type"
    if not task and (kind := text(fields, "input_type")):
        task = _TASKS.get(kind.lower())
        if task is None:
            raise Unsupported("input_type", f"input_type {kind[:64]!r} is not known; use one of {', '.join(_TASKS)}")
    if task and is_second(model):
        report.drop(name)
        return ""
    return (task or "").upper()


def settings_of(fields: Fields, model: str, report: Report) -> Object:
    """Returns what goes beside each text: what the vector is for, the text's title, how many numbers."""
    settings: Object = {}
    if task := task_of(fields, model, report):
        settings["taskType"] = task
    if title := text(fields, "title"):
        settings["title"] = title
    if dimensions := integer(fields, "dimensions"):
        settings["outputDimensionality"] = dimensions
    return settings


def embeddings_request(call: Call, target: Target) -> HttpRequest:
    """Returns the request; raises Unsupported."""
    report = survey(call.fields, EMBEDDINGS)
    path = model_path(target.model)
    shared = settings_of(call.fields, target.model, report)
    items = [
        {"model": path, "content": {"parts": [{"text": each}]}, **shared} for each in input_texts(call.fields)
    ]  # fmt: skip
    is_batch = isinstance(value(call.fields, "input"), list)
    body: Object = {"requests": items} if is_batch else items[0]
    url = f"{target.base_url}/{path}:{'batchEmbedContents' if is_batch else 'embedContent'}"
    return HttpRequest("POST", url, target.headers + JSON_HEADERS, encode(body), report.dropped)


def read_embeddings(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked vectors; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    try:
        answer = _read(body)
        if not is_null(answer.error):
            raise UpstreamSaid(failure_of(target, head, decode(body)))
        usage = read_usage(answer.usageMetadata)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the upstream's embeddings cannot be read ({len(body)} bytes)") from error
    found = answer.embeddings or ([answer.embedding] if answer.embedding else [])
    return vectors_reply(call, target, [vector.values for vector in found], usage)


def vectors_reply(call: Call, target: Target, vectors: list[list[float]], usage: Usage | None) -> Reply:
    """Returns OpenAI's list, in vectors of unit length; raises Malformed."""
    if integer(call.fields, "dimensions") and not is_second(target.model):
        vectors = [_unit(vector) for vector in vectors]
    return embedding_list(call, model=target.model, vectors=vectors, usage=usage)


def _unit(vector: list[float]) -> list[float]:
    length = hypot(*vector)
    return [each / length for each in vector] if length > 0 else vector
