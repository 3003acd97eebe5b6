"""Connections that are opened before the first request, to servers on real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.types import HttpRequest
from gateway.domain import ProviderSpec
from gateway.registry.warming import warm
from gateway.runtime import Runtime
from gateway.settings.model import Settings
from gateway.storage.factory import DATA_VARIABLE
from gateway.transport.base import Timeouts, Transport
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.stock import StockTransport
from tests.upstreams.scripted import STALL, Answer, Recorded, ScriptedUpstream, raw, response

SPEC = ProviderSpec("acme", "Acme", "openai", "http://127.0.0.1:1/v1")
NOBODY = "http://127.0.0.1:1/v1"


def server(request: Recorded) -> Answer:
    """Demands a key of whoever asks for its models, and keeps its connections."""
    return raw(response(401 if request.method == "GET" else 200, body=b"{}"))


@pytest.mark.parametrize("make", [BuiltinTransport, StockTransport])
async def test_the_first_request_finds_an_open_connection(make: type[Any]) -> None:
    transport: Transport = make()
    async with ScriptedUpstream(server) as upstream:
        await warm(transport, [(SPEC, f"{upstream.url}/v1"), (SPEC, f"{upstream.url}/v2"), (SPEC, NOBODY)], 5)
        answer = await transport.send(HttpRequest("POST", f"{upstream.url}/v1/x", (), b"{}"), Timeouts())
        await answer.read()
        answer.release()
        await transport.aclose()
    assert [(each.method, each.path, each.connection) for each in upstream.requests] == [
        ("GET", "/v1/models", 0),
        ("POST", "/v1/x", 0),
    ]
    assert "authorization" not in upstream.requests[0].headers


async def test_a_place_that_does_not_answer_is_given_up() -> None:
    transport = BuiltinTransport()
    async with ScriptedUpstream([Answer([STALL])]) as upstream, asyncio.timeout(10):
        await warm(transport, [(SPEC, upstream.url)], 0.05)
        await transport.aclose()


@pytest.mark.parametrize(("is_on", "knocks"), [(True, 1), (False, 0)])
async def test_it_happens_at_the_start_if_the_file_says_so(is_on: bool, knocks: int, tmp_path: Path) -> None:
    async with ScriptedUpstream(server) as upstream:
        said = {
            "upstream": {"warmup": is_on},
            "discovery": {"enabled": False},
            "server": {"access_log": "off"},
            "providers": {"mine": {"base_url": f"{upstream.url}/v1", "credentials": ["k"]}},
            "routes": {"r": {"deployments": [{"model": "mine/m"}, {"model": "demo/echo"}]}},
        }
        runtime = Runtime(Settings.model_validate(said), {DATA_VARIABLE: str(tmp_path)})
        await runtime.start()
        async with asyncio.timeout(10):
            await upstream.wait_for_requests(knocks)
        await runtime.aclose()
        assert len(upstream.requests) == knocks
