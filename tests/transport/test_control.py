"""Control-plane calls: whole answers, short limits, cheap to import."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from gateway.transport.base import Fault, TransportError
from gateway.transport.control import MAX_CONTROL_BYTES, ControlClient, ControlReply
from tests.transport.contract import SLACK_SECONDS
from tests.upstreams.scripted import FIN, STALL, ScriptedUpstream, json_response, raw, response, sse_response


@pytest.fixture
async def client() -> AsyncIterator[ControlClient]:
    made = ControlClient()
    yield made
    await made.aclose()


async def test_a_whole_answer_comes_back_whatever_its_status(client: ControlClient) -> None:
    async with ScriptedUpstream([json_response({"error": "no"}, 404)]) as upstream:
        reply = await client.get(
            upstream.url + "/v1/models", headers=(("authorization", "Bearer t"),), timeout_seconds=20
        )
    assert (reply.status, reply.body) == (404, b'{"error": "no"}')
    assert reply.headers["content-type"] == "application/json"
    assert upstream.requests[0].path == "/v1/models"
    assert upstream.requests[0].headers["authorization"] == "Bearer t"


async def test_a_redirect_is_an_answer(client: ControlClient) -> None:
    async with ScriptedUpstream([raw(response(302, [("location", "http://127.0.0.1:9/")]))]) as upstream:
        reply = await client.get(upstream.url, timeout_seconds=20)
    assert reply == ControlReply(302, {"location": "http://127.0.0.1:9/", "content-length": "0"}, b"")


async def test_a_closed_idle_connection_is_replaced_without_notice(client: ControlClient) -> None:
    answers = [json_response(1), raw(FIN), json_response(2)]
    async with ScriptedUpstream(answers) as upstream:
        assert (await client.get(upstream.url, timeout_seconds=20)).body == b"1"
        assert (await client.get(upstream.url, timeout_seconds=20)).body == b"2"


async def test_a_body_over_the_cap_is_refused(client: ControlClient) -> None:
    async with ScriptedUpstream([raw(response(200, (), bytes(MAX_CONTROL_BYTES + 1)))]) as upstream:
        with pytest.raises(TransportError) as caught:
            await client.get(upstream.url, timeout_seconds=20)
    assert caught.value.fault is Fault.TOO_LARGE


async def test_the_deadline_holds_for_the_whole_answer(client: ControlClient) -> None:
    async with ScriptedUpstream([sse_response(range(1000), gap_seconds=0.05), raw(STALL)]) as upstream:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(TransportError) as caught:
                await client.get(upstream.url, timeout_seconds=0.2)
            assert time.monotonic() - started < SLACK_SECONDS
            assert caught.value.fault is Fault.TIMEOUT


async def test_a_connection_that_cannot_be_made_is_an_error(client: ControlClient) -> None:
    with pytest.raises(TransportError) as caught:
        await client.get("http://127.0.0.1:9/", timeout_seconds=20)
    assert caught.value.fault is Fault.CONNECT


def test_importing_the_interfaces_imports_no_http_library() -> None:
    script = "import sys, gateway.transport.base, gateway.transport.control; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
