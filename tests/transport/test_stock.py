"""What only the stock transport does."""

from __future__ import annotations

from adapters.types import HttpRequest
from gateway.transport.stock import StockTransport
from tests.transport.contract import fetch
from tests.upstreams.scripted import ScriptedUpstream, json_response


async def test_a_given_proxy_gets_the_request() -> None:
    async with ScriptedUpstream([json_response({"via": "proxy"})]) as proxy:
        transport = StockTransport(proxy=proxy.url)
        request = HttpRequest("POST", "http://upstream.invalid/v1/chat/completions", (), b"{}")
        assert await fetch(transport, request) == (200, b'{"via": "proxy"}')
        await transport.aclose()
    assert proxy.requests[0].path == "http://upstream.invalid/v1/chat/completions"
    assert proxy.requests[0].headers["host"] == "upstream.invalid"
