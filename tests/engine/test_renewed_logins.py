"""What becomes of a request whose token is refused although it should be good."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.answer import Answer
from gateway.errors import UpstreamError
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from tests.engine.test_cloud_providers import ask, gateway
from tests.engine.test_special_hosts import CHAT
from tests.unit.credentials.token_endpoint import TokenEndpoint, serving
from tests.upstreams.scripted import Answer as ScriptedAnswer
from tests.upstreams.scripted import Recorded, ScriptedUpstream, json_response, sse_response

REVOKED = json_response({"error": {"message": "token_revoked", "code": "token_revoked"}}, 401)


def login_file(directory: Path) -> Path:
    path = directory / "creds.json"
    ends_ms = (time.time() + 3600) * 1000
    path.write_text(json.dumps({"access_token": "ya29.old", "refresh_token": "r-1", "expiry_date": ends_ms}))
    return path


def rows(directory: Path, upstream: ScriptedUpstream, endpoint: TokenEndpoint) -> dict[str, Any]:
    login = {"kind": "gemini_cli", "file": str(login_file(directory)), "token_url": endpoint.url + "/token"}
    return {"mine": {"base_url": upstream.url, "login": {**login, "client_id": "c-1"}}}


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_token_that_is_refused_is_renewed_and_the_request_sent_once_more(tmp_path: Path) -> None:
    with serving(TokenEndpoint()) as endpoint:
        async with ScriptedUpstream([REVOKED, json_response(CHAT)]) as upstream:
            async with gateway(tmp_path, {}, **rows(tmp_path, upstream, endpoint)) as runtime:
                answer = await ask(runtime, "mine/m")
            sent = [request.headers["authorization"] for request in upstream.requests]
    assert isinstance(answer, Answer)
    assert sent == ["Bearer ya29.old", "Bearer ya29.t1"]
    assert len(endpoint.asked) == 1


async def test_a_new_token_that_is_refused_as_well_is_the_end_of_it(tmp_path: Path) -> None:
    with serving(TokenEndpoint()) as endpoint:
        async with ScriptedUpstream([REVOKED, REVOKED, REVOKED]) as upstream:
            async with gateway(tmp_path, {}, **rows(tmp_path, upstream, endpoint)) as runtime:
                with pytest.raises(UpstreamError) as caught:
                    await ask(runtime, "mine/m")
            assert len(upstream.requests) == 2
    assert caught.value.code == "upstream_auth_error"
    assert len(endpoint.asked) == 1


async def test_the_login_of_the_gemini_cli_is_sent_to_code_assist_under_our_own_name(tmp_path: Path) -> None:
    creds = {"access_token": "ya29.cli", "refresh_token": "1//r", "expiry_date": (time.time() + 3600) * 1000}
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini/oauth_creds.json").write_text(json.dumps(creds))
    candidates = [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]
    async with ScriptedUpstream([json_response({"response": {"candidates": candidates}, "traceId": "t"})]) as upstream:
        row = {"base_url": f"{upstream.url}/v1internal", "options": {"project": "p-1"}}
        async with gateway(tmp_path, {"HOME": str(tmp_path)}, **{"gemini-cli": row}) as runtime:
            answer = await ask(runtime, "gemini-cli/gemini-2.5-pro")
            (warning,) = [each for each in runtime.warnings if each.startswith("gemini-cli: ")]
        (request,) = upstream.requests
    assert isinstance(answer, Answer) and b"Hello" in answer.reply.body
    assert request.path == "/v1internal:generateContent"
    assert request.headers["authorization"] == "Bearer ya29.cli"
    assert request.headers["user-agent"] == "Anyport"
    body = json.loads(request.body)
    assert (body["model"], body["project"]) == ("gemini-2.5-pro", "p-1")
    assert "terms may forbid" in warning and "under its own name" in warning


ACCOUNT: Any = {"currentTier": {"id": "free-tier"}, "cloudaicompanionProject": {"id": "p-of-the-account"}}
NOBODY: Any = {"ineligibleTiers": [{"reasonMessage": "Not offered in your country"}]}


@asynccontextmanager
async def code_assist(directory: Path, account: ScriptedAnswer) -> AsyncIterator[tuple[Runtime, ScriptedUpstream]]:
    """Gives a gateway for a login of the Gemini CLI of whose project nobody has said anything."""
    candidates = [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]

    def role(request: Recorded) -> ScriptedAnswer:
        is_question = request.path == "/v1internal:loadCodeAssist"
        return account if is_question else json_response({"response": {"candidates": candidates}})

    login = {"file": str(login_file(directory))}
    async with ScriptedUpstream(role) as upstream:
        row = {"base_url": f"{upstream.url}/v1internal", "login": login}
        async with gateway(directory, {"HOME": str(directory)}, **{"gemini-cli": row}) as runtime:
            yield runtime, upstream


async def test_code_assist_is_asked_once_for_the_project_of_an_account(tmp_path: Path) -> None:
    async with code_assist(tmp_path, json_response(ACCOUNT)) as (runtime, upstream):
        await asyncio.gather(*(ask(runtime, f"gemini-cli/gemini-2.5-{name}") for name in ("pro", "flash", "pro")))
        await ask(runtime, "gemini-cli/gemini-2.5-pro")
    question, *requests = upstream.requests
    assert question.headers["authorization"] == "Bearer ya29.old"
    assert question.headers["user-agent"] == "Anyport"
    assert {request.path for request in requests} == {"/v1internal:generateContent"}
    assert [json.loads(request.body)["project"] for request in requests] == ["p-of-the-account"] * 4


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (json_response(NOBODY), "the account has no project (Not offered in your country); set"),
        (json_response({"error": {"message": "no ya29.old"}}, 403), "it answered HTTP 403: no ***; set"),
        (json_response([]), "the account has no project; set"),
    ],
)
async def test_an_account_without_a_project_is_told_what_to_do_and_nothing_is_sent(
    account: ScriptedAnswer, said: str, tmp_path: Path
) -> None:
    async with code_assist(tmp_path, account) as (runtime, upstream):
        with pytest.raises(UpstreamError) as caught:
            await ask(runtime, "gemini-cli/gemini-2.5-pro")
    assert f"names no project: {said} providers.gemini-cli.options.project, or run `gemini`" in str(caught.value)
    assert [request.path for request in upstream.requests] == ["/v1internal:loadCodeAssist"]


async def test_it_is_not_used_where_the_file_does_not_name_it(tmp_path: Path) -> None:
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini/oauth_creds.json").write_text('{"access_token": "ya29.cli"}')
    async with gateway(tmp_path, {"HOME": str(tmp_path)}) as runtime:
        found = runtime.catalogue.deploy("gemini-cli/gemini-2.5-pro")
    assert found == (
        "gemini-cli has no credential; put `gemini-cli: {}` under `providers`, which says that its login may be used"
    )


async def test_the_login_of_codex_is_sent_to_its_back_end_under_our_own_name(tmp_path: Path) -> None:
    claims = {"exp": time.time() + 3600, "https://api.openai.com/auth": {"chatgpt_account_id": "acc-1"}}
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    (tmp_path / "auth.json").write_text(json.dumps({"tokens": {"access_token": f"a.{part}.b", "refresh_token": "r"}}))
    done = {"status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2}}
    events = [
        {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
        {"type": "response.completed", "response": done},
    ]
    async with ScriptedUpstream([sse_response(events)]) as upstream:
        row = {
            "base_url": f"{upstream.url}/backend-api/codex",
            "profiles": {"work": {"login": {"file": "~/auth.json"}}},
        }
        routes = {"mine": {"deployments": [{"model": "openai-codex/gpt-5.3-codex", "profile": "work"}]}}
        path = tmp_path / "anyport.yaml"
        path.write_text(json.dumps({"providers": {"openai-codex": row}, "routes": routes}))
        environ = {"HOME": str(tmp_path)}
        runtime = Runtime(load_settings(path, environ), environ)
        try:
            answer = await ask(runtime, "mine")
        finally:
            await runtime.aclose()
        (request,) = upstream.requests
    assert isinstance(answer, Answer)
    assert json.loads(answer.reply.body)["choices"][0]["message"]["content"] == "Hello"
    assert request.path == "/backend-api/codex/responses"
    assert request.headers["authorization"] == f"Bearer a.{part}.b"
    assert (request.headers["chatgpt-account-id"], request.headers["originator"]) == ("acc-1", "anyport")
    assert request.headers["user-agent"] == "Anyport"
