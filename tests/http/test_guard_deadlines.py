"""Slow and idle clients are sent away in time, busy ones are not."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.http.guard.limits import GuardLimits
from tests.http.guarded_server import SLACK_SECONDS, Said, parse_answers, serving, talk, until

HOST = b"Host: localhost\r\n"
LIMITS = GuardLimits(header_seconds=0.2, body_seconds=0.2, keep_alive_seconds=0.4, linger_seconds=0.2)


async def timed(port: int, *pieces: bytes, pause: float = 0.004) -> tuple[Said, float]:
    started = time.monotonic()
    said = await talk(port, *pieces, pause=pause)
    return said, time.monotonic() - started


def judge_timeout(said: Said) -> None:
    assert [(answer.status, answer.code) for answer in said.answers] == [(408, "request_timeout")]
    assert said.is_closed


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_connection_without_a_request_is_closed_without_a_word(loop: str) -> None:
    with serving(LIMITS, loop) as server:
        said, seconds = await timed(server.port)
        assert (said.raw, said.is_closed) == (b"", True)
        assert 0.2 <= seconds < 0.2 + SLACK_SECONDS


async def test_half_a_head_is_answered_with_408() -> None:
    with serving(LIMITS) as server:
        said, seconds = await timed(server.port, b"GET /x HTTP/1.1\r\nHo")
        judge_timeout(said)
        assert 0.2 <= seconds < 0.2 + SLACK_SECONDS
        assert server.app.dispatched == []


async def test_a_head_that_trickles_is_answered_with_408() -> None:
    with serving(LIMITS) as server:
        head = b"GET /x HTTP/1.1\r\n" + b"A: bcdefgh\r\n" * 20
        said, _ = await timed(server.port, *(head[i : i + 10] for i in range(0, 200, 10)), pause=0.02)
        judge_timeout(said)
        assert server.app.dispatched == []


async def test_half_a_body_is_answered_with_408_and_ends_the_request() -> None:
    with serving(LIMITS) as server:
        message = b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\nhello"
        said, seconds = await timed(server.port, message)
        judge_timeout(said)
        assert 0.2 <= seconds < 0.2 + SLACK_SECONDS
        assert until(lambda: server.app.disconnects == ["/x"])
        assert server.app.answered == []


async def test_a_body_that_trickles_is_answered_with_408() -> None:
    with serving(LIMITS) as server:
        message = b"POST /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        said, _ = await timed(server.port, message, *[b"1\r\nx\r\n"] * 15, pause=0.02)
        judge_timeout(said)


async def test_a_slow_body_above_the_rate_passes() -> None:
    with serving(LIMITS) as server:
        head = b"POST /x HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 30000\r\n\r\n"
        said, seconds = await timed(server.port, head, *[b"x" * 1000] * 30, pause=0.02)
        assert [answer.status for answer in said.answers] == [200]
        assert seconds > 0.5


async def test_after_an_early_answer_and_the_rest_of_the_upload_the_connection_idles() -> None:
    with serving(LIMITS) as server:
        message = b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n"
        said, seconds = await timed(server.port, message, b"x" * 100, pause=0.05)
        assert [answer.status for answer in said.answers] == [401]
        assert 0.4 <= seconds < 0.4 + SLACK_SECONDS


async def test_a_head_that_came_half_behind_a_slow_request_has_its_full_time() -> None:
    with serving(GuardLimits(header_seconds=1.0)) as server:
        slow = b"GET /slow?1.2 HTTP/1.1\r\n" + HOST + b"\r\n"
        rest = b"T /x HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        said, _ = await timed(server.port, slow + b"GE", rest, pause=1.3)
        assert [answer.status for answer in said.answers] == [200, 200]


async def test_a_body_that_the_client_withholds_for_a_100_has_no_deadline() -> None:
    with serving(LIMITS) as server:
        head = b"POST /unread HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.8)
        writer.transport.abort()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_an_idle_connection_is_kept_for_the_next_request_and_then_closed(loop: str) -> None:
    with serving(GuardLimits(keep_alive_seconds=1.2), loop) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(4):
            writer.write(b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")
            await asyncio.sleep(0.4)
        started = time.monotonic()
        raw = await reader.read()
        assert [answer.status for answer in parse_answers(raw)] == [200] * 4
        assert 0.1 < time.monotonic() - started < 1.2 + SLACK_SECONDS
        writer.transport.abort()


async def test_a_long_answer_has_no_deadline() -> None:
    with serving(LIMITS) as server:
        said, seconds = await timed(server.port, b"GET /slow?1 HTTP/1.0\r\n\r\n")
        assert [answer.status for answer in said.answers] == [200]
        assert seconds >= 1


async def test_hundreds_of_idle_connections_cost_no_request_its_answer() -> None:
    with serving(GuardLimits(header_seconds=2.5)) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(300)]
        for _, writer in idle[::2]:
            writer.write(b"GET /x HTTP/1.1\r\nHos")
        said = await talk(server.port, b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n", until=1)
        assert said.answers[0].status == 200
        ends = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in idle)), 2.5 + SLACK_SECONDS)
        assert sum(end.startswith(b"HTTP/1.1 408") for end in ends) == 150
        assert sum(end == b"" for end in ends) == 150
        for _, writer in idle:
            writer.transport.abort()
