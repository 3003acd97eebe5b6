"""What only the stock transport does."""

from __future__ import annotations

import socket

from adapters.types import HttpRequest
from gateway.transport.stock import StockTransport
from tests.transport.contract import TIMEOUTS, fetch, get
from tests.upstreams.scripted import ScriptedUpstream, json_response


async def test_the_socket_notices_a_dead_peer() -> None:
    transport = StockTransport()
    async with ScriptedUpstream([json_response({})]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        sock: socket.socket = got._response.extensions["network_stream"].get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        got.release()
        await transport.aclose()


async def test_a_given_proxy_gets_the_request() -> None:
    async with ScriptedUpstream([json_response({"via": "proxy"})]) as proxy:
        transport = StockTransport(proxy=proxy.url)
        request = HttpRequest("POST", "http://upstream.invalid/v1/chat/completions", (), b"{}")
        assert await fetch(transport, request) == (200, b'{"via": "proxy"}')
        await transport.aclose()
    assert proxy.requests[0].path == "http://upstream.invalid/v1/chat/completions"
    assert proxy.requests[0].headers["host"] == "upstream.invalid"
