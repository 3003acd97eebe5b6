"""What becomes of a request whose token is refused although it should be good."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.answer import Answer
from gateway.errors import UpstreamError
from tests.engine.test_cloud_providers import ask, gateway
from tests.engine.test_special_hosts import CHAT
from tests.unit.credentials.token_endpoint import TokenEndpoint, serving
from tests.upstreams.scripted import ScriptedUpstream, json_response

REVOKED = json_response({"error": {"message": "token_revoked", "code": "token_revoked"}}, 401)


def login_file(directory: Path) -> Path:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 3600}).encode()).decode().rstrip("=")
    path = directory / "auth.json"
    path.write_text(json.dumps({"tokens": {"access_token": f"old.{claims}.s", "refresh_token": "r-1"}}))
    return path


def rows(directory: Path, upstream: ScriptedUpstream, endpoint: TokenEndpoint) -> dict[str, Any]:
    login = {"kind": "codex", "file": str(login_file(directory)), "token_url": endpoint.url + "/oauth/token"}
    return {"mine": {"base_url": upstream.url, "login": login}}


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
    assert sent[0].startswith("Bearer old.") and sent[1:] == ["Bearer ya29.t1"]
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
