"""What follows a failed attempt: a fresh connection, another key, another deployment, a fallback, a pause, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.failures import FailureKind as K
from adapters.openai import OpenAIAdapter
from adapters.parts import split_choices
from adapters.types import Call, Head, Reply, Target
from gateway.engine.answer import Answer, SingleStream
from gateway.engine.parts import JoinedStream
from gateway.errors import UnsupportedParameter, UpstreamError
from gateway.health.vitals import HealthPolicy
from gateway.resilience.consequences import Turn
from gateway.routing.route import Fallback, RetryPolicy
from gateway.transport.base import Fault
from tests.engine.doubles import END, MORE, PING, ROLE, TEXT, call_of, dead
from tests.engine.fleet import BODY, Fleet, read_all


class OneByOne(OpenAIAdapter):
    """Speaks a protocol that makes one choice at a time."""

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        return split_choices(call)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def failed(fleet: Fleet, **fields: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await fleet.run(**fields)
    return caught.value


def key_of(fleet: Fleet, id: str) -> list[str]:
    return [dict(request.headers)["authorization"] for request, _, _ in fleet.requests(id)]


# A fresh connection.


async def test_a_request_that_died_on_an_idle_connection_goes_out_again_at_once_and_nobody_is_blamed() -> None:
    fleet = Fleet(retry=RetryPolicy(attempts=1))
    a = fleet.add("a/m", dead(replayable=True), fleet.response())
    assert isinstance(await fleet.run(), Answer)
    assert [fresh for _, _, fresh in fleet.requests("a/m")] == [False, True]
    assert (a.vitals.consecutive, a.vitals.counts.failures, a.vitals.counts.retries) == (0, 0, 0)
    assert (fleet.pauses, fleet.kinds()) == ([], ["connect", "ok"])
    assert [attempt.key for attempt in fleet.outcome.attempts] == [1, 1]
    fleet.assert_at_rest()


async def test_a_fresh_connection_that_dies_too_is_a_failure_and_another_deployment_takes_over(fleet: Fleet) -> None:
    a = fleet.add("a/m", dead(replayable=True), dead(replayable=True))
    fleet.add("b/m", fleet.response())
    assert isinstance(await fleet.run(), Answer)
    assert fleet.sent == ["a/m", "a/m", "b/m"]
    assert a.vitals.consecutive == 1
    fleet.assert_at_rest()


# Another key, another deployment.


async def test_another_key_takes_over_from_one_that_is_at_its_limit_without_a_pause(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(status=429, retry_after="30"), fleet.response(), keys=2)
    fleet.add("b/m")
    answer = await fleet.run()
    assert isinstance(answer, Answer)
    assert key_of(fleet, "a/m") == ["Bearer sk-a-0001", "Bearer sk-a-0002"]
    assert [(attempt.deployment, attempt.key) for attempt in fleet.outcome.attempts] == [("a/m", 1), ("a/m", 2)]
    assert (fleet.pauses, fleet.sent) == ([], ["a/m", "a/m"])
    assert a.key_ring.keys[0].wait(fleet.clock.now) == 30
    assert [(event.turn, event.reason, event.seconds) for event in fleet.events] == [
        (Turn.KEY_COOLED, "rate_limit", 30)
    ]
    assert fleet.outcome.fallback == ""
    fleet.assert_at_rest()


async def test_a_key_that_rests_is_left_alone_by_the_next_request(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=429, retry_after="30"), *[fleet.response() for _ in range(3)], keys=2)
    for _ in range(3):
        await fleet.run()
    assert key_of(fleet, "a/m")[1:] == ["Bearer sk-a-0002"] * 3
    fleet.assert_at_rest()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("trouble", ["refused", "cut", "500", "503", "empty"])
async def test_another_deployment_takes_over_at_once(fleet: Fleet, trouble: str, stream: bool) -> None:
    answers = {
        "refused": dead(Fault.CONNECT),
        "cut": fleet.response(ROLE if stream else BODY[:20], dead()),
        "500": fleet.response(status=500),
        "503": fleet.response(status=503),
        "empty": fleet.response(b"{}"),
    }
    a = fleet.add("a/m", answers[trouble])
    fleet.add("b/m", fleet.response(TEXT, END) if stream else fleet.response())
    answer = await fleet.run(stream=stream)
    if stream:
        assert await read_all(answer) == TEXT + END
        await answer.aclose()
    assert answer.deployment.id == "b/m"
    assert (fleet.outcome.deployment, fleet.outcome.provider, fleet.outcome.fallback) == ("b/m", "b", "")
    assert (fleet.pauses, a.vitals.consecutive) == ([], 1)
    fleet.assert_at_rest()


async def test_the_same_deployment_again_is_the_last_resort_and_waits(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=500), fleet.response())
    fleet.add("b/m", dead(Fault.CONNECT))
    await fleet.run()
    assert fleet.sent == ["a/m", "b/m", "a/m"]
    assert fleet.pauses == pytest.approx([0.05]), "half of the first pause, as chance has it here"
    fleet.assert_at_rest()


async def test_a_short_pause_that_was_asked_for_is_waited_for_exactly(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=429, retry_after="7"), fleet.response())
    await fleet.run()
    assert fleet.pauses == [7.0]
    fleet.assert_at_rest()


async def test_a_long_pause_is_told_to_the_client_instead(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=429, retry_after="70"))
    error = await failed(fleet)
    assert (error.status, error.code, error.should_retry) == (429, "rate_limit_exceeded", False)
    assert dict(error.headers())["retry-after"] == "70"
    fleet.clock.now += 20
    error = await failed(fleet)
    assert (error.status, dict(error.headers())["retry-after"]) == (429, "50")
    assert (fleet.sent, fleet.pauses) == (["a/m"], [])
    fleet.assert_at_rest()


async def test_a_request_that_breaks_two_deployments_of_a_route_in_the_same_way_breaks_no_third(fleet: Fleet) -> None:
    for id in ("a/m", "b/m", "c/m"):
        fleet.add(id, fleet.response(status=500))
    assert (await failed(fleet)).status == 502
    assert fleet.sent == ["a/m", "b/m"]
    fleet.assert_at_rest()


# Fallbacks.


async def test_a_fallback_takes_over_and_the_outcome_says_after_what(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=500))
    fleet.fall_back(Fallback("spare"))
    fleet.add("b/m", fleet.response())
    await fleet.run()
    assert (fleet.sent, fleet.pauses, fleet.outcome.fallback) == (["a/m", "b/m"], [], "server")
    assert [attempt.route for attempt in fleet.outcome.attempts] == ["route", "spare"]
    fleet.assert_at_rest()


async def test_a_fallback_for_other_failures_does_not(fleet: Fleet) -> None:
    fleet.add("a/m", *[fleet.response(status=400) for _ in range(4)])
    fleet.fall_back(Fallback("spare", frozenset({K.RATE_LIMIT}), is_explicit=True))
    fleet.add("b/m")
    error = await failed(fleet)
    assert (error.status, fleet.sent, fleet.outcome.fallback) == (400, ["a/m"], "")


async def test_an_attempt_is_kept_for_the_fallback() -> None:
    fleet = Fleet(retry=RetryPolicy(attempts=2))
    fleet.add("a/m", fleet.response(status=500))
    fleet.add("b/m")
    fleet.fall_back(Fallback("spare"))
    fleet.add("c/m", fleet.response())
    await fleet.run()
    assert fleet.sent == ["a/m", "c/m"]


async def test_what_the_client_hears_in_the_end_lists_every_attempt(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=429, retry_after="30"))
    fleet.fall_back(Fallback("spare"))
    fleet.add("b/m", dead(Fault.CONNECT), dead(Fault.CONNECT))
    error = await failed(fleet)
    assert (error.status, error.code) == (502, "upstream_connection_error"), "429 only where all are limits"
    told = json.loads(error.body())["error"]["details"]["attempts"]
    assert told[:2] == [
        {"deployment": "a/m", "kind": "rate_limit", "status": 429},
        {"deployment": "b/m", "kind": "connect"},
    ]
    assert len(told) == len(fleet.outcome.attempts) == len(fleet.sent)
    fleet.assert_at_rest()


# What cannot be asked.


async def test_a_deployment_that_cannot_express_the_request_is_passed_over_without_an_attempt(fleet: Fleet) -> None:
    a = fleet.add("a/m", rules={"reject_above": {"n": 4}})
    fleet.add("b/m", fleet.response())
    answer = await fleet.run(n=6)
    assert answer.deployment.id == "b/m"
    assert (fleet.sent, [attempt.number for attempt in fleet.outcome.attempts]) == (["b/m"], [1])
    assert (a.vitals.counts.attempts, a.vitals.in_flight) == (0, 0)
    fleet.assert_at_rest()


async def test_what_nobody_can_express_is_the_clients_400_with_the_first_reason(fleet: Fleet) -> None:
    fleet.add("a/m", rules={"reject_above": {"n": 4}})
    fleet.add("b/m", rules={"reject_above": {"n": 5}})
    with pytest.raises(UnsupportedParameter) as refused:
        await fleet.run(n=6)
    assert (refused.value.param, fleet.sent, fleet.outcome.attempts) == ("n", [], [])


async def test_a_strict_request_goes_to_a_deployment_that_loses_nothing() -> None:
    fleet = Fleet(is_strict=True)
    fleet.add("a/m", rules={"drop": ["store"]})
    fleet.add("b/m", fleet.response())
    assert (await fleet.run(store=True)).deployment.id == "b/m"
    assert (fleet.sent, fleet.outcome.dropped) == (["b/m"], ())


async def test_the_outcome_names_what_the_deployment_that_answered_did_not_see(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(status=500), rules={"drop": ["store"]})
    fleet.add("b/m", fleet.response(), rules={"drop": ["seed"]})
    await fleet.run(store=True, seed=1)
    assert fleet.outcome.dropped == ("seed",)


async def test_a_call_is_split_as_the_fallback_needs_it_and_each_part_may_fall_back(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(), fleet.response(status=500))
    fleet.fall_back(Fallback("spare"))
    fleet.add("b/m", fleet.response(), adapter=OneByOne())
    answer = await fleet.run(n=2)
    assert len(json.loads(answer.reply.body)["choices"]) == 2
    assert ["n" in json.loads(request.body) for request, _, _ in fleet.requests("a/m")] == [False, False]
    assert sorted(fleet.sent) == ["a/m", "a/m", "b/m"]
    assert fleet.outcome.fallback == "server"
    assert sorted((attempt.part, attempt.deployment) for attempt in fleet.outcome.attempts) == [
        (0, "a/m"), (1, "a/m"), (1, "b/m"),
    ]  # fmt: skip
    fleet.assert_at_rest()


async def test_a_stream_is_split_as_the_fallback_needs_it(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, END), fleet.response(status=500))
    fleet.fall_back(Fallback("spare"))
    fleet.add("b/m", fleet.response(TEXT, END), adapter=OneByOne())
    stream = await fleet.run(n=2, stream=True)
    assert isinstance(stream, JoinedStream)
    told = await read_all(stream)
    assert told.count(b'"content":"hi"') + told.count(b'"content": "hi"') == 2
    assert stream.error is None
    await stream.aclose()
    fleet.assert_at_rest()


# Streams and the state of their deployment.


async def test_a_stream_that_breaks_off_is_an_error_and_counts_against_its_deployment(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(TEXT, dead()))
    fleet.add("b/m")
    stream = await fleet.run(stream=True)
    assert a.vitals.in_flight == 1
    assert (await read_all(stream), stream.error.code) == (TEXT, "upstream_disconnected")
    assert (a.vitals.consecutive, a.vitals.counts.failures, fleet.sent) == (1, 1, ["a/m"])
    assert fleet.kinds() == ["connect"]
    await stream.aclose()
    assert a.vitals.consecutive == 1, "letting go of it is no second end"
    fleet.assert_at_rest()


async def test_streams_that_break_off_again_and_again_eject_their_deployment() -> None:
    fleet = Fleet(health=HealthPolicy(consecutive_failures=2))
    fleet.add("a/m", *[fleet.response(TEXT, dead()) for _ in range(2)])
    fleet.add("b/m", fleet.response(TEXT, END))
    for _ in range(2):
        stream = await fleet.run(stream=True)
        await read_all(stream)
        await stream.aclose()
    assert [event.turn for event in fleet.events] == [Turn.EJECTED]
    stream = await fleet.run(stream=True)
    assert (stream.deployment.id, fleet.sent) == ("b/m", ["a/m", "a/m", "b/m"])
    await stream.aclose()
    fleet.assert_at_rest()


async def test_a_whole_stream_counts_for_its_deployment(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(status=500), fleet.response(PING, ROLE, 2.0, TEXT, END))
    stream = await fleet.run(stream=True)
    assert a.vitals.consecutive == 1, "it has begun, no more"
    await read_all(stream)
    assert (a.vitals.consecutive, a.vitals.latency.seconds) == (0, 2.0)
    await stream.aclose()
    fleet.assert_at_rest()


async def test_a_stream_that_nobody_reads_counts_neither_way(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(TEXT, MORE, END))
    stream = await fleet.run(stream=True)
    assert isinstance(stream, SingleStream)
    await stream.aclose()
    await stream.aclose()
    assert (a.vitals.counts.attempts, a.vitals.consecutive) == (0, 0)
    fleet.assert_at_rest()


async def test_failures_eject_a_deployment_and_one_request_lets_it_back_in() -> None:
    fleet = Fleet(health=HealthPolicy(consecutive_failures=2, ejection_seconds=4))
    fleet.add("a/m", *[fleet.response(status=500) for _ in range(2)], *[fleet.response() for _ in range(2)])
    fleet.add("b/m", *[fleet.response() for _ in range(3)])
    for _ in range(3):
        await fleet.run()
    assert fleet.sent == ["a/m", "b/m", "a/m", "b/m", "b/m"]
    fleet.clock.now += 4
    await fleet.run()
    assert fleet.sent[-1] == "a/m"
    assert [event.turn for event in fleet.events] == [Turn.EJECTED, Turn.READMITTED]
    fleet.assert_at_rest()


async def test_a_bug_in_an_adapter_is_nobodys_failure_and_leaves_nothing_behind(fleet: Fleet) -> None:
    class Broken(OpenAIAdapter):
        def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
            raise ZeroDivisionError

    fleet.add("a/m", fleet.response(), adapter=Broken())
    with pytest.raises(ZeroDivisionError):
        await fleet.executor.run(call_of(), fleet.plan, fleet.outcome)
    fleet.assert_at_rest()


# Leaving.


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["before the head", "in the body", "after a failure"])
async def test_leaving_ends_the_attempt_and_counts_neither_way(fleet: Fleet, where: str, stream: bool) -> None:
    waiting: dict[str, list[Any]] = {
        "before the head": [asyncio.Event()],
        "in the body": [fleet.response(ROLE if stream else BODY[:20], asyncio.Event())],
        "after a failure": [fleet.response(status=429, retry_after="60"), asyncio.Event()],
    }
    a = fleet.add("a/m", *waiting[where], keys=2)
    task = asyncio.create_task(fleet.run(stream=stream))
    for _ in range(10):
        await asyncio.sleep(0)
    assert a.vitals.in_flight == 1
    assert sum(key.state.in_flight for key in a.key_ring.keys) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (a.vitals.counts.attempts, a.vitals.consecutive) == (0, 0)
    fleet.assert_at_rest()


async def test_leaving_in_the_middle_of_a_stream_counts_neither_way(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(TEXT, asyncio.Event()))
    stream = await fleet.run(stream=True)

    async def relay() -> None:
        try:
            await read_all(stream)
        finally:
            await stream.aclose()

    task = asyncio.create_task(relay())
    await asyncio.sleep(0)
    assert a.vitals.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (a.vitals.counts.attempts, a.vitals.consecutive) == (0, 0)
    fleet.assert_at_rest()


async def test_leaving_during_a_pause_ends_the_request(fleet: Fleet) -> None:
    a = fleet.add("a/m", fleet.response(status=429, retry_after="7"), fleet.response())
    task = asyncio.create_task(fleet.run())
    await fleet.is_pausing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (fleet.sent, a.vitals.in_flight) == (["a/m"], 0)
    fleet.assert_at_rest()
