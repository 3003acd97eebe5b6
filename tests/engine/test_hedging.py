"""Two attempts at once: who wins, what becomes of the other, and what is paid for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from gateway.engine.answer import Answer, SingleStream
from gateway.engine.race import race
from gateway.errors import UpstreamError
from gateway.routing.route import Fallback, HedgePolicy, RetryPolicy
from gateway.transport.base import Fault
from tests.engine.doubles import END, MORE, ROLE, TEXT, Late, Response, dead
from tests.engine.fleet import Fleet, read_all

AT_ONCE = HedgePolicy(share=1.0, after_seconds=0.0)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(hedge=AT_ONCE)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0.0005)


def whole(fleet: Fleet, stream: bool) -> Response:
    return fleet.response(TEXT, END) if stream else fleet.response()


async def end(answer: Any) -> None:
    if isinstance(answer, SingleStream):
        await read_all(answer)
        await answer.aclose()


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["answer", "stream"])


# Who wins.


@STREAM
async def test_the_second_wins_and_the_first_is_cancelled_and_lost(fleet: Fleet, stream: bool) -> None:
    a = fleet.add("a/m", asyncio.Event())
    b = fleet.add("b/m", whole(fleet, stream))
    answer = await fleet.run(stream=stream)
    assert (answer.deployment.id, fleet.sent) == ("b/m", ["a/m", "b/m"])
    assert a.vitals.in_flight == 0, "the loser has ended when the winner comes out"
    assert b.vitals.in_flight == (1 if stream else 0)
    outcome = fleet.outcome
    assert (outcome.deployment, outcome.provider) == ("b/m", "b")
    assert [(each.is_hedge, each.is_lost) for each in outcome.attempts] == [(False, True), (True, False)]
    assert a.vitals.counts.failures == 0, "slow is not broken"
    await end(answer)
    fleet.assert_at_rest()


@STREAM
async def test_the_first_wins_after_all_and_the_second_is_lost(fleet: Fleet, stream: bool) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, whole(fleet, stream)))
    b = fleet.add("b/m", asyncio.Event())
    task = asyncio.create_task(fleet.run(stream=stream))
    await settle()
    gate.set()
    answer = await task
    assert (answer.deployment.id, fleet.sent) == ("a/m", ["a/m", "b/m"])
    assert [(each.is_hedge, each.is_lost) for each in fleet.outcome.attempts] == [(False, False), (True, True)]
    assert (fleet.outcome.deployment, b.vitals.in_flight) == ("a/m", 0)
    await end(answer)
    fleet.assert_at_rest()


async def test_a_stream_wins_by_its_first_content_and_not_by_its_head(fleet: Fleet) -> None:
    quiet = fleet.response(ROLE, asyncio.Event())
    fleet.add("a/m", quiet)
    fleet.add("b/m", fleet.response(ROLE, MORE, END))
    answer = await fleet.run(stream=True)
    assert answer.deployment.id == "b/m"
    assert quiet.releases == 1, "its connection is closed at once"
    await end(answer)
    fleet.assert_at_rest()


@STREAM
async def test_where_both_come_in_the_same_moment_one_wins_and_the_other_is_given_back(
    fleet: Fleet, stream: bool
) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, whole(fleet, stream)), rules={"drop": ["store"]})
    fleet.add("b/m", Late(gate, whole(fleet, stream)), rules={"drop": ["seed"]})
    task = asyncio.create_task(fleet.run(stream=stream, store=True, seed=1))
    await settle()
    gate.set()
    answer = await task
    outcome = fleet.outcome
    assert (outcome.deployment, outcome.provider, outcome.dropped) == (
        (answer.deployment.id, "a", ("store",)) if answer.deployment.id == "a/m" else ("b/m", "b", ("seed",))
    )
    lost = [each.deployment for each in fleet.outcome.attempts if each.is_lost]
    assert lost == [id for id in ("a/m", "b/m") if id != answer.deployment.id]
    await end(answer)
    fleet.assert_at_rest()


async def test_the_second_is_only_asked_if_the_first_is_slow() -> None:
    fleet = Fleet(hedge=HedgePolicy(share=1.0, after_seconds=30))
    fleet.add("a/m", fleet.response())
    fleet.add("b/m")
    await fleet.run()
    assert (fleet.sent, fleet.plan.route.memory.hedge_credit) == (["a/m"], 1.0)
    fleet.assert_at_rest()


async def test_a_first_that_fails_before_its_time_is_an_ordinary_failure() -> None:
    fleet = Fleet(hedge=HedgePolicy(share=1.0, after_seconds=30))
    fleet.add("a/m", fleet.response(status=500))
    fleet.add("b/m", fleet.response())
    await fleet.run()
    assert [(each.deployment, each.is_hedge) for each in fleet.outcome.attempts] == [("a/m", False), ("b/m", False)]
    fleet.assert_at_rest()


# Failures.


@STREAM
async def test_a_second_that_fails_leaves_the_first_to_win(fleet: Fleet, stream: bool) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, whole(fleet, stream)))
    b = fleet.add("b/m", fleet.response(status=500))
    task = asyncio.create_task(fleet.run(stream=stream))
    await settle()
    assert b.vitals.consecutive == 1
    gate.set()
    answer = await task
    assert answer.deployment.id == "a/m"
    assert fleet.kinds() == ["ok", "server"]
    await end(answer)
    fleet.assert_at_rest()


@STREAM
async def test_a_first_that_fails_leaves_the_second_to_win(fleet: Fleet, stream: bool) -> None:
    gate, other = asyncio.Event(), asyncio.Event()
    fleet.add("a/m", Late(gate, fleet.response(status=500)))
    fleet.add("b/m", Late(other, whole(fleet, stream)))
    task = asyncio.create_task(fleet.run(stream=stream))
    await settle()
    gate.set()
    await settle()
    assert not task.done()
    other.set()
    answer = await task
    assert (answer.deployment.id, fleet.kinds()) == ("b/m", ["server", "ok"])
    await end(answer)
    fleet.assert_at_rest()


async def test_where_both_fail_it_goes_on_as_after_any_failure(fleet: Fleet) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, dead(Fault.CONNECT)))
    fleet.add("b/m", Late(gate, fleet.response(status=500)))
    fleet.fall_back(Fallback("spare"))
    fleet.add("c/m", fleet.response())
    task = asyncio.create_task(fleet.run())
    await settle()
    gate.set()
    answer = await task
    assert (answer.deployment.id, fleet.kinds()) == ("c/m", ["connect", "server", "ok"])
    assert not fleet.outcome.attempts[-1].is_hedge
    fleet.assert_at_rest()


async def test_where_both_fail_and_nothing_is_left_the_client_hears_of_both() -> None:
    fleet = Fleet(hedge=AT_ONCE, retry=RetryPolicy(attempts=2))
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, dead(Fault.CONNECT)))
    fleet.add("b/m", Late(gate, fleet.response(status=500)))
    task = asyncio.create_task(fleet.run())
    await settle()
    gate.set()
    with pytest.raises(UpstreamError) as caught:
        await task
    told = json.loads(caught.value.body())["error"]["details"]["attempts"]
    assert [each["kind"] for each in told] == ["connect", "server"]
    fleet.assert_at_rest()


async def test_another_key_is_that_of_the_deployment_that_has_failed_last(fleet: Fleet) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, fleet.response(status=429, retry_after="60")), fleet.response(), keys=2)
    fleet.add("b/m", fleet.response(status=500), keys=2)
    task = asyncio.create_task(fleet.run())
    await settle()
    gate.set()
    answer = await task
    assert (answer.deployment.id, fleet.sent) == ("a/m", ["a/m", "b/m", "a/m"])
    assert [each.key for each in fleet.outcome.attempts] == [1, 1, 2]
    fleet.assert_at_rest()


async def test_a_deployment_that_cannot_express_the_request_is_no_second(fleet: Fleet) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, fleet.response()))
    fleet.add("b/m", rules={"reject_above": {"n": 4}})
    task = asyncio.create_task(fleet.run(n=6))
    await settle()
    gate.set()
    assert (await task).deployment.id == "a/m"
    assert fleet.sent == ["a/m"]
    fleet.assert_at_rest()


# What is paid.


async def test_no_more_than_its_share_is_hedged() -> None:
    fleet = Fleet(hedge=HedgePolicy(share=0.25, after_seconds=0.0))
    gates = [asyncio.Event() for _ in range(8)]
    fleet.add("a/m", *[Late(gate, fleet.response()) for gate in gates])
    fleet.add("b/m", *[asyncio.Event() for _ in range(8)])
    for gate in gates:
        task = asyncio.create_task(fleet.run())
        await settle()
        gate.set()
        await task
    assert fleet.sent.count("b/m") == 2
    fleet.assert_at_rest()


async def test_nothing_is_hedged_before_it_is_known_what_slow_means() -> None:
    fleet = Fleet(hedge=HedgePolicy(share=1.0))
    fleet.add("a/m", *[fleet.response() for _ in range(20)], asyncio.Event())
    fleet.add("b/m", fleet.response())
    for _ in range(20):
        await fleet.run()
    assert fleet.sent == ["a/m"] * 20
    answer = await fleet.run()
    assert answer.deployment.id == "b/m", "every answer took no time at all, so the 95th percentile is 0"
    fleet.assert_at_rest()


async def test_a_hedge_costs_no_retry(fleet: Fleet) -> None:
    a = fleet.add("a/m", asyncio.Event())
    b = fleet.add("b/m", fleet.response())
    await fleet.run()
    assert [each.vitals.counts.retries for each in (a, b)] == [0, 0]


# Leaving.


@STREAM
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_leaving_ends_both(fleet: Fleet, stream: bool, turns: int) -> None:
    fleet.add("a/m", fleet.response(ROLE, asyncio.Event()))
    fleet.add("b/m", asyncio.Event())
    task = asyncio.create_task(fleet.run(stream=stream))
    for _ in range(turns):
        await asyncio.sleep(0.0002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fleet.assert_at_rest()


@STREAM
@pytest.mark.parametrize("turns", range(12))
async def test_leaving_in_the_moment_of_the_first_content_holds_nothing_back(
    fleet: Fleet, stream: bool, turns: int
) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", Late(gate, whole(fleet, stream)))
    fleet.add("b/m", Late(gate, whole(fleet, stream)))
    task = asyncio.create_task(fleet.run(stream=stream))
    await settle()
    gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await end(await task)
    fleet.assert_at_rest()


async def test_a_winner_is_given_back_if_its_client_leaves_while_the_loser_ends() -> None:
    fleet = Fleet()
    fleet.add("a/m", fleet.response(TEXT, END))
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn() -> Answer | SingleStream | None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()
        return None

    task = asyncio.create_task(race(stubborn(), lambda: fleet.run(stream=True), 0.0))
    await is_ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    fleet.assert_at_rest()


async def test_a_bug_in_one_attempt_ends_the_other_and_comes_out() -> None:
    fleet = Fleet()
    fleet.add("a/m", asyncio.Event())

    async def broken() -> Answer | SingleStream | None:
        await asyncio.sleep(0.001)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await race(broken(), fleet.run, 0.0)
    fleet.assert_at_rest()


@STREAM
async def test_of_requests_of_the_same_moment_one_alone_tries_what_is_half_open(stream: bool) -> None:
    fleet = Fleet(hedge=HedgePolicy(share=1.0, after_seconds=60.0))
    a = fleet.add("a/m", whole(fleet, stream))
    fleet.add("b/m", *[whole(fleet, stream) for _ in range(4)])
    a.vitals.ejected_until = fleet.clock()
    fleet.plan.route.memory.hedge_credit = 10
    for answer in await asyncio.gather(*[fleet.run(stream=stream) for _ in range(5)]):
        await end(answer)
    assert sorted(fleet.sent) == ["a/m", *["b/m"] * 4]
    fleet.assert_at_rest()


async def test_whenever_a_client_leaves_nothing_stays_counted() -> None:
    for turns in range(12):
        fleet = Fleet(hedge=AT_ONCE)
        for id in ("a/m", "b/m"):
            fleet.add(id, asyncio.Event())
        task = asyncio.create_task(fleet.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fleet.assert_at_rest()


async def test_leaving_twice_changes_nothing(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, END))
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn() -> Answer | SingleStream | None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()
        return None

    task = asyncio.create_task(race(stubborn(), lambda: fleet.run(stream=True), 0.0))
    await is_ending.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done(), "what is still held is waited for"
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    fleet.assert_at_rest()
