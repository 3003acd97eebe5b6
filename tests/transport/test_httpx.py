"""The built-in transport as httpx2 sees it."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.transport.builtin import BuiltinTransport
from tests.upstreams.scripted import FIN, STALL, Answer, ScriptedUpstream, json_response, raw, response, sse_response


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    # The shortest that a busy machine keeps for what should not run into them.
    timeout = httpx2.Timeout(connect=1.0, read=1.0, write=1.0, pool=0.5)
    async with httpx2.AsyncClient(
        transport=BuiltinTransport(max_connections=1), timeout=timeout, trust_env=False
    ) as made:
        yield made


async def test_a_json_call_goes_out_and_comes_back(client: httpx2.AsyncClient) -> None:
    async with ScriptedUpstream([json_response({"a": 1}, 201, [("x-b", "2")])]) as upstream:
        got = await client.post(upstream.url + "/p?q=1", json={"x": 1}, headers={"authorization": "Bearer t"})
    assert (got.status_code, got.json(), got.headers["x-b"]) == (201, {"a": 1}, "2")
    assert (upstream.requests[0].path, upstream.requests[0].json()) == ("/p?q=1", {"x": 1})
    assert upstream.requests[0].headers["authorization"] == "Bearer t"


async def test_a_stream_comes_line_by_line(client: httpx2.AsyncClient) -> None:
    async with (
        ScriptedUpstream([sse_response([1, 2], gap_seconds=0.01)]) as upstream,
        client.stream("GET", upstream.url) as got,
    ):
        lines = [line async for line in got.aiter_lines() if line]
    assert lines == ["data: 1", "data: 2", "data: [DONE]"]


async def test_a_compressed_answer_is_decoded_once(client: httpx2.AsyncClient) -> None:
    answer = raw(response(200, [("content-encoding", "gzip")], gzip.compress(b"plain")))
    async with ScriptedUpstream([answer]) as upstream:
        assert (await client.get(upstream.url)).content == b"plain"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (raw(STALL), httpx2.ReadTimeout),
        (raw(FIN), httpx2.RemoteProtocolError),
        (raw(b"junk\r\n\r\n", STALL), httpx2.RemoteProtocolError),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", FIN), httpx2.RemoteProtocolError),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", STALL), httpx2.ReadTimeout),
    ],
)
async def test_faults_are_httpx_exceptions(
    client: httpx2.AsyncClient, answer: Answer, expected: type[Exception]
) -> None:
    async with ScriptedUpstream([answer]) as upstream:
        with pytest.raises(expected):
            await client.get(upstream.url)


async def test_a_full_pool_is_a_pool_timeout(client: httpx2.AsyncClient) -> None:
    async with (
        ScriptedUpstream([raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", STALL)]) as upstream,
        client.stream("GET", upstream.url),
    ):
        with pytest.raises(httpx2.PoolTimeout):
            await client.get(upstream.url)


async def test_a_stalled_handshake_is_a_connect_timeout(client: httpx2.AsyncClient) -> None:
    async with ScriptedUpstream(reads=False) as upstream:
        with pytest.raises(httpx2.ConnectTimeout):
            await client.get(upstream.url.replace("http", "https"))


async def test_a_missing_host_is_a_connect_error(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.ConnectError):
        await client.get("http://127.0.0.1:9/")
