"""Rerank through `/invoke`, as Cohere's and Amazon's models for it take it.

Bedrock has an operation of its own for this too, on the host of its agents; it wants the model as an ARN, and asks for
another permission. (docs.aws.amazon.com/bedrock, rerank models; Cohere Rerank 3.5 on Bedrock, read 2026-11-21.)
"""

from __future__ import annotations

from typing import Any, Final

from adapters.answers import read_json
from adapters.bedrock.failures import classify_body
from adapters.bedrock.invoke import counted, invocation
from adapters.bedrock.models import plain_id
from adapters.bedrock.table import RERANK
from adapters.codec import as_object
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.fidelity import survey
from adapters.rerank import ranking, read_query, read_ranks
from adapters.types import Call, Head, HttpRequest, Reply, Target

_COHERE_VERSION: Final = 2


def build_rerank(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    report = survey(call.fields, RERANK)
    query = read_query(call.fields)
    name = plain_id(target.model)
    if not name.startswith(("cohere.rerank", "amazon.rerank")):
        raise Unsupported("model", f"{target.model[:100]!r} does not rank: take Cohere Rerank or Amazon Rerank")
    body: dict[str, Any] = {"query": query.query, "documents": query.documents}
    if query.top_n is not None:
        body["top_n"] = query.top_n
    if name.startswith("cohere."):
        body["api_version"] = _COHERE_VERSION
    return invocation(target, body, report)


def read_ranking(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = as_object(read_json(head, body))
    query = read_query(call.fields)
    try:
        ranks = read_ranks(answer, len(query.documents))
    except Malformed:
        failure = classify_body(target, head, body)
        if failure is None:
            raise
        raise UpstreamSaid(failure) from None
    return ranking(call, query, ranks, model=target.model, usage=counted(None, head))
