"""What Azure has of its own: paths, versions, deployments, content filters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.azure import AzureAdapter
from adapters.failures import FailureKind, FailureRule
from adapters.options import Options
from adapters.types import Call, Head, Operation, Target
from gateway.engine.client_errors import client_error
from gateway.http.api.inbound import read_call
from gateway.registry.builtin import load_builtin, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.registry import Registry
from gateway.routing.deployment import Deployment
from tests.adapters.recorded import events, target_of

ADAPTER = AzureAdapter()
ROOT = "https://r.openai.azure.com"
EMBEDDINGS = Operation.EMBEDDINGS
USER = {"role": "user", "content": "x"}
STREAM = Head(200, {"content-type": "text/event-stream"})
FILTERS = {"hate": {"filtered": False, "severity": "safe"}}


def target(base_url: str = ROOT, version: str = "", model: str = "my-gpt") -> Target:
    return target_of(protocol="azure", base_url=base_url, model=model, options={"api_version": version})


def call_of(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    said: dict[str, Any] = (
        {"input": "a"} if operation is EMBEDDINGS else {"messages": [{"role": "user", "content": "x"}]}
    )
    return read_call(operation, json.dumps({"model": "p/m", **said, **fields}).encode(), id="chatcmpl-1", created=1)


@pytest.mark.parametrize("base", [ROOT, f"{ROOT}/openai", f"{ROOT}/openai/v1"])
def test_the_v1_paths_need_no_version_whatever_the_endpoint_says(base: str) -> None:
    assert ADAPTER.request(call_of(), target(base)).url == f"{ROOT}/openai/v1/chat/completions"
    assert ADAPTER.request(call_of(EMBEDDINGS), target(base)).url == f"{ROOT}/openai/v1/embeddings"


@pytest.mark.parametrize("base", [ROOT, f"{ROOT}/openai", f"{ROOT}/openai/v1"])
def test_a_version_chooses_the_classic_paths(base: str) -> None:
    made = ADAPTER.request(call_of(), target(base, "2024-10-21", "my gpt/4"))
    assert made.url == f"{ROOT}/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("base", "version", "url"),
    [
        (ROOT, "preview", f"{ROOT}/openai/v1/chat/completions?api-version=preview"),
        (
            f"{ROOT}/openai/deployments/mine",
            "2024-10-21",
            f"{ROOT}/openai/deployments/mine/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://r.services.ai.azure.com/models",
            "2024-05-01-preview",
            "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
        ),
        ("https://proxy.example/azure/v1", "", "https://proxy.example/azure/v1/chat/completions"),
        (f"{ROOT}/openai/v1/chat/completions", "", f"{ROOT}/openai/v1/chat/completions"),
    ],
)
def test_other_roots_are_used_as_they_are(base: str, version: str, url: str) -> None:
    assert ADAPTER.request(call_of(), target(base, version)).url == url


@pytest.mark.parametrize("endpoint", [f"{ROOT}/openai/v1/", f"{ROOT}/", ROOT])
def test_an_endpoint_of_the_environment_may_end_with_a_slash(endpoint: str) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": "k"}
    found = Catalogue(Registry([to_spec("azure", load_builtin()["azure"])]), {}, environ).deploy("azure/my-gpt")
    assert isinstance(found, Deployment)
    assert ADAPTER.request(call_of(), found.target).url == f"{ROOT}/openai/v1/chat/completions"
    assert found.key_ring.headers() == (("api-key", "k"),)


def test_a_rows_own_url_stays() -> None:
    own = Target("m", ROOT, {Operation.CHAT: "https://other.example/chat"})
    assert ADAPTER.request(call_of(), own).url == "https://other.example/chat"
    versioned = Target("m", ROOT, own.paths, options=Options(api_version="2024-10-21"))
    assert ADAPTER.request(call_of(), versioned).url == "https://other.example/chat?api-version=2024-10-21"


def test_the_model_is_the_deployment() -> None:
    assert json.loads(ADAPTER.request(call_of(), target()).body)["model"] == "my-gpt"


def test_old_versions_get_the_fields_that_they_know() -> None:
    call = call_of(
        stream=True, stream_options={"include_usage": True}, max_completion_tokens=5, parallel_tool_calls=True
    )
    made = ADAPTER.request(call, target(version="2024-02-01"))
    body = json.loads(made.body)
    assert body.keys() == {"model", "messages", "stream", "max_tokens"}
    assert set(made.dropped) == {"parallel_tool_calls", "stream_options"}
    new = ADAPTER.request(call, target(version="2024-09-01-preview"))
    assert json.loads(new.body).keys() >= {"stream_options", "max_completion_tokens", "parallel_tool_calls"}
    assert new.dropped == ()


def test_foundrys_own_versions_are_other_ones() -> None:
    made = ADAPTER.request(call_of(stream=True), target("https://r.services.ai.azure.com/models", "2024-05-01-preview"))
    assert "stream_options" in json.loads(made.body)


def test_a_stream_that_was_not_asked_to_count_is_counted_only_where_it_can_be() -> None:
    call = call_of(stream=True)
    assert "stream_options" in json.loads(ADAPTER.request(call, target()).body)
    old = ADAPTER.request(call, target(version="2023-07-01-preview"))
    assert "stream_options" not in json.loads(old.body)
    assert old.dropped == ()


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(*choices: Any, **members: Any) -> bytes:
    return frame({"id": "c", "object": "chat.completion.chunk", "choices": list(choices), **members})


def text(content: str, **members: Any) -> bytes:
    return chunk({"index": 0, "delta": {"content": content}, "finish_reason": None, **members})


PREAMBLE = chunk(prompt_filter_results=[{"prompt_index": 0, "content_filter_results": FILTERS}])
FILTER_ONLY = chunk({"index": 0, "finish_reason": None, "content_filter_results": {}, "logprobs": None})
OFFSETS = chunk({
    "index": 0, "finish_reason": None, "content_filter_results": FILTERS,
    "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
})  # fmt: skip
ROLE = chunk({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
END = chunk({"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": FILTERS})
USAGE = chunk(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
DONE = b"data: [DONE]\n\n"


def streamed(*parts: bytes, size: int = 10**6, **fields: Any) -> tuple[list[Any], Any]:
    decoder = ADAPTER.stream(call_of(stream=True, **fields), target(), STREAM)
    data = b"".join(parts)
    out = b"".join(decoder.feed(data[at : at + size]) for at in range(0, len(data), size)) + decoder.close()
    return events(out), decoder


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_what_the_filter_says_on_its_own_is_not_told(size: int) -> None:
    found, decoder = streamed(
        PREAMBLE, FILTER_ONLY, ROLE, text("hi"), OFFSETS, text("!", content_filter_results=FILTERS), END, OFFSETS,
        USAGE, DONE, size=size, stream_options={"include_usage": True},
    )  # fmt: skip
    assert all("delta" in choice for each in found[:-1] for choice in each["choices"])
    assert [each["choices"][0]["delta"].get("content") for each in found[:-2]] == ["", "hi", "!", None]
    assert found[-2]["usage"]["total_tokens"] == 5
    assert decoder.is_done
    assert decoder.usage.completion == 2


def test_the_filter_alone_commits_nothing() -> None:
    decoder = ADAPTER.stream(call_of(stream=True), target(), STREAM)
    assert decoder.feed(PREAMBLE + FILTER_ONLY) == b""
    assert not decoder.has_content


def test_an_answer_that_the_filter_ended_says_so() -> None:
    blocked = chunk({"index": 0, "finish_reason": "content_filter", "content_filter_results": {"hate": {}}})
    found, decoder = streamed(ROLE, text("hi"), blocked, DONE)
    assert decoder.finish == "content_filter"
    assert found[-2]["choices"][0]["finish_reason"] == "content_filter"


def test_text_completions_have_no_delta_and_are_told() -> None:
    body = b'{"model":"p/m","prompt":"a","stream":true}'
    call = read_call(Operation.COMPLETIONS, body, id="cmpl-1", created=1)
    decoder = ADAPTER.stream(call, target(), STREAM)
    piece = chunk({"index": 0, "text": "hi", "finish_reason": None, "content_filter_results": FILTERS})
    assert b'"hi"' in decoder.feed(piece)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (
            400,
            {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}, "status": 400},
            FailureKind.CONTENT_FILTER,
        ),
        (404, {"code": "DeploymentNotFound", "type": "invalid_request_error"}, FailureKind.MODEL_MISSING),
        (401, {"code": "401"}, FailureKind.AUTH),
        (401, {"code": "PermissionDenied"}, FailureKind.AUTH),
        (429, {"code": "RateLimitReached"}, FailureKind.RATE_LIMIT),
        (429, {"code": "insufficient_quota"}, FailureKind.QUOTA),
        (400, {"code": "context_length_exceeded"}, FailureKind.CONTEXT_LENGTH),
        (400, {"code": "unsupported_parameter", "param": "max_tokens"}, FailureKind.BAD_REQUEST),
        (400, {"code": "unknown_model"}, FailureKind.MODEL_MISSING),
        (500, {"code": "500"}, FailureKind.SERVER),
    ],
)
def test_azures_errors_are_known(status: int, error: Any, kind: FailureKind) -> None:
    body = json.dumps({"error": {"message": "no", **error}}).encode()
    failure = ADAPTER.failure(target(), Head(status), body)
    assert (failure.kind, failure.message, failure.code, failure.status) == (kind, "no", error["code"], status)


def test_a_prompt_that_the_filter_refused_is_the_clients_400_and_not_for_another_try() -> None:
    error = {"message": "no", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}
    failure = ADAPTER.failure(target(), Head(400), json.dumps({"error": error}).encode())
    heard = client_error(failure, deployment="azure/my-gpt", message=failure.message)
    assert (heard.status, heard.code) == (400, "content_filter")
    assert dict(heard.headers()) == {"x-should-retry": "false"}


def test_the_wait_that_azure_asks_for_is_read() -> None:
    head = Head(429, {"retry-after": "1", "retry-after-ms": "0"})
    assert ADAPTER.failure(target(), head, b'{"error":{"code":"RateLimitReached"}}').retry_after == 1.0


def test_a_rows_own_rules_come_first() -> None:
    own = Target("m", ROOT, {}, failure_rules=(FailureRule(FailureKind.AUTH, code="DeploymentNotFound"),))
    assert ADAPTER.failure(own, Head(404), b'{"error":{"code":"DeploymentNotFound"}}').kind is FailureKind.AUTH
