"""Every way to fail reaches the official SDK as the exception that fits, with a message that helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import (
    APIError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)

from tests.e2e.answers import chunk, completion, error, text_chunks
from tests.e2e.conftest import StartGateway, scripted_config
from tests.e2e.llama import free_port
from tests.e2e.stage import Stage
from tests.upstreams.scripted import FIN, RESET, STALL, json_response, raw, response, sse_response
from tests.upstreams.scripted import chunk as http_chunk

HELLO: Any = [{"role": "user", "content": "Hello"}]
FIRST_WORDS = text_chunks("Once", " upon")[:3]


@pytest.fixture(scope="module")
def locked(gateway: StartGateway, stage: Stage) -> str:
    """A gateway that demands a key."""
    config = scripted_config(stage.url)
    return gateway({**config, "server": {**config["server"], "api_keys": ["sk-of-a-client"]}})


@pytest.fixture(scope="module")
def impatient(gateway: StartGateway, stage: Stage) -> Iterator[OpenAI]:
    """A client of a gateway that waits for an upstream no longer than half a second."""
    url = gateway({**scripted_config(stage.url), "upstream": {"answer_seconds": 1.0, "between_tokens_seconds": 1.0}})
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20) as client:
        yield client


@pytest.mark.parametrize("key", ["sk-wrong", "sk-of-a-clien", "sk-of-a-clientt"])
def test_a_wrong_key_is_an_authentication_error(locked: str, key: str) -> None:
    with OpenAI(base_url=f"{locked}/v1", api_key=key) as client, pytest.raises(AuthenticationError) as caught:
        client.chat.completions.create(model="stub/quick", messages=HELLO)
    assert caught.value.status_code == 401
    assert caught.value.code == "invalid_api_key"
    assert key not in str(caught.value)


def test_the_right_key_opens_the_door_and_stays_inside(locked: str, scripted: Stage) -> None:
    scripted.play(json_response(completion("Come in")))
    with OpenAI(base_url=f"{locked}/v1", api_key="sk-of-a-client") as client:
        answer = client.chat.completions.create(model="stub/quick", messages=HELLO)
    assert answer.choices[0].message.content == "Come in"
    assert "sk-of-a-client" not in str(scripted.last.headers)


def test_an_unknown_model_is_not_found_and_the_nearest_name_is_told(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model="fasst", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "did you mean fast" in caught.value.message


def test_a_provider_without_a_credential_says_which_variable_to_set(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model="groq/llama-3.3-70b-versatile", messages=HELLO)
    assert "GROQ_API_KEY" in caught.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": HELLO, "stream": "yes"}, "stream"),
        ({"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_wrong_request_is_a_bad_request_that_names_the_field(client: OpenAI, body: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.post("/chat/completions", body={"model": "stub/quick", **body}, cast_to=object)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_an_upstreams_refusal_of_a_field_is_passed_on(client: OpenAI, scripted: Stage, model: str) -> None:
    body = {"message": "temperature must be at most 2", "type": "t", "param": "temperature", "code": "invalid_value"}
    scripted.play(json_response({"error": body}, 400))
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, temperature=9)
    assert caught.value.param == "temperature"
    assert caught.value.code == "invalid_value"
    assert "temperature must be at most 2" in caught.value.message


def test_a_rate_limit_comes_with_the_time_to_wait(client: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(error(429, "slow down", code="rate_limit_exceeded", headers=[("retry-after", "70")]))
    with pytest.raises(RateLimitError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "70"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.code == "rate_limit_exceeded"


def test_an_empty_account_is_not_tried_again(client: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(error(429, "no money left", code="insufficient_quota"))
    with pytest.raises(RateLimitError) as caught:
        client.with_options(max_retries=2).chat.completions.create(model=model, messages=HELLO)
    assert caught.value.code == "insufficient_quota"
    assert len(scripted.requests) == 1


def test_a_short_rate_limit_is_waited_for_and_the_client_does_not_hear_of_it(
    client: OpenAI, scripted: Stage, model: str
) -> None:
    scripted.play(error(429, "slow down", headers=[("retry-after-ms", "20")]), json_response(completion("At last")))
    answer = client.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content == "At last"
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(("status", "seen"), [(500, 502), (502, 502), (503, 503), (529, 503)])
def test_an_upstreams_breakdown_is_a_server_error(
    client: OpenAI, scripted: Stage, model: str, status: int, seen: int
) -> None:
    scripted.play(error(status, "it burns"))
    with pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.status_code == seen
    assert model in caught.value.message and "it burns" in caught.value.message
    assert len(scripted.requests) == 2


def test_the_sdk_does_not_repeat_what_the_gateway_has_repeated(client: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(error(500, "it burns"))
    with pytest.raises(InternalServerError) as caught:
        client.with_options(max_retries=5).chat.completions.create(model=model, messages=HELLO)
    assert len(scripted.requests) == 2
    body: Any = caught.value.body
    assert body["details"]["attempts"] == [{"deployment": model, "kind": "server", "status": 500}] * 2


def test_a_refused_upstream_credential_is_not_the_clients_fault(
    gateway: StartGateway, stage: Stage, scripted: Stage
) -> None:
    config = scripted_config(stage.url)
    url = gateway({**config, "providers": {"openai": config["providers"]["openai"]}, "routes": {}})
    scripted.play(error(401, "Incorrect API key provided: sk-upstream-secret-0001", code="invalid_api_key"))
    with (
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=2) as client,
        pytest.raises(InternalServerError) as caught,
    ):
        client.chat.completions.create(model="openai/gpt-5", messages=HELLO)
    assert caught.value.code == "upstream_auth_error"
    assert "sk-upstream-secret-0001" not in str(caught.value.body)
    assert len(scripted.requests) == 1


def test_a_silent_upstream_is_our_timeout_and_names_the_setting(impatient: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(raw(STALL))
    with pytest.raises(InternalServerError) as caught:
        impatient.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.status_code == 504
    assert caught.value.code == "upstream_timeout"
    assert "upstream.answer_seconds" in caught.value.message


def test_an_upstream_that_falls_silent_is_our_timeout_too(impatient: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(sse_response(FIRST_WORDS, done=False, end=[STALL]))
    with (
        impatient.chat.completions.create(model=model, messages=HELLO, stream=True) as stream,
        pytest.raises(APIError) as caught,
    ):
        list(stream)
    assert caught.value.code == "upstream_timeout"
    assert "upstream.between_tokens_seconds" in caught.value.message


def test_an_unreachable_upstream_is_a_bad_gateway(gateway: StartGateway) -> None:
    row = {"protocol": "openai", "base_url": f"http://127.0.0.1:{free_port()}/v1", "requires_credential": False}
    url = gateway({"server": {"access_log": "off"}, "discovery": {"enabled": False}, "providers": {"gone": row}})
    with (
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        pytest.raises(InternalServerError) as caught,
    ):
        client.chat.completions.create(model="gone/x", messages=HELLO)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_connection_error"


def test_an_error_under_status_200_is_an_error(client: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(json_response({"error": {"message": "Rate limited by Alibaba", "code": 429}}))
    with pytest.raises(RateLimitError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert isinstance(caught.value.code, str)


def test_html_instead_of_a_stream_is_an_error_and_not_an_empty_stream(
    client: OpenAI, scripted: Stage, model: str
) -> None:
    scripted.play(raw(response(200, [("content-type", "text/html")], b"<html>Welcome</html>")))
    with pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, stream=True)
    assert caught.value.status_code == 502


def test_an_error_before_the_first_word_of_a_stream_has_a_real_status(
    client: OpenAI, scripted: Stage, model: str
) -> None:
    said = {"error": {"message": "The model is overloaded", "type": "overloaded_error", "code": 503}}
    scripted.play(sse_response([chunk({"role": "assistant", "content": ""}), said], done=False))
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, stream=True)
    assert caught.value.status_code == 503
    assert "The model is overloaded" in caught.value.message


HEAD = response(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")], length=False)
BREAKS = {
    "the connection is reset": sse_response(FIRST_WORDS, done=False, end=[0.05, RESET]),
    "the connection closes within a chunk": sse_response(FIRST_WORDS, done=False, end=[b"ff\r\ndata: {", FIN]),
    "the body ends too early": sse_response(FIRST_WORDS, done=False),
    "the body ends too early without framing": sse_response(FIRST_WORDS, done=False, chunked=False),
    "[DONE] comes without a finish": sse_response(FIRST_WORDS),
    "an event is no JSON": sse_response([*FIRST_WORDS, "{oops"], done=False),
    "the upstream reports an error": sse_response([*FIRST_WORDS, {"error": {"message": "out of memory"}}]),
    "the upstream reports an error in vLLM's way": sse_response(
        [*FIRST_WORDS, {"object": "error", "message": "out of memory", "code": 500}]
    ),
    "the chunk's size is no number": raw(
        HEAD, http_chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Once upon"}}]}\n\n'), b"zz\r\n"
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_that_breaks_after_its_first_words_raises(
    client: OpenAI, scripted: Stage, model: str, name: str
) -> None:
    scripted.play(BREAKS[name])
    words: list[str] = []
    with (
        client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream,
        pytest.raises(APIError) as caught,
    ):
        for each in stream:
            words += [choice.delta.content or "" for choice in each.choices]
    assert "".join(words) == "Once upon"
    assert caught.value.message.startswith(f"{model}: ")
    assert caught.value.body is not None


async def test_a_broken_stream_raises_in_the_async_client_too(
    async_client: AsyncOpenAI, scripted: Stage, model: str
) -> None:
    scripted.play(BREAKS["the body ends too early"])
    stream = await async_client.chat.completions.create(model=model, messages=HELLO, stream=True)
    with pytest.raises(APIError, match=f"{model}: "):
        async for _ in stream:
            pass
    await stream.close()


def test_a_broken_stream_raises_in_the_helper_too(client: OpenAI, scripted: Stage, model: str) -> None:
    scripted.play(BREAKS["the connection is reset"])
    with (
        pytest.raises(APIError, match=f"{model}: "),
        client.chat.completions.stream(model=model, messages=HELLO) as stream,
    ):
        stream.until_done()


def test_an_unknown_path_answers_in_the_shape_that_the_sdk_reads(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.moderations.create(input="x")
    assert caught.value.code == "unknown_url"
    assert "/v1/moderations" in caught.value.message
