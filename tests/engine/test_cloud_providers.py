"""Requests to providers that sign or fetch, from the rows of the table to the bytes on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from gateway.domain import Outcome
from gateway.engine.answer import Answer
from gateway.errors import UpstreamError
from gateway.routing.asking import Asking
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from tests.engine.doubles import call_of
from tests.unit.credentials.sigv4_reader import Received, is_well_signed
from tests.unit.credentials.token_endpoint import TokenEndpoint, serving
from tests.upstreams.scripted import Answer as ScriptedAnswer
from tests.upstreams.scripted import Recorded, ScriptedUpstream, json_response

AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/example", "AWS_REGION": "eu-west-1"}
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


@asynccontextmanager
async def gateway(directory: Path, environ: dict[str, str], **providers: Any) -> AsyncIterator[Runtime]:
    path = directory / "anyport.yaml"
    path.write_text(json.dumps({"providers": providers, "discovery": {"enabled": False}}))
    runtime = Runtime(load_settings(path, environ), environ)
    try:
        yield runtime
    finally:
        await runtime.aclose()


async def ask(runtime: Runtime, model: str) -> Any:
    call = call_of(model=model, max_tokens=5)
    return await runtime.executor.run(call, runtime.router.plan(model, Asking(call)), Outcome("r"))


def received(request: Recorded) -> Received:
    return Received(request.method, request.path, request.headers, request.body)


@pytest.mark.parametrize("model", ["eu.anthropic.claude-sonnet-4-5-20250929-v1:0", PROFILE])
async def test_what_bedrock_gets_is_signed_as_it_is_sent(model: str, tmp_path: Path) -> None:
    async with ScriptedUpstream([json_response(CONVERSED)]) as upstream:
        environ = {**AWS, "AWS_SESSION_TOKEN": "s3ssion", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": upstream.url}
        async with gateway(tmp_path, environ) as runtime:
            answer = await ask(runtime, f"bedrock/{model}")
        (request,) = upstream.requests
    assert isinstance(answer, Answer)
    assert b"Hello" in answer.reply.body
    assert "%3A" in request.path
    assert request.headers["x-amz-security-token"] == "s3ssion"
    assert is_well_signed(received(request), AWS["AWS_SECRET_ACCESS_KEY"])


@pytest.mark.parametrize(
    ("name", "body", "sessions"),
    [
        ("ExpiredTokenException:http://internal.amazon.com/", {"message": "expired"}, ["old", "new"]),
        ("", {"__type": "com.amazon.coral.service#UnrecognizedClientException"}, ["old", "new"]),
        ("AccessDeniedException", {"message": "not authorized to perform"}, ["old"]),
    ],
)
async def test_keys_of_aws_that_are_refused_as_expired_are_found_anew_and_the_request_sent_once_more(
    name: str, body: object, sessions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    for variable, value in (("SHARED_CREDENTIALS_FILE", file), ("CONFIG_FILE", tmp_path), ("PROFILE", "work")):
        monkeypatch.setenv(f"AWS_{variable}", str(value))
    file.write_text(of_session("old"))

    def role(request: Recorded) -> ScriptedAnswer:
        if request.headers["x-amz-security-token"] == "new":
            return json_response(CONVERSED)
        file.write_text(of_session("new"))  # as whoever logs in again does
        return json_response(body, 403, (("x-amzn-errortype", name),) if name else ())

    async with ScriptedUpstream(role) as upstream:
        environ = {"AWS_PROFILE": "work", "AWS_REGION": "eu-west-1"}
        async with gateway(tmp_path, environ, bedrock={"base_url": upstream.url}) as runtime:
            with nullcontext() if "new" in sessions else pytest.raises(UpstreamError):
                await ask(runtime, "bedrock/amazon.nova-lite-v1:0")
    assert [request.headers["x-amz-security-token"] for request in upstream.requests] == sessions


def of_session(name: str) -> str:
    return f"[work]\naws_access_key_id=ASIA{name}\naws_secret_access_key=secret-{name}\naws_session_token={name}\n"


async def test_a_bedrock_key_is_sent_and_nothing_is_signed(tmp_path: Path) -> None:
    async with ScriptedUpstream([json_response(CONVERSED)]) as upstream:
        environ = {**AWS, "AWS_BEARER_TOKEN_BEDROCK": "ABSKx", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": upstream.url}
        async with gateway(tmp_path, environ) as runtime:
            await ask(runtime, "bedrock/amazon.nova-lite-v1:0")
        (request,) = upstream.requests
    assert request.headers["authorization"] == "Bearer ABSKx"
    assert not any(name.startswith("x-amz") for name in request.headers)


async def test_a_token_that_cannot_be_had_is_our_fault_and_nothing_is_sent(tmp_path: Path) -> None:
    login = tmp_path / "adc.json"
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "client-s3cret",
        "refresh_token": "1//r3fresh",
    }
    with serving(TokenEndpoint(refusal={"error": "invalid_grant", "error_description": "1//r3fresh"})) as endpoint:
        login.write_text(json.dumps({**user, "token_uri": endpoint.url + "/token"}))
        async with ScriptedUpstream([]) as upstream:
            environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(login), "GOOGLE_VERTEX_PROJECT": "p"}
            environ["GOOGLE_VERTEX_BASE_URL"] = upstream.url
            async with gateway(tmp_path, environ) as runtime:
                with pytest.raises(UpstreamError) as caught:
                    await ask(runtime, "vertex/gemini-2.5-flash")
            assert upstream.requests == []
    assert (caught.value.status, caught.value.code) == (502, "upstream_auth_error")
    assert "invalid_grant" in str(caught.value)
    assert "r3fresh" not in str(caught.value)


async def test_azures_key_and_token_go_their_own_ways(tmp_path: Path) -> None:
    for variable, header, value in (
        ("AZURE_OPENAI_API_KEY", "api-key", "k3y"),
        ("AZURE_OPENAI_AD_TOKEN", "authorization", "Bearer k3y"),
    ):
        async with ScriptedUpstream([json_response({}, 400)]) as upstream:
            environ = {variable: "k3y", "AZURE_OPENAI_ENDPOINT": f"{upstream.url}/openai/v1"}
            async with gateway(tmp_path, environ) as runtime:
                with pytest.raises(UpstreamError):
                    await ask(runtime, "azure/deployment")
            (request,) = upstream.requests
        carried = {name: text for name, text in request.headers.items() if name in ("api-key", "authorization")}
        assert carried == {header: value}


async def test_anthropics_betas_are_one_list(tmp_path: Path) -> None:
    async with ScriptedUpstream([json_response({}, 400)]) as upstream:
        environ = {"ANTHROPIC_OAUTH_TOKEN": "sk-ant-oat01-x", "ANTHROPIC_BASE_URL": upstream.url}
        row = {"headers": {"anthropic-beta": "context-1m-2025-08-07"}}
        async with gateway(tmp_path, environ, anthropic=row) as runtime:
            with pytest.raises(UpstreamError):
                await ask(runtime, "anthropic/claude-sonnet-4-5")
        (request,) = upstream.requests
    assert request.headers["authorization"] == "Bearer sk-ant-oat01-x"
    assert request.headers["anthropic-beta"].replace(" ", "") == "context-1m-2025-08-07,oauth-2025-04-20"
    assert "x-api-key" not in request.headers
