"""A server that is away, stops, comes back empty or forgets: nobody waits for long, and nothing counts twice."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from gateway.state.admission import UNIT, Admission, Charges, Check, Filled, Kind
from gateway.state.counters import Counters
from gateway.state.lane import DEFAULT_PACE, MAX_QUEUED, Lane, Pace, Standing
from gateway.state.redis import Client
from gateway.state.scripts import PREFIX, REPLICAS, Command, Script
from tests.state.counting import Asker, asker, budget, places, requests, tokens
from tests.state.replica import WITHIN, eventually, eventually_async
from tests.state.server import RedisServer

IMPATIENT = Pace(answer_seconds=0.2, beat_seconds=0.1, connect_seconds=5)
"""Soon gives up on a server that is stopped, but not on one that a busy machine lets wait."""


def test_in_real_life_nobody_waits_longer_than_80_ms() -> None:
    assert Pace(answer_seconds=0.08, beat_seconds=1.0, connect_seconds=1.0) == DEFAULT_PACE


async def test_without_a_server_each_replica_decides_alone(absent: RedisServer) -> None:
    async with asker(absent.url, is_there=False) as one:
        assert one.admissions.trouble == "connection refused, trying again"
        assert [await one.goes(requests(3), budget(1000, 300, 500)) for _ in range(2)] == [True, False]
        one.admissions.settle("l0", Charges(nano_usd=100))
        assert await one.remaining(requests(3), budget(1000, 1, 500)) == [2, 400]


async def test_what_is_closed_is_refused_while_nobody_can_count_it(absent: RedisServer) -> None:
    async with asker(absent.url, is_there=False, closed=[Kind.BUDGET]) as one:
        refused = await one.ask(requests(3), budget(1000, 1))
        assert refused == Admission(refused=budget(1000, 1), wait_seconds=1.0, is_unavailable=True)
        assert await one.goes(requests(3))
        absent.start()
        await eventually(lambda: not one.admissions.trouble)
        assert await one.goes(requests(3), budget(1000, 1))


async def test_a_server_that_stops_holds_nobody_up(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with asker(server.url, pace=IMPATIENT) as one:
        server.suspend()
        try:
            began = time.monotonic()
            answers = await asyncio.gather(*(one.ask(requests(10), places(100)) for _ in range(50)))
            assert time.monotonic() - began < WITHIN
            assert sum(answer.is_admitted for answer in answers) == 10
            assert one.admissions.trouble == ""  # that was one exchange
            await eventually(lambda: one.admissions.trouble == "no answer in time, trying again")
            for _ in range(1000):  # nobody asks any more
                await one.ask(tokens(10**9, 1))
            assert time.monotonic() - began < WITHIN
        finally:
            server.resume()
        await eventually(lambda: not one.admissions.trouble)
    away, back = [each.getMessage() for each in caplog.records if each.name == "anyport.state"]
    assert away == f"{server.place}: no answer in time; each replica admits requests by its own share of the limits"
    assert back == f"{server.place} is there again: replicas count limits and budgets together"


async def test_what_a_stopped_server_takes_late_is_given_back(server: RedisServer) -> None:
    async with asker(server.url) as watcher, asker(server.url, pace=IMPATIENT) as one:
        server.suspend()
        try:
            names = [f"late{number}" for number in range(20)]
            await asyncio.gather(*(one.admissions.admit(name, [places(100), budget(1000, 10)]) for name in names))
            for name in names:
                one.admissions.settle(name, Charges(nano_usd=1))
        finally:
            server.resume()
        await eventually(lambda: not one.admissions.trouble and not watcher.admissions.trouble)
        end = time.monotonic() + WITHIN
        while (left := await watcher.remaining(places(100), budget(1000, 1)))[0] < 100:
            assert time.monotonic() < end, left
        assert left[1] >= 980  # what was taken there was settled by what was used


async def test_alone_a_replica_has_its_share_of_rates_and_places(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        server.kill()
        await eventually(lambda: one.admissions.trouble)
        assert [await one.goes(requests(6)) for _ in range(4)] == [True] * 3 + [False]
        assert [await one.goes(places(5)) for _ in range(3)] == [True] * 2 + [False]
        assert await one.goes(requests(1, "key:b"))  # at least one
        assert not await one.goes(requests(0, "key:c"))
        assert await one.goes(tokens(1000, 900))  # larger than the share: takes all of it
        assert not await one.goes(tokens(1000, 100))
        assert await one.goes(budget(1000, 1000))


async def test_alone_a_replica_has_its_share_of_what_is_left_of_a_budget(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        server.kill()
        await eventually(lambda: one.admissions.trouble and other.admissions.trouble)
        for each in (one, other):
            assert [await each.goes(budget(1000, 100)) for _ in range(6)] == [True] * 5 + [False]
        one.admissions.settle("l0", Charges(nano_usd=100))
        assert await one.remaining(budget(1000, 1, 400)) == [0]  # 400 are held
        for number in range(1, 5):
            one.admissions.release(f"l{number}")
        assert [await one.goes(budget(1000, 100, 400)) for _ in range(5)] == [True] * 4 + [False]
        assert await one.goes(budget(1000, 900, owner="key:b"))  # larger than the share: takes all of it
        assert not await one.goes(budget(1000, 900, 200, owner="key:c"))


async def test_an_event_loop_that_stood_still_is_no_trouble_of_the_server(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with asker(server.url, pace=Pace(answer_seconds=0.5, beat_seconds=0.1, connect_seconds=5)) as one:
        for turn in range(3):
            names = [f"{turn}-{number}" for number in range(10)]
            asking = [asyncio.create_task(one.admissions.admit(name, [places(100)])) for name in names]
            await asyncio.sleep(0)
            time.sleep(1)  # noqa: ASYNC251
            assert all(each.is_admitted for each in await asyncio.gather(*asking))
            assert not one.admissions.trouble
    assert [each for each in caplog.records if each.levelname == "WARNING"] == []


async def test_what_is_under_way_counts_when_the_server_goes_away(server: RedisServer) -> None:
    async with asker(server.url) as one:
        assert await one.goes(places(2), budget(1000, 600))
        server.kill()
        await eventually(lambda: one.admissions.trouble)
        assert await one.remaining(places(2), budget(1000, 1)) == [1, 400]
        one.admissions.settle("l0", Charges(nano_usd=250))
        assert await one.remaining(places(2), budget(1000, 1)) == [2, 750]


async def test_a_server_that_comes_back_empty_begins_with_what_the_ledger_says(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        for each in (one, other):
            assert await each.goes(budget(1000, 100, 200))
            each.admissions.settle(each.lease, Charges(nano_usd=100))
        assert await one.goes(budget(1000, 100, 200))
        under_way = one.lease
        server.kill()
        await eventually(lambda: one.admissions.trouble and other.admissions.trouble)
        server.start()
        await eventually(lambda: not one.admissions.trouble and not other.admissions.trouble)
        for each in (one, other):
            # What is under way was told to the new server, and for a moment what the ledger might not know yet.
            await eventually_async(lambda each=each: _has(each, 500, budget(1000, 1, 400)))
        one.admissions.settle(under_way, Charges(nano_usd=100))
        assert await one.remaining(budget(1000, 1, 400)) == [600]
        assert await other.remaining(budget(1000, 1, 500)) == [500]


async def test_a_server_that_comes_back_empty_is_told_what_all_replicas_hold_before_it_is_asked(
    server: RedisServer,
) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        for each in (one, other):
            assert [await each.goes(places(10), budget(1000, 100)) for _ in range(5)] == [True] * 5
        assert not await one.goes(budget(1000, 100))
        server.kill()
        server.start()
        for _ in range(200):
            assert not await one.goes(budget(1000, 100))
            assert not await other.goes(places(10))
            await asyncio.sleep(0.01)
        await eventually(lambda: not one.admissions.trouble and not other.admissions.trouble)
        assert not await one.goes(budget(1000, 100))
        other.admissions.settle("l0", Charges(nano_usd=0))
        await eventually_async(lambda: one.goes(places(10), budget(1000, 100)))
        assert not await other.goes(places(10))


async def test_a_server_that_comes_back_empty_is_told_how_far_rates_are_filled(server: RedisServer) -> None:
    together, alone = requests(100), requests(100, "key:b")
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        began = time.monotonic()
        assert [await one.goes(together) for _ in range(80)] == [True] * 80
        assert [await other.goes(together) for _ in range(15)] == [True] * 15
        server.kill()
        await eventually(lambda: one.admissions.trouble and other.admissions.trouble)
        for each in (one, other):
            assert [await each.goes(alone) for _ in range(45)] == [True] * 45, "its share is 50"
        server.start()
        await eventually(lambda: not one.admissions.trouble and not other.admissions.trouble)
        for rate, left in ((together, 5), (alone, 10)):
            passed = sum([await each.goes(rate) for each in (one, other) for _ in range(60)])
            leaked = (time.monotonic() - began) * 100 / 60
            assert left <= passed <= left + leaked + 1, rate.owner


async def test_what_was_given_back_of_a_rate_is_not_told_to_a_server_that_was_emptied(server: RedisServer) -> None:
    limit = 600
    async with asker(server.url) as one:
        began = time.monotonic()
        assert await one.goes(tokens(limit, limit))
        one.admissions.settle(one.lease, Charges(tokens=200))
        for amount in (200, 300):
            with server.admin() as admin:
                admin.flushall()
                await eventually(lambda: admin.zcard(REPLICAS))
            (left,) = await one.remaining(tokens(limit, 1))
            assert limit - amount <= left + 1 <= limit - amount + 1 + (time.monotonic() - began) * limit / 60
            assert await one.goes(tokens(limit, 100))


def test_of_very_many_rates_the_fullest_are_told() -> None:
    counters = Counters(lambda: 0.0)
    for number in range(1500):
        counters.decide(f"l{number}", [requests(10 + number, f"key:{number}")])
    told = counters.rates()
    assert len(told) == 1000
    assert told[0] == Filled("requests:key:0", 10, 0, UNIT)
    assert counters.rates()[0] == Filled("requests:key:0", 10, UNIT, 0), "what was told once others know as well"


async def test_what_was_spent_just_now_is_missed_by_nobody_before_the_ledger_says_it(server: RedisServer) -> None:
    async with asker(server.url, ledger_seconds=60) as one, asker(server.url, ledger_seconds=60) as other:
        for each in (one, other):
            assert await each.goes(budget(1000, 300))
            each.admissions.settle(each.lease, Charges(nano_usd=300))
        await eventually_async(lambda: _has(one, 400, budget(1000, 1)))
        with server.admin() as admin:
            admin.flushall()
            await eventually(lambda: admin.zcard(REPLICAS) == 2)
        for each in (one, other):
            assert (await each.remaining(budget(1000, 1, 0)))[0] <= 400


async def test_alone_no_replica_takes_what_the_others_had_when_they_were_last_heard_of(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        assert [await one.goes(places(10), budget(1000, 100), requests(100)) for _ in range(8)] == [True] * 8
        assert [await other.goes(requests(100)) for _ in range(90)] == [True] * 90
        assert await other.remaining(places(10), budget(1000, 100)) == [2, 200]
        server.kill()
        await eventually(lambda: one.admissions.trouble and other.admissions.trouble)
        for scarce in (places(10), budget(1000, 100)):
            passed = [await each.goes(scarce) for each in (one, other) for _ in range(5)]
            assert 1 <= sum(passed) <= 2, scarce
        assert sum([await other.goes(requests(100)) for _ in range(20)]) < 5


async def test_a_server_that_was_emptied_while_it_ran_is_told_what_is_held(server: RedisServer) -> None:
    async with asker(server.url) as one:
        assert [await one.goes(places(2), budget(1000, 500)) for _ in range(2)] == [True, True]
        with server.admin() as admin:
            admin.flushall()
        await eventually_async(lambda: _has(one, 0, places(2), budget(1000, 1)))
        one.admissions.settle("l0", Charges(nano_usd=100))
        await eventually_async(lambda: one.goes(places(2), budget(1000, 400)))


async def test_what_was_decided_alone_is_told_to_the_server_that_comes_back(server: RedisServer) -> None:
    async with asker(server.url) as one:
        server.kill()
        await eventually(lambda: one.admissions.trouble)
        assert await one.goes(places(1), budget(1000, 600), requests(5))
        server.start()
        await eventually(lambda: not one.admissions.trouble)
        refused = await one.ask(budget(1000, 600))
        assert (refused.is_admitted, refused.is_passing, refused.wait_seconds) == (False, True, 1.0)
        assert not await one.goes(places(1))
        one.admissions.settle("l0", Charges(nano_usd=600))
        refused = await one.ask(budget(1000, 600))
        assert (refused.is_admitted, refused.is_passing, refused.wait_seconds) == (False, False, None)
        assert await one.goes(places(1), requests(5))


async def _has(one: Asker, left: int, *checks: Check) -> bool:
    return await one.remaining(*checks) == [left] * len(checks)


async def test_forgotten_scripts_are_sent_again(server: RedisServer) -> None:
    async with asker(server.url) as one:
        assert await one.goes(places(5))
        with server.admin() as admin:
            admin.script_flush()
        assert await one.goes(places(5))
        assert one.admissions.trouble == ""
        assert await one.remaining(places(5)) == [3]


async def test_a_server_that_takes_no_writes_counts_as_away(server: RedisServer) -> None:
    async with asker(server.url) as one:
        with server.admin() as admin:
            admin.config_set("maxmemory", "1")
            await eventually(lambda: one.admissions.trouble == "it is out of memory, trying again")
            assert await one.goes(requests(5))
            admin.config_set("maxmemory", "0")
        await eventually(lambda: not one.admissions.trouble)


async def test_a_connection_that_is_cut_is_made_again(server: RedisServer) -> None:
    async with asker(server.url) as one:
        for number in range(5):
            with server.admin() as admin:
                admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.2)
            await eventually(lambda: not one.admissions.trouble)
            assert await one.goes(places(100))
            with server.admin() as admin:
                assert admin.zcard(f"{PREFIX}in_flight:key:a") == number + 1


async def test_restarts_under_load_lose_no_place_and_overspend_nothing(server: RedisServer) -> None:
    """What is under way is counted by the load itself: never more than there are places in one replica."""
    under_way = most = done = 0
    async with asker(server.url, pace=IMPATIENT) as one:

        async def load(number: int) -> None:
            nonlocal under_way, most, done
            for turn in range(60):
                name = f"n{number}-{turn}"
                if (await one.admissions.admit(name, [places(10), requests(10**6)])).is_admitted:
                    under_way += 1
                    most = max(most, under_way)
                    await asyncio.sleep(0.005)
                    under_way -= 1
                    done += 1
                    one.admissions.settle(name, Charges())
                await asyncio.sleep(0.002)

        async def trouble() -> None:
            for play in (server.suspend, server.resume, server.kill, server.start):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(play)

        await asyncio.gather(trouble(), *(load(number) for number in range(20)))
        await eventually(lambda: not one.admissions.trouble)
        assert done > 100
        # At the moment when the server goes, or comes, those whom the other one admitted may still be under way.
        assert most <= 20
        end = time.monotonic() + WITHIN
        while await one.remaining(places(10)) != [10]:
            assert time.monotonic() < end


async def test_a_cancelled_question_leaves_no_answer_to_another_one(server: RedisServer) -> None:
    chance = random.Random(7)
    async with asker(server.url) as one:

        async def ask(number: int) -> bool:
            """Whether the answer is that to this question: its own limit, of which one was taken."""
            (figure,) = (await one.admissions.admit(f"c{number}", [requests(number, f"key:{number}")])).figures
            return (figure.check.owner, figure.remaining) == (f"key:{number}", number - 1)

        for start in range(1, 10_001, 200):
            tasks = [asyncio.create_task(ask(number)) for number in range(start, start + 200)]
            answers = [asyncio.create_task(ask(100_000 + number)) for number in range(start, start + 20)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(await asyncio.gather(*answers))
        assert one.admissions.trouble == ""


async def test_a_server_that_answers_is_not_away_however_much_is_asked_at_once(server: RedisServer) -> None:
    async with asker(server.url, pace=Pace(answer_seconds=1, beat_seconds=60, connect_seconds=10)) as one:
        answers = await asyncio.gather(*(one.ask(places(10**6)) for _ in range(5000)))
        assert all(answer.is_admitted for answer in answers)
        assert one.admissions.trouble == ""


async def test_who_is_cancelled_holds_nothing(server: RedisServer) -> None:
    async with asker(server.url) as one:
        for turn in range(100):
            task = asyncio.create_task(one.admissions.admit(f"c{turn}", [places(1000), budget(1000, 1)]))
            for _ in range(turn % 10):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled():
                one.admissions.release(f"c{turn}")
        assert await one.remaining(places(1000), budget(1000, 1)) == [1000, 1000]


async def test_of_very_much_that_cannot_be_told_the_oldest_is_forgotten() -> None:
    def connect() -> Client:
        raise AssertionError("it is not started")

    lane = Lane(
        connect,
        "",
        scripts=[],
        first=lambda is_known: [],
        beat=lambda is_first: [],
        heard=lambda answers, was_away: Standing.READY,
        clock=time.monotonic,
    )
    for number in range(20_000):
        lane.tell(Command(Script("", ""), (str(number),), ()))
    assert lane.queued == MAX_QUEUED < 20_000
