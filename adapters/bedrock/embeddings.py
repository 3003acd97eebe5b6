"""Embeddings through `/invoke`: each maker of models has its own body there.

(Titan: docs.aws.amazon.com/bedrock, Titan Embeddings; Cohere Embed v3 and v4 on Bedrock; Nova multimodal embeddings;
read 2026-11-21, and answers recorded 2025 to 2026.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from adapters.answers import read_json
from adapters.bedrock.failures import classify_body
from adapters.bedrock.invoke import counted, invocation
from adapters.bedrock.models import plain_id
from adapters.bedrock.table import EMBEDDINGS
from adapters.chunks import embedding_list
from adapters.codec import JSON, as_list, as_object
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.fidelity import Report, survey
from adapters.fields import Fields, boolean, input_texts, integer, text, value
from adapters.parts import split_inputs
from adapters.types import Call, Head, HttpRequest, Reply, Target

Object = dict[str, Any]
Maker = Literal["titan", "cohere", "nova"]
MOST_COHERE_TEXTS: Final = 96
_NOVA_DIMENSION: Final = 1024
"""What Nova's vectors have if nobody says; unlike the others it wants to be told (its default is 3072)."""


def split_embeddings(call: Call, target: Target) -> Sequence[Call]:
    """Returns calls of as many inputs as the model reads in one."""
    return split_inputs(call, MOST_COHERE_TEXTS if _maker(target) == "cohere" else 1)


def build_embeddings(call: Call, target: Target) -> HttpRequest:
    """Returns the request for one part; raises Unsupported."""
    report = survey(call.fields, EMBEDDINGS)
    inputs = input_texts(call.fields)
    maker = _maker(target)
    if len(inputs) > (MOST_COHERE_TEXTS if maker == "cohere" else 1):
        raise Unsupported("input", "input holds more texts than the model reads in one request")
    body = _BUILDERS[maker](inputs, call.fields, target, report)
    return invocation(target, body, report)


def read_embeddings(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked vectors; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = as_object(read_json(head, body))
    vectors = _vectors(answer)
    if not vectors:
        failure = classify_body(target, head, body)
        if failure is not None:
            raise UpstreamSaid(failure)
    tokens: JSON = answer.get("inputTextTokenCount", answer.get("inputTokenCount"))
    return embedding_list(call, model=target.model, vectors=vectors, usage=counted(tokens, head))


def _maker(target: Target) -> Maker:
    name = plain_id(target.model)
    if name.startswith("amazon.titan-embed"):
        return "titan"
    if name.startswith("cohere.embed"):
        return "cohere"
    if name.startswith("amazon.nova"):
        return "nova"
    raise Unsupported("model", f"embeddings of {target.model[:100]!r} are not known: Titan, Nova or Cohere Embed")


def _titan(inputs: list[str], fields: Fields, target: Target, report: Report) -> Object:
    body: Object = {"inputText": inputs[0] if inputs else ""}
    dimensions = integer(fields, "dimensions")
    normalize = boolean(fields, "normalize")
    name = plain_id(target.model)
    if name.startswith("amazon.titan-embed-text-v2"):
        if dimensions is not None:
            body["dimensions"] = dimensions
        if normalize is not None:
            body["normalize"] = normalize
    elif name.startswith("amazon.titan-embed-image"):
        if dimensions is not None:
            body["embeddingConfig"] = {"outputEmbeddingLength": dimensions}
    elif dimensions is not None:
        report.drop("dimensions")
    if normalize is not None and "normalize" not in body:
        report.drop("normalize")
    _lose(fields, report, "input_type", "truncate", "embeddingPurpose")
    return body


def _cohere(inputs: list[str], fields: Fields, target: Target, report: Report) -> Object:
    body: Object = {"texts": inputs, "input_type": text(fields, "input_type") or "search_document"}
    if (truncate := text(fields, "truncate")) is not None:
        body["truncate"] = truncate
    dimensions = integer(fields, "dimensions")
    if plain_id(target.model).startswith("cohere.embed-v4"):
        body["embedding_types"] = ["float"]
        if dimensions is not None:
            body["output_dimension"] = dimensions
    elif dimensions is not None:
        report.drop("dimensions")
    _lose(fields, report, "normalize", "embeddingPurpose")
    return body


def _nova(inputs: list[str], fields: Fields, target: Target, report: Report) -> Object:
    _lose(fields, report, "normalize", "input_type", "truncate")
    return {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": text(fields, "embeddingPurpose") or "GENERIC_INDEX",
            "embeddingDimension": integer(fields, "dimensions") or _NOVA_DIMENSION,
            "text": {"truncationMode": "NONE", "value": inputs[0] if inputs else ""},
        },
    }


_BUILDERS: Final[dict[Maker, Callable[[list[str], Fields, Target, Report], Object]]] = {
    "titan": _titan,
    "cohere": _cohere,
    "nova": _nova,
}


def _lose(fields: Fields, report: Report, *names: str) -> None:
    """Reports fields that are for the models of other makers."""
    report.drop(*(name for name in names if value(fields, name) is not None))


def _vectors(answer: Object) -> list[list[float]]:
    """Returns the vectors wherever the maker puts them; Malformed for what are no numbers."""
    found: JSON = answer.get("embeddings")
    if isinstance(found, dict):
        found = as_object(found).get("float")
    if found is None:
        found = [answer["embedding"]] if "embedding" in answer else []
    return [_vector(as_object(item).get("embedding") if isinstance(item, dict) else item) for item in as_list(found)]


def _vector(item: JSON) -> list[float]:
    numbers = as_list(item)
    if not numbers or not all(type(each) in (int, float) for each in numbers):
        raise Malformed("an embedding of the upstream's answer cannot be read")
    return numbers
