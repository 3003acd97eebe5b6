"""Rerank through a running gateway, with upstreams of four kinds on real sockets, and a client like curl."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import StartGateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import Answer, Recorded, json_response

DOCUMENTS = ["Berlin is big.", {"text": "Paris is the capital of France.", "id": 7}, "London has Big Ben."]
ASKED = {"query": "capital of France?", "documents": DOCUMENTS, "top_n": 2}
TEXTS = ["Berlin is big.", "Paris is the capital of France.", "London has Big Ben."]
RANKED = [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.25}]


def cohere(request: Recorded) -> Answer:
    """Cohere's v2: strings only, sorted, counted in searches."""
    body: Any = request.json()
    assert request.path == "/v2/rerank"
    assert body == {"model": "rerank-v3.5", "query": ASKED["query"], "top_n": 2, "documents": TEXTS}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return json_response({"id": "9ca94863", "results": RANKED, "meta": meta})


def jina(request: Recorded) -> Answer:
    """Jina's kind (vLLM, llama.cpp): texts come back unasked, tokens are counted."""
    body: Any = request.json()
    assert request.path == "/v1/rerank"
    assert body == {"model": "bge", "query": ASKED["query"], "documents": TEXTS, "top_n": 2}
    results = [{**rank, "document": {"text": TEXTS[int(rank["index"])]}} for rank in RANKED]
    return json_response({"model": "bge", "results": results, "usage": {"total_tokens": 43}})


def voyage(request: Recorded) -> Answer:
    body: Any = request.json()
    assert request.path == "/v1/rerank"
    assert body == {"model": "rerank-2.5", "query": ASKED["query"], "documents": TEXTS, "top_k": 2}
    return json_response({"object": "list", "data": RANKED, "model": "rerank-2.5", "usage": {"total_tokens": 43}})


def tei(request: Recorded) -> Answer:
    """Text Embeddings Inference: scores every text, in a bare array."""
    assert request.path == "/rerank"
    assert request.json() == {"query": ASKED["query"], "texts": TEXTS}
    scores = {1: 0.75, 0: 0.25, 2: 0.125}
    return json_response([{"index": index, "score": score} for index, score in scores.items()])


@pytest.fixture(scope="session")
def rerank_url(gateway: StartGateway, stage: Stage) -> str:
    """The endpoint of a gateway that knows one provider of each kind."""
    providers = {
        "cohere": {"base_url": f"{stage.url}/v1", "credentials": ["co-upstream-secret-0001"]},
        "vllm": {"base_url": f"{stage.url}/v1"},
        "voyage": {"base_url": f"{stage.url}/v1", "credentials": ["pa-upstream-secret-0002"]},
        "tei": {"base_url": stage.url, "requires_credential": False, "options": {"rerank": "tei"}},
        "trouble": {
            "protocol": "cohere",
            "base_url": f"{stage.url}/v1",
            "credentials": [f"tr-upstream-secret-{number:04}" for number in range(9)],
            "operations": ["chat", "rerank"],
        },
    }
    config = {"server": {"access_log": "off"}, "discovery": {"enabled": False}, "providers": providers}
    return gateway(config) + "/v1/rerank"


KINDS = pytest.mark.parametrize(
    ("model", "role"),
    [("cohere/rerank-v3.5", cohere), ("vllm/bge", jina), ("voyage/rerank-2.5", voyage), ("tei/any", tei)],
)


@KINDS
def test_every_kind_of_server_gives_the_same_ranking(rerank_url: str, scripted: Stage, model: str, role: Any) -> None:
    scripted.play(role)
    response = httpx2.post(rerank_url, json={"model": model, **ASKED})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["results"] == RANKED
    assert answer["id"]
    assert response.headers["content-type"] == "application/json"


@KINDS
def test_documents_come_back_if_they_are_asked_for(rerank_url: str, scripted: Stage, model: str, role: Any) -> None:
    scripted.play(role)
    answer = httpx2.post(rerank_url, json={"model": model, **ASKED, "return_documents": True}).json()
    assert [item["document"] for item in answer["results"]] == [DOCUMENTS[1], {"text": DOCUMENTS[0]}]


def test_searches_and_tokens_are_told(rerank_url: str, scripted: Stage) -> None:
    scripted.play(cohere)
    searched = httpx2.post(rerank_url, json={"model": "cohere/rerank-v3.5", **ASKED}).json()
    assert searched["meta"]["billed_units"] == {"search_units": 1}
    assert "usage" not in searched
    scripted.play(jina)
    counted = httpx2.post(rerank_url, json={"model": "vllm/bge", **ASKED}).json()
    assert counted["usage"] == {"prompt_tokens": 43, "total_tokens": 43}


def test_the_credential_goes_with_the_request(rerank_url: str, scripted: Stage) -> None:
    scripted.play(cohere)
    httpx2.post(rerank_url, json={"model": "cohere/rerank-v3.5", **ASKED})
    assert scripted.last.headers["authorization"] == "Bearer co-upstream-secret-0001"


def test_what_the_server_will_not_see_is_named(rerank_url: str, scripted: Stage) -> None:
    scripted.play(cohere)
    response = httpx2.post(rerank_url, json={"model": "cohere/rerank-v3.5", **ASKED, "max_chunks_per_doc": 3})
    assert response.json()["results"] == RANKED
    assert response.headers["x-anyport-dropped"] == "max_chunks_per_doc"


@pytest.mark.parametrize(
    ("status", "said", "answered", "code"),
    [
        (401, {"message": "invalid api token"}, 502, "upstream_auth_error"),
        (404, {"message": "model 'x' not found"}, 404, "model_not_found"),
        (429, {"message": "limited to 1000 API calls / month"}, 429, "insufficient_quota"),
        (200, {"message": "odd", "id": "x"}, 502, "upstream_error"),
        (200, {"results": []}, 502, "upstream_empty_response"),
        (200, {"results": [{"index": 9, "relevance_score": 1}]}, 502, "upstream_invalid_response"),
    ],
)
def test_an_error_has_openais_shape(
    rerank_url: str, scripted: Stage, status: int, said: Any, answered: int, code: str
) -> None:
    scripted.play(json_response(said, status))
    model = f"trouble/{status}-{code}"  # what one of these does to its deployment is not the others' business
    response = httpx2.post(rerank_url, json={"model": model, **ASKED})
    assert response.status_code == answered, response.text
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": ["a", 5]}, "documents[1]"),
        ({"documents": ["a", {}]}, "documents[1]"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "2"}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
    ],
)
def test_a_request_that_makes_no_sense_names_its_field(
    rerank_url: str, scripted: Stage, changed: Any, param: str
) -> None:
    response = httpx2.post(rerank_url, json={"model": "vllm/bge", **ASKED, **changed})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert scripted.requests == []
