"""Vertex AI: where each model stands, what it speaks, and whose error an error is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Unsupported, UpstreamSaid
from adapters.failures import FailureKind
from adapters.types import Call, Head, HttpRequest, Operation, Target
from adapters.vertex import VertexAdapter
from gateway.http.api.inbound import read_call

ADAPTER = VertexAdapter()
USER = {"role": "user", "content": "hello"}
PLACE = "/v1/projects/p/locations"
OK = Head(200, {"content-type": "application/json"})


def call_of(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    said = {"messages": [USER]} if operation is Operation.CHAT else {}
    body = json.dumps({"model": "p/m", **said, **fields}).encode()
    return read_call(operation, body, id="chatcmpl-0a", created=1)


def target(model: str, location: str = "us-central1") -> Target:
    return Target(model, f"https://{location}-aiplatform.googleapis.com{PLACE}/{location}", {})


def sent(model: str, location: str = "us-central1", **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(**fields), target(model, location))


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_a_location_has_its_host(location: str, host: str) -> None:
    models = f"https://{host}{PLACE}/{location}/publishers/google/models"
    assert sent("gemini-2.5-pro", location).url == f"{models}/gemini-2.5-pro:generateContent"
    stream = sent("google/gemini-2.5-pro", location, stream=True).url
    assert stream == f"{models}/gemini-2.5-pro:streamGenerateContent?alt=sse"


def test_a_base_url_of_ones_own_stays_as_it_is() -> None:
    where = Target("gemini-2.5-pro", "http://127.0.0.1:9/v1", {})
    url = ADAPTER.request(call_of(), where).url
    assert url == "http://127.0.0.1:9/v1/publishers/google/models/gemini-2.5-pro:generateContent"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("endpoints/123", "endpoints/123:generateContent"),
        ("claude-sonnet-4-5@20250929", "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"),
        ("anthropic/claude-opus-4-6", "publishers/anthropic/models/claude-opus-4-6:rawPredict"),
        ("meta/llama-4-maas", "endpoints/openapi/chat/completions"),
        ("deepseek-v3.1-maas", "endpoints/openapi/chat/completions"),
        ("xai/grok-4", "endpoints/openapi/chat/completions"),
    ],
)
def test_a_model_is_asked_in_its_own_protocol(model: str, path: str) -> None:
    root = f"https://us-central1-aiplatform.googleapis.com{PLACE}/us-central1"
    assert sent(model).url == f"{root}/{path}"


def test_a_claude_is_named_in_the_path_and_its_version_in_the_body() -> None:
    request = sent("anthropic/claude-sonnet-4-5@20250929", max_tokens=5, stream=True, temperature=0.5)
    body = json.loads(request.body)
    assert request.url.endswith("/claude-sonnet-4-5@20250929:streamRawPredict")
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in body
    assert body["stream"] is True
    assert "anthropic-version" not in dict(request.headers)


def test_a_partners_model_gets_the_request_as_it_came() -> None:
    body = json.loads(sent("meta/llama-4-maas", logit_bias={"5": 1}).body)
    assert body == {"model": "meta/llama-4-maas", "messages": [USER], "logit_bias": {"5": 1}}


def test_labels_are_vertexs_own_and_names_of_files_are_kept() -> None:
    assert json.loads(sent("gemini-2.5-pro", labels={"team": "a"}).body)["labels"] == {"team": "a"}
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
    request = sent("gemini-2.5-pro", messages=[{"role": "user", "content": [part]}])
    inline = json.loads(request.body)["contents"][0]["parts"][0]["inlineData"]
    assert inline["displayName"] == "a.pdf"
    assert request.dropped == ()


def test_an_address_always_has_a_type_there() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/picture"}}
    content = json.loads(sent("gemini-2.0-flash", messages=[{"role": "user", "content": [part]}]).body)["contents"][0]
    assert content["parts"][0]["fileData"]["mimeType"] == "image/jpeg"


def embedded(model: str, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(Operation.EMBEDDINGS, **fields), target(model))


def test_older_embeddings_are_predicted_and_newer_ones_are_not() -> None:
    old = embedded("text-embedding-005", input=["a", "b"], dimensions=2, task_type="CLUSTERING", title="T")
    assert old.url.endswith("/text-embedding-005:predict")
    shared = {"task_type": "CLUSTERING", "title": "T"}
    assert json.loads(old.body) == {
        "instances": [{"content": "a", **shared}, {"content": "b", **shared}],
        "parameters": {"outputDimensionality": 2},
    }
    new = embedded("gemini-embedding-2", input="a", dimensions=2)
    assert new.url.endswith("/gemini-embedding-2:embedContent")
    config = {"embedContentConfig": {"outputDimensionality": 2}}
    assert json.loads(new.body) == {"content": {"parts": [{"text": "a"}]}, **config}


def test_the_first_gemini_embedding_takes_one_text_at_a_time() -> None:
    call = call_of(Operation.EMBEDDINGS, input=["a", "b", "c"])
    assert len(ADAPTER.parts(call, target("gemini-embedding-001"))) == 3
    assert len(ADAPTER.parts(call, target("text-embedding-005"))) == 1


def test_other_publishers_make_no_embeddings() -> None:
    with pytest.raises(Unsupported) as refused:
        embedded("claude-sonnet-4-5", input="a")
    assert refused.value.param == "model"


def test_several_choices_of_each_kind() -> None:
    for model, parts in (("gemini-2.5-flash", 1), ("gemini-3-flash-preview", 2), ("claude-opus-4-6", 2)):
        assert len(ADAPTER.parts(call_of(n=2), target(model))) == parts, model


GOOGLES = b'[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]'


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "claude-opus-4-6", "meta/llama-4-maas"])
def test_googles_errors_are_understood_whichever_model_was_asked(model: str) -> None:
    found = ADAPTER.failure(target(model), Head(429), GOOGLES)
    assert (found.kind, found.message, found.code) == (
        FailureKind.RATE_LIMIT,
        "Resource exhausted.",
        "RESOURCE_EXHAUSTED",
    )


def test_a_claudes_own_errors_are_understood() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert ADAPTER.failure(target("claude-opus-4-6"), Head(529), body).kind is FailureKind.OVERLOADED


def test_an_error_in_an_array_under_200_is_the_upstreams() -> None:
    with pytest.raises(UpstreamSaid) as said:
        ADAPTER.reply(call_of(), target("gemini-2.5-pro"), OK, GOOGLES)
    assert said.value.failure.kind is FailureKind.RATE_LIMIT


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error":"x"}'])
@pytest.mark.parametrize("model", ["gemini-2.5-pro", "claude-opus-4-6", "meta/llama-4-maas"])
def test_any_error_body_is_a_failure(body: bytes, model: str) -> None:
    assert ADAPTER.failure(target(model), Head(500), body).message
