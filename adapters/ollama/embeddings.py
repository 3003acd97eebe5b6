"""OpenAI embeddings <-> Ollama's `/api/embed` (docs.ollama.com/api/embed, read 2026-08-21)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import embedding_list
from adapters.codec import is_null
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe_bytes
from adapters.fidelity import survey
from adapters.fields import input_texts, integer, members
from adapters.ollama.failures import said_failure
from adapters.ollama.models import upstream_model
from adapters.ollama.sampling import add, add_flags, add_lifetime, post
from adapters.ollama.table import EMBEDDINGS
from adapters.ollama.wire import count_of
from adapters.types import Call, Head, HttpRequest, Reply, Target, Usage


class _Answer(Struct):
    embeddings: list[list[float]] | None = None
    model: str | None = None
    error: Raw = Raw()
    prompt_eval_count: Raw = Raw()


_answer: Final = msgspec.json.Decoder(_Answer).decode


def embedding_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported for what Ollama cannot be told."""
    fields = call.fields
    report = survey(fields, EMBEDDINGS)
    inputs = input_texts(fields, may_be_empty=False)  # Ollama makes no vector at all of an empty one
    body: dict[str, Any] = {"model": upstream_model(target)}
    add(body, "dimensions", integer(fields, "dimensions"))
    add_flags(body, fields, "truncate")
    add_lifetime(body, fields)
    add(body, "options", members(fields, "options"))
    body["input"] = inputs
    return post(call, target, body, report)


def read_embeddings(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    try:
        answer = _answer(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed("the upstream's answer is not a list of embeddings") from error
    if not is_null(answer.error):
        raise UpstreamSaid(said_failure(target, head, describe_bytes(body)))
    count = count_of(answer.prompt_eval_count)
    usage = Usage(count) if count is not None else None
    return embedding_list(call, model=answer.model or target.model, vectors=answer.embeddings or [], usage=usage)
