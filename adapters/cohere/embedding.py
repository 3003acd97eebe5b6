"""OpenAI embeddings <-> Cohere's v2 embed (docs.cohere.com/v2/reference/embed, read 2026-08-20)."""

from __future__ import annotations

from typing import Any, Final

from adapters.chunks import embedding_list
from adapters.codec import JSON, as_list, as_object
from adapters.cohere.fidelity import EMBEDDINGS
from adapters.cohere.reply import read_object
from adapters.cohere.request import post
from adapters.cohere.usage import count
from adapters.errors import Malformed
from adapters.fidelity import survey
from adapters.fields import input_texts, integer, text, value
from adapters.types import Call, Head, HttpRequest, Reply, Target, Usage

MAX_INPUTS: Final = 96
"""Texts of one call."""
_DEFAULT_TYPE: Final = "search_document"
_TYPES: Final = {"document": "search_document", "passage": "search_document", "query": "search_query"}
"""Other vendors' words."""
_OWN: Final = ("truncate", "max_tokens", "priority")


def embedding_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported for what Cohere cannot be told."""
    fields = call.fields
    report = survey(fields, EMBEDDINGS)
    kind = text(fields, "input_type") or _DEFAULT_TYPE
    body: dict[str, Any] = {
        "model": target.model,
        "input_type": _TYPES.get(kind, kind),
        "embedding_types": ["float"],
    }
    dimensions = integer(fields, "dimensions")
    if dimensions is not None:
        body["output_dimension"] = dimensions
    for name in _OWN:
        found = value(fields, name)
        if found is not None:
            body[name] = found
    body["texts"] = input_texts(fields, may_be_empty=False)
    return post(call, target, body, report)


def read_embeddings(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = read_object(target, head, body)
    found: JSON = answer.get("embeddings")
    vectors = as_list(found) or as_list(as_object(found).get("float"))
    if not all(map(as_list, vectors)):
        raise Malformed("an embedding of the upstream's answer cannot be read")
    units = as_object(as_object(answer.get("meta")).get("billed_units"))
    counts = [count(units.get(name)) for name in ("input_tokens", "image_tokens")]
    known = [each for each in counts if each is not None]
    usage = Usage(sum(known)) if known else None
    return embedding_list(call, model=target.model, vectors=vectors, usage=usage)
