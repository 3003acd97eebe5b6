"""Calls that a provider can do only in several: one part that breaks, lags or is refused is the whole's affair."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from tests.faults.client import connected, request_bytes, reset
from tests.faults.shapes import FINISH, ROLE, WORDS, completion, delta, fine
from tests.faults.stage import SLACK, Scene, Stage, eventually, staged
from tests.faults.streaming import stream_of
from tests.upstreams.scripted import FIN, RESET, STALL, Step, json_response, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "providers": {"up": {"rules": {"reject_above": {"n": 1}}}},
    "upstream": {"head_seconds": 20, "between_tokens_seconds": 20},
}
WHOLE = stream_of(ROLE, *WORDS, FINISH, b"data: [DONE]\n\n")


def said(events: list[bytes]) -> dict[int, str]:
    """Returns what each choice says."""
    found: dict[int, str] = {}
    for event in events:
        if event != b"[DONE]":
            for choice in json.loads(event)["choices"]:
                found[choice["index"]] = found.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return found


def connections(scene: Scene) -> list[int]:
    return [request.connection for request in scene.requests]


async def test_choices_that_a_server_cannot_make_at_once_are_made_one_by_one(stage: Stage) -> None:
    scene = stage.plays(fine())
    answer = await scene.ask(n=3)
    assert [choice["index"] for choice in answer.json["choices"]] == [0, 1, 2]
    assert answer.json["usage"]["total_tokens"] == 15
    assert answer.headers["x-anyport-attempts"] == "3"
    assert ["n" in json.loads(request.body) for request in scene.requests] == [False] * 3
    record = await stage.settled(answer, attempts=3)
    assert (record["prompt_tokens"], record["usage_source"]) == (9, "reported")
    assert record["overhead_ms"] >= 0


async def test_a_refusal_of_one_part_ends_the_others(stage: Stage) -> None:
    busy = json_response({"error": {"message": "slow down"}}, 429, [("retry-after", "3")])
    for stream in (False, True):
        scene = stage.plays(raw(STALL), busy).hurries()
        started = time.monotonic()
        answer = await scene.ask(n=2, stream=stream)
        assert time.monotonic() - started < SLACK
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == "3"
        await stage.upstream.wait_closed(connections(scene)[0], 2)
        await stage.settled(answer, error="rate_limit_exceeded", attempts=2)


async def test_the_official_sdk_reads_all_choices_of_a_joined_stream(stage: Stage) -> None:
    scene = stage.plays(WHOLE)
    found: dict[int, str] = {}
    ends: dict[int, str] = {}
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{stage.port}/v1", api_key="k", max_retries=0) as client:
        parts = await client.chat.completions.create(
            model=scene.model, messages=[{"role": "user", "content": "Hi"}], stream=True, n=3
        )
        async for part in parts:
            for choice in part.choices:
                found[choice.index] = found.get(choice.index, "") + (choice.delta.content or "")
                if choice.finish_reason:
                    ends[choice.index] = choice.finish_reason
    assert found == dict.fromkeys(range(3), "Hello, wörld")
    assert ends == dict.fromkeys(range(3), "stop")
    await stage.quiet()


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_part_that_fails_goes_elsewhere_and_the_others_stay(stage: Stage, stream: bool) -> None:
    broken = json_response({"error": {"message": "boom"}}, 500)
    good = WHOLE if stream else fine("Hello, wörld")
    first = stage.plays(broken, good)
    second = stage.beside(first, good)
    answer = await first.ask(n=3, stream=stream)
    assert answer.status == 200
    if stream:
        assert answer.event_error is None
        assert said(answer.events) == dict.fromkeys(range(3), "Hello, wörld")
    else:
        assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["Hello, wörld"] * 3
    assert (len(first.requests), len(second.requests)) == (3, 1)
    await stage.settled(answer, attempts=4)


async def test_a_slow_part_holds_nobody_up(stage: Stage) -> None:
    gate = asyncio.Event()
    slow = Played([gate, *WHOLE.steps])
    scene = stage.plays(slow, WHOLE)
    loop = asyncio.get_running_loop()
    one = connected(stage.port)
    try:
        await loop.sock_sendall(one, request_bytes(scene.body(stream=True, n=2)))
        got = b""
        async with asyncio.timeout(SLACK):
            while b'"stop"' not in got:
                got += await loop.sock_recv(one, 65536)
        assert b"[DONE]" not in got, "the slow part is still to come"
        gate.set()
        while more := await loop.sock_recv(one, 65536):
            got += more
    finally:
        one.close()
    assert got.count(b"[DONE]") == 1
    await stage.quiet()


@pytest.mark.parametrize("end", [RESET, FIN], ids=["rst", "fin"])
async def test_a_part_that_is_cut_ends_the_stream_with_an_error(stage: Stage, end: Step) -> None:
    gate = asyncio.Event()
    stays = stream_of(ROLE, *WORDS, end=(STALL,))
    breaks = stream_of(ROLE, WORDS[0], end=(gate, end))
    scene = stage.plays(stays, breaks)
    asking = asyncio.create_task(scene.ask(stream=True, n=2))
    await scene.heard(2)
    gate.set()
    answer = await asking
    assert answer.status == 200
    assert answer.event_error is not None
    assert answer.event_error["code"] == "upstream_disconnected"
    assert set(said(answer.events)) <= {0, 1}
    for connection in connections(scene):
        await stage.upstream.wait_closed(connection, 2)
    await stage.settled(answer, error="upstream_disconnected", attempts=2)


async def test_a_part_that_is_refused_late_ends_the_stream_with_an_error(stage: Stage) -> None:
    gate = asyncio.Event()
    refused = Played([gate, *json_response({"error": {"message": "slow down"}}, 429).steps])
    scene = stage.plays(stream_of(ROLE, *WORDS, end=(STALL,)), refused).hurries()
    loop = asyncio.get_running_loop()
    one = connected(stage.port)
    try:
        await loop.sock_sendall(one, request_bytes(scene.body(stream=True, n=2)))
        got = b""
        while b"lo, " not in got:
            got += await loop.sock_recv(one, 65536)
        gate.set()
        while more := await loop.sock_recv(one, 65536):
            got += more
    finally:
        one.close()
    assert b'"code":"rate_limit_exceeded"' in got
    assert b"[DONE]" not in got
    await stage.quiet()


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "rst"])
@pytest.mark.parametrize("reads", [False, True], ids=["before the commit", "in the stream"])
async def test_a_client_that_leaves_ends_every_part(
    stage: Stage, leave: Callable[[socket.socket], None], reads: bool
) -> None:
    scene = stage.plays(stream_of(ROLE, *(WORDS if reads else ()), end=(STALL,)))
    loop = asyncio.get_running_loop()
    one = connected(stage.port)
    await loop.sock_sendall(one, request_bytes(scene.body(stream=True, n=4), close=False))
    await scene.heard(4)
    got = b""
    while reads and b"lo, " not in got:
        got += await loop.sock_recv(one, 65536)
    leave(one)
    for connection in connections(scene):
        await stage.upstream.wait_closed(connection, 2)
    records = stage.gateway.records

    def ours() -> list[dict[str, object]]:
        return [record for many in records().values() for record in many if record["model"] == scene.model]

    await eventually(ours)
    (record,) = ours()
    assert (record["cancelled"], record["attempts"], record["error"]) == (True, 4, None)
    await stage.quiet()


async def test_a_client_that_does_not_read_stops_every_upstream(stage: Stage) -> None:
    big = stream_of(*[delta(content="x" * 65_000)] * 1_000, FINISH)
    scene = stage.plays(lambda recorded: Played(big.steps))
    one = connected(stage.port)
    try:
        await asyncio.get_running_loop().sock_sendall(one, request_bytes(scene.body(stream=True, n=2), close=False))
        await scene.heard(2)
        peers = [stage.upstream.connections[number] for number in connections(scene)]
        before = stage.gateway.rss_bytes()
        sent, seen = 0, -1
        for _ in range(30):
            sent, seen = sum(peer.sent_bytes for peer in peers), sent
            if sent and sent == seen:
                break
            await asyncio.sleep(0.3)
        assert sent == seen < 100_000_000, "the upstreams have more to say than anybody takes"
        assert stage.gateway.rss_bytes() - before < 20_000_000
    finally:
        reset(one)
    await stage.quiet()


async def test_what_is_over_a_limit_above_one_is_still_refused(stage: Stage) -> None:
    scene = stage.plays(json_response(completion()))
    answer = await scene.ask(n=17)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported_parameter", "n")
    assert not scene.requests
    await stage.settled(answer, error="unsupported_parameter", attempts=0)


async def test_a_joined_stream_is_told_of_the_end_of_the_grace(tmp_path: Path) -> None:
    settings = {**SETTINGS, "server": {"grace_seconds": 0.3}}
    async with staged(tmp_path, settings) as own:
        scene = own.plays(stream_of(ROLE, *WORDS, end=(STALL,)))
        asking = asyncio.create_task(scene.ask(stream=True, n=2))
        await scene.heard(2)
        own.gateway.signal()
        answer = await asking
        assert answer.event_error is not None
        assert answer.event_error["code"] == "server_shutting_down"
        for connection in connections(scene):
            await own.upstream.wait_closed(connection, 2)
        assert await own.gateway.exit_code() == 0
        assert "never retrieved" not in own.gateway.log
        assert "Traceback" not in own.gateway.log
