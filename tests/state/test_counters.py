"""The counters of one process: bounded, and as exact as before after what was idle was dropped."""

from __future__ import annotations

import pytest

from gateway.state.admission import Charges, Check
from gateway.state.counters import Counters
from tests.state.counting import Asker, budget, places, requests, tokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pass_by(counters: Counters, count: int, *checks: Check) -> None:
    """Has a few requests come and go, each of which looks at what is idle."""
    for number in range(count):
        counters.decide(f"by{number}", checks or [requests(10**6, "key:passer")])
        counters.release(f"by{number}")


def test_what_is_idle_is_dropped(clock: Clock) -> None:
    counters = Counters(clock)
    for number in range(1000):
        owner = f"key:{number}"
        counters.decide(owner, [requests(60, owner), tokens(60, 5, owner), places(1, owner), budget(9, 1, 0, owner)])
        counters.release(owner)
    clock.now += 61
    pass_by(counters, 4000)
    assert len(counters) <= 1001  # budgets stay for a day
    clock.now += 86_400
    pass_by(counters, 2000)
    assert len(counters) == 1


def test_what_is_held_is_not_dropped_however_many_there_are(clock: Clock) -> None:
    counters = Counters(clock, max_counters=10)
    held = [places(1, "key:held"), budget(100, 60, 0, "key:held")]
    counters.decide("held", held)
    for number in range(100):
        pass_by(counters, 1, requests(5, f"key:{number}"), budget(5, 1, 0, f"key:{number}"))
        clock.now += 86_400
    assert len(counters) <= 14
    assert not counters.decide("second", held).is_admitted
    counters.settle("held", Charges(nano_usd=50))
    assert counters.decide("third", [places(1, "key:held"), budget(100, 50, 0, "key:held")]).is_admitted


def test_of_too_many_those_nobody_asked_for_are_dropped(clock: Clock) -> None:
    counters = Counters(clock, max_counters=100)
    for number in range(10_000):
        counters.decide(f"l{number}", [requests(5, f"key:{number}"), tokens(5, 1, f"key:{number}")])
        counters.release(f"l{number}")
        assert len(counters) <= 103


def test_tokens_of_a_request_that_outlived_its_counter_are_charged_all_the_same(clock: Clock) -> None:
    counters = Counters(clock)
    counters.decide("long", [tokens(600, 10)])
    clock.now += 300
    pass_by(counters, 5)
    assert len(counters) == 1
    counters.settle("long", Charges(tokens=1210))
    refused = counters.decide("next", [tokens(600, 1)])
    assert refused.wait_seconds == pytest.approx(60.1, abs=0.01)


def test_a_clock_that_stands_still_gives_nothing_back(clock: Clock) -> None:
    counters = Counters(clock)
    assert [counters.decide(str(number), [requests(3)]).is_admitted for number in range(5)] == [True] * 3 + [False] * 2


async def test_alone_nothing_is_waited_for(clock: Clock) -> None:
    counters = Counters(clock)
    await counters.start()
    question = counters.admit("l", [requests(1)])
    with pytest.raises(StopIteration) as answer:
        question.send(None)
    assert answer.value.value.is_admitted
    await counters.aclose()
    assert counters.trouble == ""


async def test_what_the_ledger_says_is_where_own_spending_goes_on_from() -> None:
    one = Asker(Counters(lambda: 0.0))
    assert await one.goes(budget(1000, 100, 0))
    one.admissions.settle("l0", Charges(nano_usd=100))
    # Others have spent 500 in the meantime, and we 100 that the ledger knows of.
    assert await one.goes(budget(1000, 100, 600))
    one.admissions.settle("l1", Charges(nano_usd=100))
    assert await one.remaining(budget(1000, 1, 600)) == [300]
    assert await one.remaining(budget(1000, 1, 700)) == [300]
