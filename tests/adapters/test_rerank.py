"""Rerank: one request and one answer for clients, whatever words the server uses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.openai import OpenAIAdapter
from adapters.rerank import read_query, read_ranks
from adapters.types import Call, Head, HttpRequest, Operation, Usage
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import target_of

ADAPTER = OpenAIAdapter()
DOCUMENTS = ["Paris", "London", "Berlin"]


def call_of(**fields: Any) -> Call:
    body = json.dumps({"model": "p/m", "query": "capital?", "documents": DOCUMENTS, **fields}).encode()
    return read_call(Operation.RERANK, body, id="chatcmpl-1", created=1)


def sent(shape: str, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(**fields), target_of(options={"rerank": shape}))


def results(answer: Any, **fields: Any) -> list[dict[str, Any]]:
    reply = ADAPTER.reply(call_of(**fields), target_of(), Head(200), json.dumps(answer).encode())
    return json.loads(reply.body)["results"]


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{"index": 0, "relevance_score": 0.25}, {"index": 2, "relevance_score": 0.5}]},
        {"data": [{"index": 2, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]},
        {"rankings": [{"index": 2, "logit": 0.5}, {"index": 0, "logit": 0.25}]},
        [{"index": 0, "score": 0.25}, {"index": 2, "score": 0.5, "text": "Berlin"}],
    ],
)
def test_scores_are_found_in_any_servers_answer_and_sorted(answer: Any) -> None:
    expected = [{"index": 2, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    assert results(answer) == expected
    assert results(answer, top_n=1) == expected[:1]


def test_documents_come_back_as_the_client_wrote_them() -> None:
    answer = [{"index": index, "score": 1 - index} for index in range(3)]
    given = ["a", {"text": "b", "id": 7}, {"title": "c"}]
    found = results(answer, documents=given, return_documents=True)
    assert [item["document"] for item in found] == [{"text": "a"}, {"text": "b", "id": 7}, {"title": "c"}]


@pytest.mark.parametrize(
    ("document", "names", "text"),
    [
        ("a", [], "a"),
        ({"text": "a", "id": 1}, [], "a"),
        ({"title": "t", "n": [1, "é"]}, [], 'title: t\nn: [1,"é"]'),
        ({"title": "t", "text": "x", "n": 1}, ["title", "text"], "title: t\ntext: x"),
        ({"title": "t", "text": "x"}, ["text"], "x"),
    ],
)
def test_an_object_is_told_as_text(document: Any, names: list[str], text: str) -> None:
    call = call_of(documents=[document], rank_fields=names)
    assert read_query(call.fields).documents == (text,)


@pytest.mark.parametrize("document", [{}, {"image": "https://x/a.png"}])
def test_a_document_that_is_no_text_is_refused(document: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        sent("jina", documents=["a", document])
    assert refused.value.param == "documents[1]"


def test_servers_of_jinas_kind_get_what_the_client_wrote() -> None:
    request = sent("jina", top_n=2, return_documents=True, truncate_prompt_tokens=5, user=None)
    body = {"model": "upstream-model", "query": "capital?", "documents": DOCUMENTS, "top_n": 2}
    assert json.loads(request.body) == {**body, "truncate_prompt_tokens": 5}
    assert request.url == "http://127.0.0.1:9/v1/rerank"
    assert request.dropped == ()


def test_voyage_has_another_word_for_the_limit() -> None:
    request = sent("voyage", top_n=2, truncation=False, max_tokens_per_doc=9)
    body = {"model": "upstream-model", "query": "capital?", "documents": DOCUMENTS, "top_k": 2, "truncation": False}
    assert json.loads(request.body) == body
    assert request.dropped == ("max_tokens_per_doc",)


def test_a_server_of_embeddings_inference_gets_texts_and_no_model() -> None:
    request = sent("tei", top_n=2, raw_scores=True, max_chunks_per_doc=1)
    assert json.loads(request.body) == {"query": "capital?", "texts": DOCUMENTS, "raw_scores": True}
    assert request.dropped == ("max_chunks_per_doc",)


def test_fields_that_would_lead_elsewhere_are_not_sent() -> None:
    request = sent("jina", api_base="http://169.254.169.254/")
    assert "api_base" not in json.loads(request.body)
    assert request.dropped == ("api_base",)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"index": 3, "score": 1}],
        [{"index": -1, "score": 1}],
        [{"index": True, "score": 1}],
        [{"index": "0", "score": 1}],
        [{"index": 0}],
        [{"index": 0, "score": "1"}],
        [{"index": 0, "score": None}],
        [{"index": 0, "score": 1}, {"index": 0, "score": 2}],
        ["x"],
    ],
)
def test_ranks_that_cannot_be_meant_are_malformed(items: Any) -> None:
    with pytest.raises(Malformed):
        results({"results": items})


def test_an_error_under_a_success_status_is_one() -> None:
    with pytest.raises(UpstreamSaid, match="no"):
        results({"error": {"message": "no"}})


@pytest.mark.parametrize(
    ("members", "usage"),
    [
        ({"usage": {"total_tokens": 43}}, Usage(43)),
        ({"usage": {"prompt_tokens": 40, "total_tokens": 43}}, Usage(40)),
        ({"meta": {"tokens": {"input_tokens": 9}}}, Usage(9)),
        ({"tokens": {"input_tokens": 9, "output_tokens": 0}}, Usage(9)),
        ({"usage": {"total_tokens": "43"}}, None),
        ({"usage": None}, None),
    ],
)
def test_tokens_are_counted_where_the_server_says_them(members: Any, usage: Usage | None) -> None:
    answer = {"results": [{"index": 0, "relevance_score": 1}], **members}
    reply = ADAPTER.reply(call_of(), target_of(), Head(200), json.dumps(answer).encode())
    assert reply.usage == usage
    assert ("usage" in json.loads(reply.body)) is (usage is not None)


@given(st.permutations(range(5)), st.lists(st.floats(-9, 9), min_size=5, max_size=5))
def test_ranks_are_the_same_however_the_server_orders_them(order: list[int], scores: list[float]) -> None:
    ranks = read_ranks([{"index": index, "score": scores[index]} for index in order], 5)
    assert ranks == read_ranks([{"index": index, "score": scores[index]} for index in range(5)], 5)
    assert [score for _, score in ranks] == sorted(scores, reverse=True)
