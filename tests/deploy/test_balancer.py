"""The balancer, haproxy with the file that is deployed or the small proxy of the tests, does what replicas need."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest

from tests.deploy.balancer import CHECK_SECONDS, Kind, balancer, kinds
from tests.state.server import free_port
from tests.upstreams.scripted import FIN, RESET, Answer, Recorded, ScriptedUpstream, json_response, raw, response

SLACK_SECONDS = 10.0

pytestmark = pytest.mark.parametrize("kind", kinds())


class Replica:
    """Says its name to every request, whether it is ready to every look, and closes where it is asked to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ready = True
        self.requests = 0
        self.looks = 0

    def __call__(self, request: Recorded) -> Answer:
        if request.path == "/health/ready":
            self.looks += 1
            return json_response({}, status=200 if self.is_ready else 503)
        self.requests += 1
        body = f'{{"replica": "{self.name}"}}'.encode()
        head = [("content-type", "application/json")]
        if request.headers.get("connection") != "close":
            return raw(response(200, head, body))
        return raw(response(200, [*head, ("connection", "close")], body), FIN)


async def until(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SLACK_SECONDS
    while not is_so():
        assert time.monotonic() < end, what
        await asyncio.sleep(CHECK_SECONDS / 10)


async def test_requests_of_one_client_go_to_all_replicas(kind: Kind) -> None:
    one, two = Replica("one"), Replica("two")
    async with (
        ScriptedUpstream(one) as first,
        ScriptedUpstream(two) as second,
        balancer([first.port, second.port], kind) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        said = Counter([(await client.get("/")).json()["replica"] for _ in range(20)])
    assert min(said["one"], said["two"]) >= 5


async def test_a_replica_that_is_not_ready_gets_nothing_until_it_is(kind: Kind) -> None:
    one, two = Replica("one"), Replica("two")
    async with (
        ScriptedUpstream(one) as first,
        ScriptedUpstream(two) as second,
        balancer([first.port, second.port], kind) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        one.is_ready = False
        before = one.looks
        await until("the balancer looks again", lambda: one.looks >= before + 2)
        sent = one.requests
        assert {(await client.get("/")).json()["replica"] for _ in range(10)} == {"two"}
        assert one.requests == sent
        one.is_ready = True
        end = time.monotonic() + SLACK_SECONDS
        while (await client.get("/")).json()["replica"] != "one":
            assert time.monotonic() < end


async def test_a_request_that_no_replica_took_goes_to_another_one(kind: Kind) -> None:
    async with (
        ScriptedUpstream(Replica("one")) as there,
        balancer([free_port(), there.port], kind) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        assert [(await client.get("/")).status_code for _ in range(6)] == [200] * 6


async def test_a_request_that_was_sent_is_never_sent_again(kind: Kind) -> None:
    sent: list[str] = []

    def breaks(request: Recorded) -> Answer:
        if request.path == "/health/ready":
            return json_response({})
        sent.append(request.path)
        return raw(RESET)

    async with (
        ScriptedUpstream(breaks) as first,
        ScriptedUpstream(breaks) as second,
        balancer([first.port, second.port], kind) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        with contextlib.suppress(httpx2.TransportError):
            assert (await client.post("/", json={})).status_code == 502
        await asyncio.sleep(2 * CHECK_SECONDS)
    assert len(sent) == 1


async def test_each_piece_of_a_stream_comes_as_it_was_sent(kind: Kind) -> None:
    read = asyncio.Event()
    head = response(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")], length=False)

    def streams(request: Recorded) -> Answer:
        if request.path == "/health/ready":
            return json_response({})
        return raw(head, b"5\r\nfirst\r\n", read, b"4\r\nlast\r\n0\r\n\r\n")

    async with (
        ScriptedUpstream(streams) as upstream,
        balancer([upstream.port], kind) as port,
        httpx2.AsyncClient(timeout=SLACK_SECONDS) as client,
        client.stream("POST", f"http://127.0.0.1:{port}/", json={}) as answer,
    ):
        pieces: list[bytes] = []
        async for piece in answer.aiter_raw():
            pieces.append(piece)
            read.set()  # the second piece is not even written before the first one has arrived
    assert pieces == [b"first", b"last"]


async def test_a_client_that_leaves_ends_its_request_at_the_replica(kind: Kind) -> None:
    head = response(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")], length=False)
    never = asyncio.Event()

    def streams(request: Recorded) -> Answer:
        return json_response({}) if request.path == "/health/ready" else raw(head, b"5\r\nfirst\r\n", never)

    async with ScriptedUpstream(streams) as upstream, balancer([upstream.port], kind) as port:
        async with httpx2.AsyncClient() as client, client.stream("POST", f"http://127.0.0.1:{port}/", json={}) as left:
            assert await anext(left.aiter_raw()) == b"first"
        (number,) = {each.connection for each in upstream.requests if each.method == "POST"}
        await asyncio.wait_for(upstream.connections[number].closed.wait(), SLACK_SECONDS)
        never.set()
