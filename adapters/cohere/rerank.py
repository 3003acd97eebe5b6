"""Rerank -> Cohere's v2 rerank (docs.cohere.com/v2/reference/rerank, read 2026-08-20)."""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import as_object, as_text
from adapters.cohere.fidelity import RERANK
from adapters.cohere.reply import read_object
from adapters.cohere.request import post
from adapters.cohere.usage import count
from adapters.fidelity import survey
from adapters.fields import value
from adapters.rerank import ranking, read_query, read_ranks
from adapters.types import Call, Head, HttpRequest, Reply, Target, Usage

_OWN: Final = ("max_tokens_per_doc", "priority")


def rerank_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; v2 takes documents as strings only."""
    report = survey(call.fields, RERANK)
    query = read_query(call.fields)
    body: dict[str, Any] = {"model": target.model, "query": query.query}
    if query.top_n is not None:
        body["top_n"] = query.top_n
    for name in _OWN:
        found = value(call.fields, name)
        if found is not None:
            body[name] = found
    body["documents"] = query.documents
    return post(call, target, body, report)


def read_ranking(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; its cost is in `meta.billed_units.search_units`, Cohere counts no tokens here."""
    answer = read_object(target, head, body)
    query = read_query(call.fields)
    ranks = read_ranks(answer, len(query.documents))
    meta = as_object(answer.get("meta"))
    tokens = count(as_object(meta.get("tokens")).get("input_tokens"))
    usage = None if tokens is None else Usage(tokens)
    id = answer.get("id")
    return ranking(call, query, ranks, model=target.model, usage=usage, meta=meta, id=as_text(id))
