"""What holds for limits and budgets wherever they are counted, and what two replicas see of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gateway.errors import ConfigError
from gateway.state.admission import MAX_NANO_USD, MAX_RATE, Admission, Charges, Check, Kind
from gateway.state.factory import open_admissions
from gateway.state.scripts import PREFIX
from tests.state.counting import DOLLAR, PATIENT, Asker, asker, budget, places, requests, tokens
from tests.state.replica import eventually
from tests.state.server import RedisServer


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
        return
    server: RedisServer = request.getfixturevalue("server")
    yield server.url


async def test_a_request_without_checks_goes(url: str) -> None:
    async with asker(url) as one:
        assert await one.ask() == Admission()
        one.admissions.settle(one.lease, Charges(1, 1))


async def test_a_rate_lets_one_minutes_worth_through_at_once(url: str) -> None:
    async with asker(url) as one:
        assert [await one.goes(requests(7)) for _ in range(9)] == [True] * 7 + [False] * 2
        assert await one.goes(requests(7, "key:b"))


async def test_a_refusal_names_the_limit_and_when_to_come_back(url: str) -> None:
    async with asker(url) as one:
        for _ in range(6):
            await one.ask(requests(6), places(100))
        refused = await one.ask(places(100), requests(6))
        assert refused.refused == requests(6)
        assert refused.wait_seconds is not None and 0 < refused.wait_seconds <= 10
        assert refused.remaining == 0
        at_once, rate = refused.figures
        assert (at_once.remaining, at_once.reset_seconds) == (94, None)
        assert rate.remaining == 0 and rate.reset_seconds is not None and 50 < rate.reset_seconds <= 60


async def test_of_several_that_refuse_the_longest_wait_is_named(url: str) -> None:
    async with asker(url) as one:
        for _ in range(2):
            await one.ask(requests(2), tokens(60_000, 30_000), places(2))
        refused = await one.ask(tokens(60_000, 10), requests(2), places(2))
        assert refused.refused == requests(2)


async def test_all_or_nothing_is_taken(url: str) -> None:
    checks = requests(10), tokens(1000, 100), budget(1000, 100), places(3)
    async with asker(url) as one:
        for _ in range(3):
            assert await one.goes(*checks)
        assert not await one.goes(*checks)
        assert await one.remaining(*checks) == [7, 700, 700, 0]


async def test_a_limit_of_zero_lets_nothing_through_and_says_so(url: str) -> None:
    async with asker(url) as one:
        for nothing in (requests(0), tokens(0, 1), budget(0, 1)):
            refused = await one.ask(nothing)
            assert (refused.refused, refused.wait_seconds) == (nothing, None)


async def test_a_request_that_is_larger_than_the_limit_can_never_go(url: str) -> None:
    async with asker(url) as one:
        refused = await one.ask(tokens(100, 101))
        assert (refused.wait_seconds, refused.remaining) == (None, 100)
        assert await one.goes(tokens(100, 100))


async def test_a_place_is_free_again_when_its_request_ends(url: str) -> None:
    async with asker(url) as one:
        assert await one.goes(places(1))
        held = one.lease
        assert not await one.goes(places(1))
        one.admissions.settle(held, Charges())
        assert await one.goes(places(1))
        one.admissions.release(one.lease)
        assert await one.goes(places(1))


@pytest.mark.parametrize("real", [0, 40, 100, 160])
async def test_tokens_and_money_are_settled_by_what_was_used(url: str, real: int) -> None:
    checks = tokens(10_000, 100), budget(10_000, 100)
    async with asker(url) as one:
        await one.ask(*checks)
        one.admissions.settle(one.lease, Charges(real, real))
        of_tokens, of_money = await one.remaining(*checks)
        assert of_money == 10_000 - real
        assert 10_000 - real <= of_tokens <= 10_000  # time gives tokens back


async def test_more_tokens_than_the_limit_are_paid_back_by_waiting(url: str) -> None:
    async with asker(url) as one:
        await one.ask(tokens(600, 1))
        one.admissions.settle(one.lease, Charges(tokens=1800))
        refused = await one.ask(tokens(600, 1))
        assert refused.wait_seconds is not None and 100 < refused.wait_seconds <= 121


async def test_a_lease_is_settled_once(url: str) -> None:
    checks = tokens(10**9, 1000), budget(10_000, 1000), places(5)
    async with asker(url) as one:
        await one.ask(*checks)
        for _ in range(3):
            one.admissions.settle(one.lease, Charges(1000, 500))
            one.admissions.release(one.lease)
        one.admissions.settle("never admitted", Charges(5, 5))
        assert (await one.remaining(*checks))[1:] == [9500, 5]


async def test_a_lease_that_is_held_is_not_admitted_again(url: str) -> None:
    async with asker(url) as one:
        await one.admissions.admit("twice", [places(5)])
        with pytest.raises(ValueError, match="lease twice is held already"):
            await one.admissions.admit("twice", [places(5)])


async def test_what_is_released_gives_all_back_but_the_request(url: str) -> None:
    checks = requests(5), budget(1000, 600), places(1)
    async with asker(url) as one:
        await one.ask(*checks)
        one.admissions.release(one.lease)
        assert await one.remaining(*checks) == [4, 1000, 1]


async def test_a_budget_begins_with_what_the_ledger_says(url: str) -> None:
    async with asker(url) as one:
        assert not await one.goes(budget(1000, 200, spent=801))
        assert await one.goes(budget(1000, 200, spent=800))


async def test_the_ledgers_figure_is_never_added_to_our_own(url: str) -> None:
    async with asker(url) as one:
        await one.ask(budget(1000, 300))
        one.admissions.settle(one.lease, Charges(nano_usd=300))
        assert await one.remaining(budget(1000, 1, spent=300)) == [700]
        assert await one.remaining(budget(1000, 1, spent=500)) == [500]  # what others spent
        await one.ask(budget(1000, 100, spent=500))
        # Its record is in the ledger before it is settled here: it counts once all the same.
        one.admissions.settle(one.lease, Charges(nano_usd=100))
        assert await one.remaining(budget(1000, 1, spent=600)) == [400]


async def test_windows_of_a_budget_know_nothing_of_each_other(url: str) -> None:
    async with asker(url) as one:
        assert await one.goes(budget(100, 100, window="2026-11"))
        assert not await one.goes(budget(100, 1, window="2026-11"))
        assert await one.goes(budget(100, 100, window="2026-12"))


async def test_what_is_left_is_never_below_zero(url: str) -> None:
    async with asker(url) as one:
        await one.ask(budget(100, 100), tokens(100, 100))
        one.admissions.settle(one.lease, Charges(10**9, 10**9))
        assert await one.remaining(budget(100, 1), tokens(100, 1)) == [0, 0]
        assert await one.remaining(budget(100, 1, spent=MAX_NANO_USD)) == [0]


async def test_money_is_exact_up_to_the_largest_budget(url: str) -> None:
    most = MAX_NANO_USD
    async with asker(url) as one:
        assert await one.goes(budget(most, most - 2))
        assert await one.remaining(budget(most, 1)) == [2]
        assert not await one.goes(budget(most, 3))
        assert await one.goes(budget(most, 1))
        assert await one.goes(budget(most, 1))
        assert not await one.goes(budget(most, 1))
        assert await one.goes(budget(most, 1, most - 1, "key:b"))
        assert not await one.goes(budget(most, 1, most - 1, "key:b"))
        one.admissions.settle("l0", Charges(nano_usd=most - 7))
        assert await one.remaining(budget(most, 1)) == [5]


async def test_charges_beyond_all_measure_only_fill_a_budget(url: str) -> None:
    async with asker(url) as one:
        for _ in range(3):
            await one.ask(budget(MAX_NANO_USD, 1), tokens(10**6, 1))
        for number in range(3):
            one.admissions.settle(f"l{number}", Charges(10**30, 10**30))
        assert not await one.goes(budget(MAX_NANO_USD, 1))
        assert not await one.goes(tokens(10**6, 1))
        assert not await one.goes(budget(MAX_NANO_USD, 10**30, owner="key:b"))


@pytest.mark.parametrize(
    ("kind", "limit"), [(Kind.BUDGET, MAX_NANO_USD), (Kind.TOKENS, MAX_RATE), (Kind.REQUESTS, MAX_RATE)]
)
def test_what_could_not_be_counted_exactly_is_no_check(kind: Kind, limit: int) -> None:
    Check(kind, "key:a", limit)
    for wrong, amount in ((limit + 1, 1), (-1, 1), (limit, -1)):
        with pytest.raises(ValueError, match=rf"{kind} of key:a: limit {wrong}, amount {amount}; up to {limit} can be"):
            Check(kind, "key:a", wrong, amount)


@pytest.mark.parametrize("scarce", [requests(10), tokens(1000, 100), places(10), budget(1000, 100)])
async def test_of_200_requests_at_once_exactly_those_go_for_whom_there_is_room(url: str, scarce: Check) -> None:
    async with asker(url) as one:
        roomy = requests(10_000, "team:t"), places(10_000, "team:t")
        answers = await asyncio.gather(
            *(one.admissions.admit(f"p{number}", [roomy[0], scarce, roomy[1]]) for number in range(200))
        )
        assert sum(answer.is_admitted for answer in answers) == 10
        assert {answer.refused for answer in answers} == {None, scarce}
        assert (await one.remaining(roomy[1])) == [9990]


async def test_two_replicas_share_what_there_is(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        checks = requests(10), budget(1000, 100), places(100)
        both: list[Asker] = [one, other]
        answers = await asyncio.gather(*(both[number % 2].ask(*checks) for number in range(200)))
        assert sum(answer.is_admitted for answer in answers) == 10
        assert await one.remaining(*checks) == await other.remaining(*checks) == [0, 0, 90]


async def test_leases_of_the_same_name_in_two_replicas_are_two(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        for each in (one, other):
            await each.admissions.admit("same", [places(5), budget(100, 10)])
        one.admissions.settle("same", Charges(nano_usd=5))
        assert await one.remaining(places(5), budget(100, 10)) == [4, 85]


async def test_what_one_replica_settles_the_other_one_sees(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        assert await one.goes(places(1), budget(1000, 1000))
        assert not await other.goes(places(1))
        one.admissions.settle(one.lease, Charges(nano_usd=250))
        await one.remaining(places(1))  # goes behind what was settled
        assert await other.remaining(places(1), budget(1000, 1)) == [1, 750]


async def test_the_last_settlement_is_sent_before_the_end(server: RedisServer) -> None:
    async with asker(server.url) as other:
        async with asker(server.url) as one:
            await one.ask(budget(1000, 900))
            one.admissions.settle(one.lease, Charges(nano_usd=100))
        assert await other.remaining(budget(1000, 1)) == [900]


async def test_whatever_is_kept_in_the_server_ends_by_itself(server: RedisServer) -> None:
    async with asker(server.url) as one:
        await one.ask(requests(5), tokens(100, 10), places(5), budget(5 * DOLLAR, DOLLAR))
        settled = one.lease
        await one.ask(requests(5), tokens(100, 10), places(5), budget(5 * DOLLAR, DOLLAR))
        one.admissions.settle(settled, Charges(1000, DOLLAR))
        await one.remaining(places(5))
        with server.admin() as admin:
            keys = admin.keys("*")
            assert len(keys) == 7 and all(key.startswith(PREFIX.encode()) for key in keys)
            assert all(0 < admin.pttl(key) <= 2 * 86_400_000 for key in keys)


async def test_a_replica_that_dies_frees_its_places_and_a_living_one_keeps_them(server: RedisServer) -> None:
    async with asker(server.url, place_seconds=2) as living, asker(server.url, place_seconds=2) as dead:
        assert await living.goes(places(2)) and await dead.goes(places(2))
        await dead.admissions.aclose()  # with its lease held
        async with asker(server.url) as watcher:
            assert await watcher.remaining(places(2)) == [0]
            for _ in range(4):
                await asyncio.sleep(1)
                assert (await watcher.remaining(places(2)))[0] < 2
            assert await watcher.remaining(places(2)) == [1]


async def test_money_that_a_dead_replica_held_is_free_again(server: RedisServer) -> None:
    dead = open_admissions(server.url, pace=PATIENT, lease_seconds=0.5)
    await dead.start()
    assert (await dead.admit("d", [budget(100, 100)])).is_admitted
    async with asker(server.url) as living:
        assert await living.remaining(budget(100, 1)) == [0]
        await asyncio.sleep(0.6)
        assert await living.remaining(budget(100, 1)) == [100]
    await dead.aclose()


async def test_a_second_start_begins_nothing(server: RedisServer) -> None:
    async with asker(server.url) as one:
        await one.admissions.start()
        assert [task.get_name() for task in asyncio.all_tasks()].count("admissions") == 1


async def test_replicas_count_each_other(server: RedisServer) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])


def test_a_wrong_url_is_a_fault() -> None:
    with pytest.raises(ConfigError, match=r"state\.url"):
        open_admissions("http://cache")


async def test_it_can_be_closed_unstarted_and_twice(url: str) -> None:
    made = open_admissions(url)
    await made.aclose()
    await made.aclose()
    assert (await made.admit("alone", [places(1)])).is_admitted


async def test_what_is_reserved_cannot_be_had_and_is_no_reason_to_give_up(url: str) -> None:
    async with asker(url) as one:
        wanted = replace(budget(1000, 200), reserved_nano_usd=850)
        refused = await one.ask(wanted)
        assert (refused.is_admitted, refused.remaining, refused.is_passing) == (False, 150, True)
        assert await one.goes(replace(wanted, reserved_nano_usd=800))


async def test_what_was_admitted_elsewhere_is_charged_without_a_question(url: str) -> None:
    async with asker(url) as one:
        await one.ask(budget(1000, 900))
        one.admissions.hold("elsewhere", [budget(1000, 1)])
        one.admissions.settle("elsewhere", Charges(nano_usd=300))
        one.admissions.release(one.lease)
        assert await one.remaining(budget(1000, 1)) == [700]
