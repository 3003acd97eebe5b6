"""Reranking without a standard: what clients ask, read once, and the one answer that all of them can read.

Theory. Cohere made the operation, Jina's servers took it over, and clients write one of those two, which differ in
little: `{model, query, documents, top_n, return_documents}` in, `{results: [{index, relevance_score, document?}]}`
out. Servers differ more, in the names of what they take and in where the scores stand, but all of them number the
documents from 0. So the request is read here, each protocol writes its own, and `read_ranks` finds the scores in any
answer. Documents are given back from the request: no upstream has to repeat them.

(docs.cohere.com/v2/reference/rerank, read 2026-08-20; api.jina.ai/redoc, read 2026-08.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from adapters.codec import JSON, as_list, as_object, encode
from adapters.errors import Malformed, Unsupported
from adapters.fields import Fields, boolean, integer, text, texts, value
from adapters.types import Call, Reply, Usage

Object = dict[str, Any]
_SCORES = ("relevance_score", "score", "logit")
_LISTS = ("results", "data", "rankings")


class Query(Struct, frozen=True):
    """What the client wants ranked."""

    query: str
    documents: tuple[str, ...]
    """As text, whatever they were."""
    given: tuple[JSON, ...]
    """As the client wrote them."""
    top_n: int | None = None
    wants_documents: bool = False


def read_query(fields: Fields) -> Query:
    """Returns the request; raises Unsupported naming the member that cannot be read."""
    given = as_list(value(fields, "documents"))
    names = texts(fields, "rank_fields")
    top_n = integer(fields, "top_n")
    if top_n is not None and top_n < 1:
        raise Unsupported("top_n", "top_n must be at least 1")
    return Query(
        query=text(fields, "query") or "",
        documents=tuple(_document(item, names, f"documents[{index}]") for index, item in enumerate(given)),
        given=tuple(given),
        top_n=top_n,
        wants_documents=boolean(fields, "return_documents") is True,
    )


def _document(item: JSON, names: list[str], where: str) -> str:
    """Returns a document as text: a string, an object's `text`, or one line for each member, as YAML has it."""
    if isinstance(item, str):
        return item
    members = as_object(item)
    if names and members:
        members = {name: members[name] for name in names if name in members}
        if not members:
            raise Unsupported("rank_fields", f"{where} has none of the members that rank_fields names")
    found = members.get("text")
    if isinstance(found, str) and (not names or names == ["text"]):
        return found
    if not members:
        raise Unsupported(where, f"{where} must be a string or an object with `text`")
    if "image" in members:
        raise Unsupported(where, f"{where}: images cannot be ranked here; send text")
    return "\n".join(f"{name}: {_line(member)}" for name, member in members.items())


def _line(value: JSON) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def read_ranks(answer: JSON, count: int) -> list[tuple[int, float]]:
    """Returns (index, score) pairs from any server's answer, the best first; raises Malformed.

    `count` is the number of documents that were sent. A bare array is what Text Embeddings Inference and SGLang send.
    """
    members = as_object(answer)
    found = as_list(answer)
    for name in _LISTS:
        found = found or as_list(members.get(name))
    if not found:
        raise Malformed("the upstream's answer ranks nothing", code="upstream_empty_response")
    ranks = [_rank(as_object(item), count) for item in found]
    if len({index for index, _ in ranks}) != len(ranks):
        raise Malformed("the upstream's answer ranks a document twice")
    return sorted(ranks, key=lambda rank: (-rank[1], rank[0]))


def _rank(item: Object, count: int) -> tuple[int, float]:
    index: JSON = item.get("index")
    score: JSON = next((item[name] for name in _SCORES if name in item), None)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise Malformed("the upstream's answer ranks a document that was not sent")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise Malformed("a score of the upstream's answer is no number")
    return index, score


def ranking(
    call: Call,
    query: Query,
    ranks: Sequence[tuple[int, float]],
    *,
    model: str,
    usage: Usage | None,
    meta: Object | None = None,
    id: str = "",
) -> Reply:
    """Returns the answer: Cohere's members, and Jina's `model` and `usage`, which Cohere's clients pass over."""
    results: list[Object] = []
    for index, score in ranks[: query.top_n]:
        result: Object = {"index": index, "relevance_score": score}
        if query.wants_documents:
            given = query.given[index]
            result["document"] = {"text": given} if isinstance(given, str) else given
        results.append(result)
    body: Object = {
        "id": id or "rerank-" + call.id.removeprefix("chatcmpl-"),
        "object": "list",
        "model": model,
        "results": results,
    }
    if meta:
        body["meta"] = meta
    if usage is not None:
        total = usage.prompt + usage.completion
        body["usage"] = {"prompt_tokens": usage.prompt, "total_tokens": total}
    return Reply(encode(body), usage, model)
