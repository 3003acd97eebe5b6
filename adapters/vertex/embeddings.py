"""Embeddings at Vertex AI: `:predict` for the older models, `:embedContent` and `:batchEmbedContents` for the newer.

(docs.cloud.google.com/vertex-ai, text embeddings API; the SDK google-genai 3.4.0; read 2026-11.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import JSON, decode, encode, is_null
from adapters.errors import Malformed, UpstreamSaid
from adapters.fidelity import Report, survey
from adapters.fields import input_texts, integer, text, value
from adapters.gemini.embeddings import MOST_INPUTS, read_embeddings, settings_of, task_of, vectors_reply
from adapters.gemini.failures import failure_of
from adapters.gemini.models import bare_name
from adapters.gemini.tables import EMBEDDINGS
from adapters.parts import split_inputs
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Reply, Target, Usage
from adapters.vertex.place import gemini_url

Object = dict[str, Any]
_ABSENT: Final = Raw()
_ALONE: Final = "gemini-embedding-001"
"""Takes one text in a request."""


class _Statistics(Struct):
    token_count: JSON = None


class _Embedding(Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Embedding


class _Answer(Struct):
    predictions: list[_Prediction] | None = None
    error: Raw = _ABSENT


_read: Final = msgspec.json.Decoder(_Answer).decode


def is_predicted(model: str) -> bool:
    """True for a model that is asked by `:predict`."""
    name = bare_name(model)
    return name.startswith(_ALONE) or "gemini" not in name


def split_texts(call: Call, target: Target) -> Sequence[Call]:
    """Returns one call for as many texts as the model reads at once."""
    return split_inputs(call, 1 if bare_name(target.model).startswith(_ALONE) else MOST_INPUTS)


def embeddings_request(call: Call, target: Target) -> HttpRequest:
    """Returns the request; raises Unsupported."""
    report = survey(call.fields, EMBEDDINGS)
    texts = input_texts(call.fields)
    if is_predicted(target.model):
        verb, body = "predict", _prediction(call, target, report, texts)
    else:
        is_batch = isinstance(value(call.fields, "input"), list)
        verb = "batchEmbedContents" if is_batch else "embedContent"
        settings = settings_of(call.fields, target.model, report)
        config: Object = {"embedContentConfig": settings} if settings else {}
        items = [{"content": {"parts": [{"text": each}]}, **config} for each in texts]
        body = {"requests": items} if is_batch else items[0]
    headers = target.headers + JSON_HEADERS
    return HttpRequest("POST", gemini_url(target, verb), headers, encode(body), report.dropped)


def _prediction(call: Call, target: Target, report: Report, texts: Sequence[str]) -> Object:
    shared: Object = {}
    if task := task_of(call.fields, target.model, report):
        shared["task_type"] = task
    if title := text(call.fields, "title"):
        shared["title"] = title
    body: Object = {"instances": [{"content": each, **shared} for each in texts]}
    if dimensions := integer(call.fields, "dimensions"):
        body["parameters"] = {"outputDimensionality": dimensions}
    return body


def embeddings_reply(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked vectors; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    if not is_predicted(target.model):
        return read_embeddings(call, target, head, body)
    try:
        answer = _read(body)
        if not is_null(answer.error):
            raise UpstreamSaid(failure_of(target, head, decode(body)))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the upstream's embeddings cannot be read ({len(body)} bytes)") from error
    found = [prediction.embeddings for prediction in answer.predictions or ()]
    counts = [each.statistics.token_count if each.statistics else None for each in found]
    tokens = sum(int(count) for count in counts if isinstance(count, int | float) and 0 <= count < 2**53)
    usage = Usage(prompt=tokens) if tokens else None
    return vectors_reply(call, target, [each.values for each in found], usage)
