"""Hugging Face's router: addresses, embeddings and errors, beside the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import FailureKind
from adapters.huggingface import HuggingFaceAdapter
from adapters.types import Call, Head, HttpRequest, Operation
from gateway.credentials.resolve import resolve_credentials
from gateway.engine.client_errors import client_error
from gateway.http.api.inbound import read_call
from gateway.registry.builtin import load_builtin, to_spec
from tests.adapters.recorded import target_of

ADAPTER = HuggingFaceAdapter()
ROUTER = "https://router.huggingface.co"
OLD = "https://api-inference.huggingface.co"
GONE = f"{OLD} is no longer supported. Please use {ROUTER} instead."
EMBED = Operation.EMBEDDINGS


def call_of(operation: Operation, **fields: Any) -> Call:
    given = {"messages": [{"role": "user", "content": "x"}]} if operation is Operation.CHAT else {}
    return read_call(operation, json.dumps({**given, **fields, "model": "p/m"}).encode(), id="chatcmpl-1", created=1)


def sent(operation: Operation, *, model: str = "org/m", base_url: str = ROUTER, **fields: Any) -> HttpRequest:
    target = target_of(protocol="huggingface", model=model, base_url=base_url)
    return ADAPTER.request(call_of(operation, **fields), target)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (ROUTER, f"{ROUTER}/v1/chat/completions"),
        (ROUTER + "/v1", f"{ROUTER}/v1/chat/completions"),
        (OLD, f"{ROUTER}/v1/chat/completions"),
        (OLD + "/v1", f"{ROUTER}/v1/chat/completions"),
        (
            "https://x.eu.aws.endpoints.huggingface.cloud",
            "https://x.eu.aws.endpoints.huggingface.cloud/v1/chat/completions",
        ),
    ],
)
def test_chats_go_to_the_router_or_to_the_endpoint(base_url: str, url: str) -> None:
    request = sent(Operation.CHAT, base_url=base_url, model="openai/gpt-oss-120b:groq")
    assert request.url == url
    assert json.loads(request.body)["model"] == "openai/gpt-oss-120b:groq"


def test_of_several_tokens_the_one_of_the_first_variable_is_used() -> None:
    spec = to_spec("huggingface", load_builtin()["huggingface"])
    environ = {"HF_TOKEN": "a", "HUGGINGFACE_API_KEY": "b", "HF_API_TOKEN": "c", "ABI_HF_API_TOKEN": "d"}
    found: list[str] = []
    for name in ("ABI_HF_API_TOKEN", "HF_API_TOKEN", "HUGGINGFACE_API_KEY", "HF_TOKEN"):
        (secret,) = resolve_credentials(spec, environ).secrets
        found.append(secret.reveal())
        del environ[name]
    assert found == ["d", "c", "b", "a"]
    assert resolve_credentials(spec, environ).secrets == ()


def test_the_model_stands_first_even_if_nothing_else_changes() -> None:
    for model in ("org/m", "p/m"):
        assert sent(Operation.CHAT, model=model).body.startswith(b'{"model":"' + model.encode())


@pytest.mark.parametrize(
    ("model", "base_url", "url"),
    [
        ("BAAI/bge-m3", ROUTER, f"{ROUTER}/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction"),
        ("BAAI/bge-m3:hf-inference", ROUTER, f"{ROUTER}/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction"),
        ("BAAI/bge-m3:fastest", OLD, f"{ROUTER}/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction"),
        ("odd name?x=1", ROUTER, f"{ROUTER}/hf-inference/models/odd%20name%3Fx%3D1/pipeline/feature-extraction"),
        ("BAAI/bge-m3:scaleway", ROUTER + "/v1", f"{ROUTER}/scaleway/v1/embeddings"),
    ],
)
def test_embeddings_go_to_the_task_or_to_the_named_provider(model: str, base_url: str, url: str) -> None:
    assert sent(EMBED, model=model, base_url=base_url, input="a").url == url


@pytest.mark.parametrize("provider", ["../x", "A B", "-x"])
def test_what_is_no_providers_name_is_refused(provider: str) -> None:
    with pytest.raises(Unsupported) as refused:
        sent(EMBED, model=f"org/m:{provider}", input="a")
    assert refused.value.param == "model"


def test_the_tasks_parameters_stand_at_the_root() -> None:
    request = sent(EMBED, input=["a"], normalize=True, truncate=None, prompt_name="query", dimensions=8, user="u")
    assert json.loads(request.body) == {"inputs": ["a"], "normalize": True, "prompt_name": "query"}
    assert request.dropped == ("dimensions", "user")


def vectors(inputs: Any, answer: Any) -> list[Any]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    target = target_of(protocol="huggingface", base_url=ROUTER)
    reply = ADAPTER.reply(call_of(EMBED, input=inputs), target, Head(200), body)
    return [item["embedding"] for item in json.loads(reply.body)["data"]]


@pytest.mark.parametrize(
    ("inputs", "answer", "expected"),
    [
        ("hi", [0.1, 0.2], [[0.1, 0.2]]),
        (["hi"], [[0.1, 0.2]], [[0.1, 0.2]]),
        ("hi", [[0.1, 0.2]], [[0.1, 0.2]]),
        (["hi"], [0.1, 0.2], [[0.1, 0.2]]),
        (["a", "b"], b" [ [1, 2] ,\n[3,4]]", [[1, 2], [3, 4]]),
        ("hi", [[[1, 0], [0, 1]]], [[0.5, 0.5]]),
        ("hi", [[1, 0], [0, 1]], [[0.5, 0.5]]),
        (["a", "b"], [[[1, 0], [0, 1]], [[3, 5]]], [[0.5, 0.5], [3, 5]]),
    ],
)
def test_vectors_are_found_in_every_depth(inputs: Any, answer: Any, expected: Any) -> None:
    assert vectors(inputs, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [[]],
        [[[]]],
        [["a"]],
        [None],
        [[1], [2], [3]],
        [[[1, 2], [3]], [[1]]],
        b"[1",
        b"",
        b"5",
        b'"x"',
        {},
        [[1e308], "x"],
    ],
)
def test_what_is_no_list_of_vectors_is_never_a_success(answer: Any) -> None:
    with pytest.raises(Malformed):
        vectors(["a", "b"], answer)


def test_a_mean_beyond_a_double_is_no_vector() -> None:
    with pytest.raises(Malformed):
        vectors("a", [[1.7e308], [1.7e308]])


def test_an_error_instead_of_vectors_is_told() -> None:
    with pytest.raises(UpstreamSaid) as said:
        vectors("a", {"error": "Model x is currently loading", "estimated_time": 3.2})
    assert said.value.failure.kind is FailureKind.OVERLOADED
    assert said.value.failure.retry_after == 3.2


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "wait"),
    [
        (503, {"error": "Model x is currently loading", "estimated_time": 3.2}, FailureKind.OVERLOADED, "Model x", 3.2),
        (
            503,
            {"error": "Model x is currently loading", "estimated_time": "soon"},
            FailureKind.OVERLOADED,
            "Model",
            None,
        ),
        (503, {"error": "Model x is currently loading", "estimated_time": -1}, FailureKind.OVERLOADED, "Model", None),
        (400, {"error": ["first", "second"], "warnings": ["w"]}, FailureKind.BAD_REQUEST, "first; second", None),
        (410, {"error": GONE}, FailureKind.UNKNOWN, f"{GONE}; this address", None),
        (402, {"error": "You have exceeded your monthly included credits"}, FailureKind.QUOTA, "You have", None),
        (400, {"error": "m is not supported by any provider"}, FailureKind.MODEL_MISSING, "m is", None),
        (400, {"error": {"message": "The model `m` does not exist"}}, FailureKind.MODEL_MISSING, "The model", None),
        (401, {"error": "Invalid username or password."}, FailureKind.AUTH, "Invalid", None),
        (429, {"error": {"message": "slow down", "type": "rate_limit"}}, FailureKind.RATE_LIMIT, "slow down", None),
        (500, {"error": {"message": "boom"}}, FailureKind.SERVER, "boom", None),
    ],
)
def test_an_error_is_understood(status: int, body: Any, kind: FailureKind, message: str, wait: float | None) -> None:
    target = target_of(protocol="huggingface", base_url=ROUTER)
    failure = ADAPTER.failure(target, Head(status), json.dumps(body).encode())
    assert (failure.kind, failure.retry_after) == (kind, wait)
    assert failure.message.startswith(message)


def test_a_header_says_better_when_to_come_back() -> None:
    body = b'{"error":"Model x is currently loading","estimated_time":3.2}'
    assert ADAPTER.failure(target_of(protocol="huggingface"), Head(503, {"retry-after": "9"}), body).retry_after == 9


@pytest.mark.parametrize(
    ("status", "body", "heard", "code", "headers"),
    [
        (
            503,
            {"error": "Model x is currently loading", "estimated_time": 3.2},
            503,
            "upstream_overloaded",
            {"x-should-retry": "false", "retry-after": "4", "retry-after-ms": "3200"},
        ),
        (402, {"error": "no credits"}, 429, "insufficient_quota", {"x-should-retry": "false"}),
        (410, {"error": GONE}, 502, "upstream_error", {"x-should-retry": "false"}),
    ],
)
def test_the_client_hears_when_to_come_back(
    status: int, body: Any, heard: int, code: str, headers: dict[str, str]
) -> None:
    failure = ADAPTER.failure(target_of(protocol="huggingface"), Head(status), json.dumps(body).encode())
    error = client_error(failure, deployment="huggingface/m", message=failure.message)
    assert (error.status, error.code, dict(error.headers())) == (heard, code, headers)
