"""Embeddings: the feature-extraction task, or a provider's own endpoint in OpenAI's shape."""

from __future__ import annotations

import re
from dataclasses import replace
from math import isfinite
from typing import Any, Final
from urllib.parse import quote

import msgspec

from adapters.chunks import embedding_list
from adapters.codec import encode
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import from_description
from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed, survey
from adapters.fields import input_texts, pass_on
from adapters.huggingface.failures import describe_error, with_rules, with_wait
from adapters.huggingface.request import OWN, root_of
from adapters.openai.reply import read_reply
from adapters.openai.request import build_request
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Operation, Reply, Target

TABLE: Final[Table] = {
    "model": passed("the part behind a colon picks the provider; without one it is Hugging Face itself"),
    "input": renamed("inputs", "texts only"),
    "input.tokens": refused("the task takes texts, not token ids"),
    "encoding_format": emulated("vectors come as numbers and are told as asked"),
    "dimensions": dropped("a model has one size"),
    "user": dropped(),
    "normalize": passed("the task's own"),
    "prompt_name": passed("the task's own"),
    "truncate": passed("the task's own"),
    "truncation_direction": passed("the task's own"),
}
_EXTRAS: Final = ("normalize", "prompt_name", "truncate", "truncation_direction")
_POLICIES: Final = frozenset({"", OWN, "fastest", "cheapest", "preferred"})
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_OPENING: Final = re.compile(rb"\s*\[(?:\s*(\[))?(?:\s*(\[))?")
Vector = list[float]
_vector = msgspec.json.Decoder(Vector).decode
_matrix = msgspec.json.Decoder(list[Vector]).decode
_matrices = msgspec.json.Decoder(list[list[Vector]]).decode


def embedding_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    elsewhere = _elsewhere(target)
    if elsewhere is not None:
        return build_request(call, elsewhere)
    report = survey(call.fields, TABLE)
    input_texts(call.fields)  # refuses tokens
    body: dict[str, Any] = {"inputs": call.fields["input"]}
    pass_on(call.fields, _EXTRAS, body)
    model = quote(target.model.partition(":")[0], safe="/")
    url = f"{root_of(target.base_url)}/{OWN}/models/{model}/pipeline/feature-extraction"
    return HttpRequest("POST", url, target.headers + JSON_HEADERS, encode(body), report.dropped)


def _elsewhere(target: Target) -> Target | None:
    """Returns the endpoint of the provider that a model id ends with, None for Hugging Face's own."""
    model, _, provider = target.model.partition(":")
    if provider in _POLICIES:
        return None
    if not _PROVIDER.fullmatch(provider):
        raise Unsupported("model", f"{provider!r} behind the colon of the model is no provider's name")
    url = f"{root_of(target.base_url)}/{provider}/v1/embeddings"
    return replace(with_rules(target), model=model, paths={Operation.EMBEDDINGS: url})


def read_embeddings(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer in OpenAI's shape; raises Malformed or UpstreamSaid. The task counts no tokens."""
    elsewhere = _elsewhere(target)
    if elsewhere is not None:
        return read_reply(call, elsewhere, head, body)
    opening = _OPENING.match(body)
    if opening is None:
        raise _refusal(target, head, body)
    count = len(input_texts(call.fields))
    try:
        if opening[1] is None:
            vectors = [_vector(body)]
        elif opening[2] is None:
            vectors = _rows(_matrix(body), count)
        else:
            vectors = [_pooled(matrix) for matrix in _matrices(body)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("the upstream's embeddings cannot be read") from error
    return embedding_list(call, model=target.model, vectors=vectors, usage=None)


def _rows(rows: list[Vector], count: int) -> list[Vector]:
    """Returns one row for each input; several rows for a single input are its tokens."""
    return [_pooled(rows)] if count == 1 and len(rows) > 1 else rows


def _pooled(tokens: list[Vector]) -> Vector:
    """Returns the mean of the tokens' vectors: what plain transformer models answer with has no vector of the text."""
    if not tokens or any(len(token) != len(tokens[0]) for token in tokens):
        raise Malformed("the upstream's embeddings of tokens differ in length")
    mean = [sum(column) / len(tokens) for column in zip(*tokens, strict=True)]
    if not all(map(isfinite, mean)):
        raise Malformed("the upstream's embeddings of tokens are too large")
    return mean


def _refusal(target: Target, head: Head, body: bytes) -> Malformed | UpstreamSaid:
    said = describe_error(body)
    is_object = body.lstrip()[:1] == b"{"
    if not is_object or not (said.message or said.code):
        return Malformed(f"the upstream's answer is no list of numbers ({len(body)} bytes)")
    failure = from_description(said, head.status, head.headers, with_rules(target).failure_rules)
    return UpstreamSaid(with_wait(failure, body))
