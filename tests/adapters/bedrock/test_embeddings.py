"""Embeddings, maker by maker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.parts import join_replies
from adapters.types import Head, Operation, Reply, Usage
from tests.adapters.bedrock.asking import ADAPTER, CLAUDE, call_of, request, target

TITAN = "amazon.titan-embed-text-v2:0"
TITAN_1 = "amazon.titan-embed-text-v1"
TITAN_IMAGE = "amazon.titan-embed-image-v1"
COHERE_3 = "cohere.embed-multilingual-v3"
COHERE_4 = "eu.cohere.embed-v4:0"
OK = Head(200)
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"


def asked(model: str, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    made = request(model=model, operation=Operation.EMBEDDINGS, **fields)
    assert made.url.endswith("/invoke")
    return json.loads(made.body), made.dropped


def replied(answer: Any, input: Any = "a", model: str = TITAN, head: Head = OK, **fields: Any) -> Reply:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return ADAPTER.reply(call_of(operation=Operation.EMBEDDINGS, input=input, **fields), target(model), head, body)


def test_titan_gets_one_text_and_what_its_version_knows() -> None:
    assert asked(TITAN, input="a", dimensions=256, normalize=False) == (
        {"inputText": "a", "dimensions": 256, "normalize": False},
        (),
    )
    assert asked(TITAN_1, input="a", dimensions=256) == ({"inputText": "a"}, ("dimensions",))
    image = {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 256}}
    assert asked(TITAN_IMAGE, input="a", dimensions=256) == (image, ())


def test_cohere_gets_many_texts() -> None:
    assert asked(COHERE_3, input=["a", "b"], dimensions=512) == (
        {"texts": ["a", "b"], "input_type": "search_document"},
        ("dimensions",),
    )
    assert asked(COHERE_4, input="a", dimensions=512, input_type="search_query", truncate="END") == (
        {
            "texts": ["a"],
            "input_type": "search_query",
            "truncate": "END",
            "embedding_types": ["float"],
            "output_dimension": 512,
        },
        (),
    )


def test_nova_gets_one_text_with_a_purpose() -> None:
    body, dropped = asked(NOVA, input="a", embeddingPurpose="GENERIC_RETRIEVAL", input_type="x")
    assert body == {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_RETRIEVAL",
            "embeddingDimension": 1024,
            "text": {"truncationMode": "NONE", "value": "a"},
        },
    }
    assert dropped == ("input_type",)


@pytest.mark.parametrize(("model", "sizes"), [(TITAN, [1] * 100), (NOVA, [1] * 100), (COHERE_4, [96, 4])])
def test_many_inputs_are_split_as_the_model_reads_them(model: str, sizes: list[int]) -> None:
    call = call_of(operation=Operation.EMBEDDINGS, input=[f"text {number}" for number in range(100)])
    parts = ADAPTER.parts(call, target(model))
    assert [len(json.loads(part.body)["input"]) for part in parts] == sizes
    assert all(ADAPTER.request(part, target(model)).body for part in parts)


def test_the_answers_of_parts_are_joined_in_order() -> None:
    call = call_of(operation=Operation.EMBEDDINGS, input=["a", "b"])
    parts = ADAPTER.parts(call, target(TITAN))
    answers = [{"embedding": [0.5, number], "inputTextTokenCount": 3} for number in (1, 2)]
    replies = [
        ADAPTER.reply(part, target(TITAN), Head(200), json.dumps(answer).encode())
        for part, answer in zip(parts, answers, strict=True)
    ]
    joined = join_replies(call, replies)
    assert [item["embedding"] for item in json.loads(joined.body)["data"]] == [[0.5, 1], [0.5, 2]]
    assert joined.usage == Usage(prompt=6, calls=2)


@pytest.mark.parametrize(
    "answer",
    [
        {"embedding": [0.5, 1], "embeddingsByType": {}},
        {"embeddings": [[0.5, 1]]},
        {"embeddings": {"float": [[0.5, 1]]}},
        {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 1]}]},
    ],
    ids=["titan", "cohere 3", "cohere 4", "nova"],
)
def test_vectors_are_found_wherever_the_maker_puts_them(answer: Any) -> None:
    assert json.loads(replied(answer).body)["data"][0]["embedding"] == [0.5, 1]
    assert json.loads(replied(answer, encoding_format="base64").body)["data"][0]["embedding"] == "AAAAPwAAgD8="


@pytest.mark.parametrize(
    ("members", "told", "usage"),
    [
        ({"inputTextTokenCount": 7}, "9", Usage(7)),
        ({}, "9", Usage(9)),
        ({"inputTokenCount": 0}, "", Usage(0)),
        ({"inputTextTokenCount": -1}, "", None),
        ({}, "many", None),
        ({}, "9" * 40, None),
    ],
)
def test_tokens_are_counted_by_the_answer_else_by_its_header(members: Any, told: str, usage: Any) -> None:
    head = Head(200, {"x-amzn-bedrock-input-token-count": told} if told else {})
    assert replied({"embedding": [0.5], **members}, head=head).usage == usage


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b"[]", {}, {"embedding": []}, {"embedding": ["a"]}, {"embedding": [True]}, {"embeddings": [None]},
     {"embeddings": [[1.0], [2.0]]}],
)  # fmt: skip
def test_what_holds_no_vectors_is_malformed(answer: Any) -> None:
    with pytest.raises(Malformed):
        replied(answer)


def test_an_error_under_200_is_the_upstreams() -> None:
    with pytest.raises(UpstreamSaid, match="slow"):
        replied({"message": "slow", "code": 429})


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (TITAN, {"input": [1, 2]}, "input"),
        (TITAN, {"input": [[1, 2]]}, "input"),
        (TITAN, {"input": ["a", "b"]}, "input"),
        (CLAUDE, {"input": "a"}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(model: str, fields: Any, param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(model, **fields)
    assert refused.value.param == param
