"""Documents ranked by the models that do nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.types import Head, Operation, Reply, Usage
from gateway.http.api.inbound import read_call
from tests.adapters.bedrock.asking import ADAPTER, CLAUDE, target

COHERE = "cohere.rerank-v3-5:0"
AMAZON = "amazon.rerank-v1:0"
ASKED = {"query": "capital?", "documents": ["Paris", {"text": "Rome"}], "top_n": 1}
RANKS = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}


def call_of(**fields: Any) -> Any:
    body = json.dumps({"model": "p/m", **ASKED, **fields}).encode()
    return read_call(Operation.RERANK, body, id="chatcmpl-1", created=1)


def replied(answer: Any, head: Head, **fields: Any) -> Reply:
    return ADAPTER.reply(call_of(**fields), target(COHERE), head, json.dumps(answer).encode())


@pytest.mark.parametrize(("model", "more"), [(COHERE, {"api_version": 2}), (AMAZON, {})])
def test_the_documents_are_sent_as_text(model: str, more: Any) -> None:
    call = call_of()
    assert ADAPTER.parts(call, target(model)) == (call,)
    made = ADAPTER.request(call, target(model))
    assert made.url.endswith(f"/model/{model.replace(':', '%3A')}/invoke")
    assert json.loads(made.body) == {"query": "capital?", "documents": ["Paris", "Rome"], "top_n": 1, **more}
    assert made.dropped == ()


def test_what_the_models_do_not_know_is_reported() -> None:
    made = ADAPTER.request(call_of(max_tokens_per_doc=5, odd=1), target(COHERE))
    assert set(made.dropped) == {"max_tokens_per_doc", "odd"}


def test_the_best_come_first_with_their_documents() -> None:
    reply = replied(RANKS, Head(200, {"x-amzn-bedrock-input-token-count": "9"}), return_documents=True)
    (best,) = json.loads(reply.body)["results"]
    assert best == {"index": 1, "relevance_score": 0.9, "document": {"text": "Rome"}}
    assert reply.usage == Usage(9)


@pytest.mark.parametrize("answer", [{}, [], {"results": [{"index": 7, "relevance_score": 1}]}])
def test_what_ranks_nothing_is_malformed(answer: Any) -> None:
    with pytest.raises(Malformed):
        replied(answer, Head(200))


def test_an_error_under_200_is_the_upstreams() -> None:
    with pytest.raises(UpstreamSaid, match="slow"):
        replied({"message": "slow"}, Head(200))


def test_other_models_do_not_rank() -> None:
    with pytest.raises(Unsupported, match="does not rank"):
        ADAPTER.request(call_of(), target(CLAUDE))
