"""Bugs of our own: told as such, logged once, and nothing stays open behind them."""

from __future__ import annotations

import pytest

from tests.faults.shapes import ROLE, WORDS, delta, event, fine
from tests.faults.stage import Stage, eventually
from tests.faults.streaming import CHUNKED, stream_of
from tests.upstreams.scripted import STALL, chunk, json_response, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")
BUGGY = """
from adapters.openai import OpenAIAdapter
from adapters.openai.stream import OpenAIStream

def trips(cls, name, word):
    good = getattr(cls, name)
    def bad(self, *args):
        said = b" ".join(arg for arg in args if isinstance(arg, bytes))
        said += b" ".join(arg.body for arg in args if hasattr(arg, "body"))
        if word in said:
            raise ZeroDivisionError(name)
        return good(self, *args)
    setattr(cls, name, bad)

trips(OpenAIAdapter, "parts", b"trip in parts")
trips(OpenAIAdapter, "request", b"trip in request")
trips(OpenAIAdapter, "reply", b"trip in reply")
trips(OpenAIAdapter, "stream", b"trip in stream")
trips(OpenAIAdapter, "failure", b"trip in failure")
trips(OpenAIStream, "feed", b"trip in feed")
from gateway.cli.main import run as main
main()
"""
PROGRAM = ("-c", BUGGY)
SETTINGS = {"providers": {"up": {"rules": {"reject_above": {"n": 1}}}}}


async def assert_told_once(stage: Stage, id: str) -> None:
    said = f"request {id} failed inside the gateway"
    await eventually(lambda: said in stage.gateway.log)  # the log is written behind the answer
    await stage.quiet()
    log = stage.gateway.log
    assert log.count(said) == 1
    assert "without a complete response" not in log
    assert "unhandled exception" not in log
    assert "never retrieved" not in log


@pytest.mark.parametrize("place", ["parts", "request", "reply", "stream", "failure"])
@pytest.mark.parametrize("count", [1, 2], ids=["one call", "two parts"])
async def test_an_adapters_bug_is_a_500_with_the_requests_id(stage: Stage, place: str, count: int) -> None:
    played = {
        "failure": json_response({"error": "trip in failure"}, 500),
        "stream": stream_of(ROLE, *WORDS, end=(STALL,)),
    }.get(place, fine("trip in reply"))
    scene = stage.plays(played)
    answer = await scene.ask(user=f"trip in {place}", stream=place == "stream", n=count)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (500, "internal_error", "server_error")
    assert answer.id in answer.error["message"]
    assert "ZeroDivision" not in answer.body.decode()
    before = place in ("parts", "request")
    record = await stage.gateway.record(answer.id)
    assert (record["status"], record["error"]) == (500, "internal_error")
    assert (record["attempts"] == 0) == before
    await assert_told_once(stage, answer.id)
    assert "ZeroDivisionError" in stage.gateway.log


@pytest.mark.parametrize("count", [1, 2], ids=["one call", "two parts"])
async def test_a_bug_after_the_commit_is_an_error_event(stage: Stage, count: int) -> None:
    trip = chunk(event(delta(content="trip in feed")))
    begun = b"".join(chunk(event(one)) for one in (ROLE, *WORDS))
    scene = stage.plays(raw(CHUNKED, begun, 0.1, trip, STALL))
    answer = await scene.ask(stream=True, n=count)
    assert answer.status == 200
    assert answer.event_error is not None
    assert (answer.event_error["code"], answer.event_error["type"]) == ("internal_error", "server_error")
    assert answer.id in answer.event_error["message"]
    for request in scene.requests:
        await stage.upstream.wait_closed(request.connection, 2)
    await stage.settled(answer, error="internal_error", attempts=count)
    await assert_told_once(stage, answer.id)
