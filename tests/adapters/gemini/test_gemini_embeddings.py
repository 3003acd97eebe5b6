"""Embeddings: one request for each text of a batch, vectors of unit length, in the client's encoding."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.types import Call, HttpRequest, Operation
from tests.adapters.gemini.asking import ADAPTER, OK, call_of, target

FIRST, SECOND = "gemini-embedding-001", "gemini-embedding-2"


def embedding_of(**fields: Any) -> Call:
    return call_of(operation=Operation.EMBEDDINGS, **fields)


def sent(model: str = FIRST, **fields: Any) -> HttpRequest:
    return ADAPTER.request(embedding_of(**fields), target(model))


def vectors(values: list[list[float]], model: str = FIRST, **fields: Any) -> list[Any]:
    body = json.dumps({"embeddings": [{"values": each} for each in values]}).encode()
    answer = json.loads(ADAPTER.reply(embedding_of(**fields), target(model), OK, body).body)
    return [each["embedding"] for each in answer["data"]]


def test_three_texts_are_three_requests_and_three_vectors() -> None:
    request = sent(input=["a", "b", "c"])
    assert request.url == f"https://h/v1beta/models/{FIRST}:batchEmbedContents"
    assert json.loads(request.body)["requests"] == [
        {"model": f"models/{FIRST}", "content": {"parts": [{"text": text}]}} for text in "abc"
    ]
    assert vectors([[1.0], [2.0], [3.0]], input=["a", "b", "c"]) == [[1.0], [2.0], [3.0]]


def test_one_text_is_asked_alone() -> None:
    request = sent(input="a", title="T", dimensions=2)
    assert request.url.endswith(":embedContent")
    assert json.loads(request.body) == {
        "model": f"models/{FIRST}",
        "content": {"parts": [{"text": "a"}]},
        "title": "T",
        "outputDimensionality": 2,
    }


@pytest.mark.parametrize(("kind", "task"), [("query", "RETRIEVAL_QUERY"), ("search_document", "RETRIEVAL_DOCUMENT")])
def test_the_task_is_told_in_googles_words(kind: str, task: str) -> None:
    assert json.loads(sent(input="a", input_type=kind).body)["taskType"] == task
    assert json.loads(sent(input="a", task_type="clustering").body)["taskType"] == "CLUSTERING"
    assert sent(SECOND, input="a", input_type=kind).dropped == ("input_type",)
    with pytest.raises(Unsupported):
        sent(input="a", input_type="odd")


@pytest.mark.parametrize("tokens", [[1, 2], [[1], [2]]])
def test_tokens_are_refused(tokens: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        sent(input=tokens)
    assert refused.value.param == "input"


def test_shortened_vectors_are_brought_to_unit_length() -> None:
    assert vectors([[3.0, 4.0]], input=["a"], dimensions=2) == [[0.6, 0.8]]
    assert vectors([[3.0, 4.0]], input=["a"]) == [[3.0, 4.0]]
    assert vectors([[3.0, 4.0]], SECOND, input=["a"], dimensions=2) == [[3.0, 4.0]]
    assert vectors([[0.0, 0.0]], input=["a"], dimensions=2) == [[0.0, 0.0]]


def test_vectors_come_in_base64_if_asked() -> None:
    (made,) = vectors([[0.5, -1.0]], input=["a"], encoding_format="base64")
    assert struct.unpack("<2f", base64.b64decode(made)) == (0.5, -1.0)


def test_more_than_a_hundred_texts_are_several_requests() -> None:
    parts = ADAPTER.parts(embedding_of(input=["x"] * 201), target(FIRST))
    assert [len(json.loads(ADAPTER.request(part, target(FIRST)).body)["requests"]) for part in parts] == [100, 100, 1]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"embeddings":[]}', b'{"embeddings":[{"values":[]}]}', b'{"embeddings":[{"values":["x"]}]}',
     b'{"embeddings":[{"values":[1]},{"values":[1]}]}', b'{"embedding":{"values":[1e999]}}'],
)  # fmt: skip
def test_what_are_no_vectors_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        ADAPTER.reply(embedding_of(input="a"), target(FIRST), OK, body)


def test_an_error_under_200_is_the_upstreams() -> None:
    with pytest.raises(UpstreamSaid):
        ADAPTER.reply(embedding_of(input="a"), target(FIRST), OK, b'{"error":{"code":400,"message":"no"}}')
