"""Rerank at servers that speak OpenAI otherwise: OpenAI has no such operation, so that each took another's words.

| Shape | Sent | Who |
|---|---|---|
| `jina` | as it came, documents as text | most: Jina, vLLM, SGLang, llama.cpp, Together, Fireworks, SiliconFlow |
| `cohere` | the same without what is not Cohere's v2 | servers that refuse unknown fields |
| `voyage` | `top_k` for `top_n`; nothing unknown | Voyage AI |
| `tei` | `texts` for `documents`; no model, no limit | Text Embeddings Inference |

(docs.voyageai.com/reference/reranker-api, huggingface.github.io/text-embeddings-inference, docs.together.ai/reference/
rerank-1, docs.siliconflow.cn/en/api-reference/rerank, read 2026-08.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from adapters.answers import read_json
from adapters.codec import JSON, as_object, as_text, is_null, join_object, raw
from adapters.errors import UpstreamSaid
from adapters.failures import describe, from_description
from adapters.fidelity import is_neutral
from adapters.openai.reply import is_refusal
from adapters.openai.request import NEVER_SENT, upstream_model
from adapters.options import RerankShape
from adapters.rerank import ranking, read_query, read_ranks
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Reply, Target, Usage

_OURS: Final = frozenset({"return_documents", "rank_fields"})
"""Members that are carried out here."""
_NAMES: Final[Mapping[RerankShape, Mapping[str, str]]] = {
    "voyage": {"top_n": "top_k"},
    "tei": {"documents": "texts"},
}
_KNOWN: Final[Mapping[RerankShape, frozenset[str]]] = {
    "cohere": frozenset({"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}),
    "voyage": frozenset({"model", "query", "documents", "top_k", "truncation"}),
    "tei": frozenset({"query", "texts", "raw_scores", "truncate", "truncation_direction"}),
}
_SILENT: Final[Mapping[RerankShape, frozenset[str]]] = {"tei": frozenset({"model", "top_n"})}
"""What is left out and still holds: a server of one model, and a limit that is kept here."""
_MOST: Final = 2**53


def rerank_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request in the words that the row names; raises Unsupported."""
    shape = target.options.rerank
    query = read_query(call.fields)
    names = _NAMES.get(shape, {})
    known = _KNOWN.get(shape)
    sent: dict[str, Raw] = {}
    dropped: list[str] = []
    for name, member in {**call.fields, "model": raw(upstream_model(target))}.items():
        new = names.get(name, name)
        if name in _OURS or is_null(member):
            continue
        if name in NEVER_SENT or (known is not None and new not in known):
            if name not in _SILENT.get(shape, ()) and not is_neutral(name, member):
                dropped.append(name)
            continue
        is_changed = name == "documents" and query.documents != query.given
        sent[new] = raw(query.documents) if is_changed else member
    return HttpRequest(
        "POST", target.url(call.operation), target.headers + JSON_HEADERS, join_object(sent), tuple(dropped)
    )


def read_ranking(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = read_json(head, body)
    members = as_object(answer)
    if is_refusal(members):
        raise UpstreamSaid(from_description(describe(answer), head.status, head.headers, target.failure_rules))
    query = read_query(call.fields)
    ranks = read_ranks(answer, len(query.documents))
    model, id = members.get("model"), members.get("id")
    return ranking(
        call,
        query,
        ranks,
        model=model if isinstance(model, str) and model else target.model,
        usage=_usage(members),
        meta=as_object(members.get("meta")),
        id=as_text(id),
    )


def _usage(members: Mapping[str, JSON]) -> Usage | None:
    """Returns the tokens read: in `usage`, or in `tokens`, which SiliconFlow also puts into `meta`."""
    usage = as_object(members.get("usage"))
    tokens = as_object(members.get("tokens")) or as_object(as_object(members.get("meta")).get("tokens"))
    for found in (usage.get("prompt_tokens"), usage.get("total_tokens"), tokens.get("input_tokens")):
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < _MOST:
            return Usage(int(found))
    return None
