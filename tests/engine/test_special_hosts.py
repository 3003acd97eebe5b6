"""Requests to vendors whose place or headers are not the usual ones, from the rows of the table to the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.engine.answer import Answer
from tests.engine.test_cloud_providers import ask, gateway
from tests.upstreams.scripted import Recorded, ScriptedUpstream, json_response

CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


async def sent(directory: Path, model: str, environ: dict[str, str], **providers: Any) -> Recorded:
    """Returns what a request for `model` looks like to a server that all `{url}` lead to."""
    async with ScriptedUpstream([json_response(CHAT)]) as upstream:
        place = {name: value.replace("{url}", upstream.url) for name, value in environ.items()}
        rows = {name: _at(row, upstream.url) for name, row in providers.items()}
        async with gateway(directory, place, **rows) as runtime:
            answer = await ask(runtime, model)
        (request,) = upstream.requests
    assert isinstance(answer, Answer)
    assert b"Hello" in answer.reply.body
    return request


def _at(value: Any, url: str) -> Any:
    if isinstance(value, dict):
        return {name: _at(each, url) for name, each in value.items()}
    return value.replace("{url}", url) if isinstance(value, str) else value


async def test_openrouter_is_told_which_application_asks(tmp_path: Path) -> None:
    row = {"headers": {"HTTP-Referer": "https://app.example", "X-Title": "App"}, "base_url": "{url}/api/v1"}
    request = await sent(
        tmp_path, "openrouter/anthropic/claude-sonnet-4", {"OPENROUTER_API_KEY": "sk-or-x"}, openrouter=row
    )
    assert request.path == "/api/v1/chat/completions"
    assert (request.headers["http-referer"], request.headers["x-title"]) == ("https://app.example", "App")
    assert request.headers["authorization"] == "Bearer sk-or-x"
    assert b'"anthropic/claude-sonnet-4"' in request.body


async def test_openrouter_is_told_of_no_application_that_nobody_named(tmp_path: Path) -> None:
    environ = {"OPENROUTER_API_KEY": "sk-or-x", "OPENROUTER_BASE_URL": "{url}/api/v1"}
    request = await sent(tmp_path, "openrouter/openai/gpt-4o", environ)
    assert not {"http-referer", "x-title"} & set(request.headers)


@pytest.mark.parametrize("place", ["{url}/api/coding/v3/chat/completions", "{url}/api/coding/v3"])
async def test_volcengine_may_be_named_by_its_whole_url(tmp_path: Path, place: str) -> None:
    request = await sent(tmp_path, "volcengine/doubao-seed", {"ARK_API_KEY": "k", "ARK_BASE_URL": place})
    assert request.path == "/api/coding/v3/chat/completions"


@pytest.mark.parametrize(
    ("alias", "region", "variable"),
    [
        ("kimi-cn", "moonshot", "MOONSHOT_API_KEY"),
        ("dashscope-cn", "alibaba", "DASHSCOPE_API_KEY"),
        ("zhipu-cn", "glm", "GLM_API_KEY"),
        ("z.ai-cn", "zai", "ZAI_API_KEY"),
        ("minimaxi", "minimax", "MINIMAX_API_KEY"),
    ],
)
async def test_an_alias_of_a_region_is_called_at_that_region(
    tmp_path: Path, alias: str, region: str, variable: str
) -> None:
    row = {"regions": {"cn": "{url}/china/v1"}}
    request = await sent(tmp_path, f"{alias}/m", {variable: "k"}, **{region: row})
    assert request.path == "/china/v1/chat/completions"


async def test_opencode_gets_no_key_where_there_is_none(tmp_path: Path) -> None:
    request = await sent(tmp_path, "opencode/big-pickle", {"OPENCODE_BASE_URL": "{url}/zen/v1"})
    assert request.path == "/zen/v1/chat/completions"
    assert "authorization" not in request.headers
